//! What the log says when another routing table is in force.

use config::RoutesLog;
use proxy::route::Table;
use std::collections::BTreeSet;

/// The most lines that are said of one change.
const LINES_MAX: usize = 1000;

/// What is said of a table that another one makes room for; nothing where both say the same.
///
/// Shape: at most a thousand lines, and one that says how many more there are.
pub(super) fn lines(format: RoutesLog, old: &Table, new: &Table) -> Vec<String> {
    let (before, after) = (told(format, old), told(format, new));
    if before == after {
        return Vec::new();
    }
    let all = match format {
        RoutesLog::Delta => delta(&before, &after),
        RoutesLog::All | RoutesLog::Detail => after,
    };
    let left_out = all.len().saturating_sub(LINES_MAX);
    let more = (left_out > 0).then(|| format!("and {left_out} more"));
    all.into_iter().take(LINES_MAX).chain(more).collect()
}

/// A table, a line for each target.
fn told(format: RoutesLog, table: &Table) -> Vec<String> {
    match format {
        RoutesLog::Delta | RoutesLog::All => table.text().lines().map(str::to_owned).collect(),
        RoutesLog::Detail => {
            let rows = table.rows().into_iter();
            rows.map(|row| {
                let percent = row.weight * 100.0;
                let (host, path, service, dst) = (row.host, row.path, row.service, row.dst);
                format!(
                    "host={host} path={path} service={service} target={dst} share={percent:.2}%"
                )
            })
            .collect()
        }
    }
}

/// Lines that went with `-` before them, and those that came with `+`. A line that changed a little
/// stands beside what it was.
fn delta(before: &[String], after: &[String]) -> Vec<String> {
    let before: BTreeSet<&String> = before.iter().collect();
    let after: BTreeSet<&String> = after.iter().collect();
    let lines = before.symmetric_difference(&after);
    lines
        .map(|line| {
            let sign = if after.contains(line) { '+' } else { '-' };
            format!("{sign} {line}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy::route::parse;

    fn table(text: &str) -> Table {
        let (definitions, problems) = parse::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        Table::build(definitions, None).0
    }

    #[test]
    fn a_change_is_told_in_the_form_that_is_wanted() {
        let old = table("route add a / http://10.0.0.1:80/\nroute add b /b http://10.0.0.2:80/");
        let new = table(
            "route add a / http://10.0.0.1:80/ weight 0.25\nroute add a / http://10.0.0.3:80/\n\
             route add b /b http://10.0.0.2:80/",
        );
        for (format, expected) in [
            (
                RoutesLog::Delta,
                &[
                    "- route add a / http://10.0.0.1:80/",
                    "+ route add a / http://10.0.0.1:80/ weight 0.2500",
                    "+ route add a / http://10.0.0.3:80/",
                ][..],
            ),
            (
                RoutesLog::All,
                &[
                    "route add b /b http://10.0.0.2:80/",
                    "route add a / http://10.0.0.1:80/ weight 0.2500",
                    "route add a / http://10.0.0.3:80/",
                ],
            ),
            (
                RoutesLog::Detail,
                &[
                    "host= path=/b service=b target=http://10.0.0.2:80/ share=100.00%",
                    "host= path=/ service=a target=http://10.0.0.1:80/ share=25.00%",
                    "host= path=/ service=a target=http://10.0.0.3:80/ share=75.00%",
                ],
            ),
        ] {
            let mut seen = lines(format, &old, &new);
            let mut expected = expected.to_vec();
            if format != RoutesLog::Delta {
                // The order is that of the table.
                seen.sort();
                expected.sort_unstable();
            }
            assert_eq!(seen, expected, "{format:?}");
            assert_eq!(lines(format, &new, &new), Vec::<String>::new());
        }
    }

    #[test]
    fn a_large_change_is_not_told_to_its_end() {
        let text: Vec<String> = (0..LINES_MAX + 7)
            .map(|number| format!("route add a /{number} http://10.0.0.1:80/"))
            .collect();
        let new = table(&text.join("\n"));
        for format in [RoutesLog::Delta, RoutesLog::All, RoutesLog::Detail] {
            let lines = lines(format, &Table::default(), &new);
            assert_eq!(lines.len(), LINES_MAX + 1, "{format:?}");
            assert_eq!(lines[LINES_MAX], "and 7 more");
        }
    }
}
