//! The table as a page that keeps itself current.

use proxy::route::RouteRow;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bad: #c33; }
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; }
h1 { font-size: 1.4em; margin: 0 0 0.6em; }
input { font: inherit; padding: 0.3em 0.6em; width: 24em; max-width: 90%; }
#count { margin-left: 1em; opacity: 0.7; }
table { border-collapse: collapse; width: 100%; margin-top: 1em; }
th, td { text-align: left; padding: 0.35em 0.8em; border-bottom: 1px solid var(--line); }
th { font-weight: 600; position: sticky; top: 0; background: Canvas; }
tbody tr:hover { background: var(--soft); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px ui-monospace, monospace; }
.bad { border-left: 4px solid var(--bad); padding: 0.4em 1em; margin-top: 1em; }
.bad li { margin: 0.2em 0; }
</style>
";

const FILTER: &str = "<input id=\"filter\" type=\"search\" placeholder=\"Show only rows with\" aria-label=\"Show only rows with\">
<span id=\"count\"></span>
";

/// Fetches the page again, takes the parts that change out of it, and filters the rows.
const TAIL: &str = "<script>
const filter = document.getElementById('filter');
filter.value = new URLSearchParams(location.search).get('filter') || '';
function show() {
  const wanted = filter.value.toLowerCase();
  let shown = 0;
  const rows = document.querySelectorAll('tbody tr');
  for (const row of rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById('count').textContent = shown + ' of ' + rows.length + ' targets';
}
async function renew() {
  try {
    const answer = await fetch(location.pathname);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = page.getElementById('live');
    if (answer.ok && fresh) document.getElementById('live').replaceWith(fresh);
  } catch { document.getElementById('count').textContent = 'the agent does not answer'; return; }
  show();
}
filter.addEventListener('input', show);
show();
setInterval(renew, 2000);
</script>
</body>
</html>
";

const TO_UI: &str = "<p><a href=\"/ui\">With live counts, in the web UI</a></p>\n";

/// The page of a table, of the definitions that were left out of it, and of certificates that end.
/// An empty title stands for the usual one.
pub(super) fn render(
    rows: &[RouteRow],
    (problems, certificates): (&[String], &[String]),
    (title, has_ui): (&str, bool),
) -> String {
    let mut page = String::from(HEAD);
    for (open, usual, close) in [
        ("<title>", "Trivet routes", "</title>\n</head>\n<body>\n"),
        ("<h1>", "Routes", "</h1>\n"),
    ] {
        page.push_str(open);
        escape(&mut page, if title.is_empty() { usual } else { title });
        page.push_str(close);
    }
    if has_ui {
        page.push_str(TO_UI);
    }
    page.push_str(FILTER);
    page.push_str("<div id=\"live\">\n");
    for (title, sentences) in [("Left out", problems), ("Certificates", certificates)] {
        if sentences.is_empty() {
            continue;
        }
        page.push_str("<div class=\"bad\"><b>");
        page.push_str(title);
        page.push_str("</b><ul>\n");
        for sentence in sentences {
            page.push_str("<li>");
            escape(&mut page, sentence);
            page.push_str("</li>\n");
        }
        page.push_str("</ul></div>\n");
    }
    if rows.is_empty() {
        page.push_str("<p>There are no routes.</p>\n");
    } else {
        table(&mut page, rows);
    }
    page.push_str("</div>\n");
    page.push_str(TAIL);
    page
}

fn table(page: &mut String, rows: &[RouteRow]) {
    page.push_str("<table>\n<thead><tr><th>#</th><th>Service</th><th>Source</th>");
    page.push_str(
        "<th>Destination</th><th>Options</th><th>Tags</th><th>Weight</th></tr></thead>\n",
    );
    page.push_str("<tbody>\n");
    for (number, row) in (1..).zip(rows) {
        let tags = row.tags.join(", ");
        page.push_str(&format!("<tr><td class=\"number\">{number}</td><td>"));
        escape(page, &row.service);
        page.push_str("</td>");
        for cell in [&row.src, &row.dst, &row.opts] {
            page.push_str("<td><code>");
            escape(page, cell);
            page.push_str("</code></td>");
        }
        page.push_str("<td>");
        escape(page, &tags);
        let percent = row.weight * 100.0;
        page.push_str(&format!(
            "</td><td class=\"number\">{percent:.2}%</td></tr>\n"
        ));
    }
    page.push_str("</tbody>\n</table>\n");
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
