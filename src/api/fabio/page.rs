//! The table as a plain page that reloads itself.

use proxy::route::RouteRow;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"refresh\" content=\"2\">
<title>trivet routes</title>
<style>
body { font: 14px sans-serif; margin: 2em; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.3em 1em; border-bottom: 1px solid #ddd; }
</style>
</head>
<body>
<h1>Routes</h1>
";

/// The page of a table.
pub(super) fn render(rows: &[RouteRow]) -> String {
    let mut page = String::from(HEAD);
    if rows.is_empty() {
        page.push_str("<p>There are no routes.</p>\n");
    } else {
        page.push_str("<table>\n<tr><th>#</th><th>Service</th><th>Source</th><th>Destination</th>");
        page.push_str("<th>Options</th><th>Tags</th><th>Weight</th></tr>\n");
        for (number, row) in (1..).zip(rows) {
            let tags = row.tags.join(", ");
            let cells = [&row.service, &row.src, &row.dst, &row.opts, &tags];
            page.push_str("<tr><td>");
            page.push_str(&format!("{number}</td>"));
            for cell in cells {
                page.push_str("<td>");
                escape(&mut page, cell);
                page.push_str("</td>");
            }
            let percent = row.weight * 100.0;
            page.push_str(&format!("<td>{percent:.2}%</td></tr>\n"));
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}
