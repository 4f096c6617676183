//! Text in columns, laid out as users of the jobs command line know it.

use crate::view::escaped;

/// What stands for an empty cell.
const EMPTY: &str = "<none>";
/// What parts columns.
const GAP: &str = "  ";
/// What parts a key from its value.
const EQUALS: &str = " = ";

/// A table: a header and rows, left-aligned, two spaces between columns, `<none>` for empty cells.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(rows.into_iter().map(|row| row.to_vec()));
    rows_with(&lines, GAP, EMPTY)
}

/// The cells that are shown, of all that a row could have.
pub(crate) fn chosen<const N: usize>(cells: [(bool, String); N]) -> Vec<String> {
    cells
        .into_iter()
        .filter_map(|(shown, cell)| shown.then_some(cell))
        .collect()
}

/// A table whose columns were chosen at run time.
pub(crate) fn list(lines: &[Vec<String>]) -> String {
    rows_with(lines, GAP, EMPTY)
}

/// A table whose empty cells stay empty.
pub(crate) fn sparse(lines: &[Vec<String>]) -> String {
    rows_with(lines, GAP, "")
}

/// Lines of `key = value`, the keys padded to the longest.
pub(crate) fn key_values(pairs: &[(&str, String)]) -> String {
    let lines: Vec<Vec<String>> = pairs
        .iter()
        .map(|(key, value)| vec![(*key).to_owned(), value.clone()])
        .collect();
    rows_with(&lines, EQUALS, EMPTY)
}

fn rows_with(lines: &[Vec<String>], glue: &str, empty: &str) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |line: &Vec<String>, column: usize| -> Option<String> {
        let text = line.get(column)?.trim_matches(' ');
        Some(escaped(if text.is_empty() { empty } else { text }).into_owned())
    };
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            lines
                .iter()
                .filter_map(|line| cell(line, column))
                .map(|text| width(&text))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines {
        let mut text = String::new();
        for (column, wanted) in widths.iter().enumerate().take(line.len()) {
            let content = cell(line, column).unwrap_or_default();
            let last = column + 1 == line.len();
            let pad = if last {
                0
            } else {
                wanted.saturating_sub(width(&content))
            };
            text.push_str(&content);
            text.extend(std::iter::repeat_n(' ', pad));
            if !last {
                text.push_str(glue);
            }
        }
        out.push(text);
    }
    out.join("\n")
}

/// Characters of a text.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_and_empty_cells_named() {
        let rows = vec![
            ["7ab3c2ff".into(), String::new(), "ready".into()],
            ["1".into(), "gpu".into(), "down".into()],
        ];
        assert_eq!(
            table(["ID", "Class", "Status"], rows),
            "ID        Class   Status\n7ab3c2ff  <none>  ready\n1         gpu     down"
        );
    }

    #[test]
    fn keys_are_padded_to_the_longest() {
        let pairs = [("ID", "web".to_owned()), ("Submit Date", String::new())];
        assert_eq!(
            key_values(&pairs),
            "ID          = web\nSubmit Date = <none>"
        );
    }

    #[test]
    fn a_cell_is_one_line_that_does_nothing() {
        let lines = vec![
            vec!["a\nb\u{1b}[2J".to_owned(), "x".to_owned()],
            vec!["abc".to_owned(), String::new()],
        ];
        assert_eq!(sparse(&lines), "a\\nb\\x1b[2J  x\nabc          ");
    }
}
