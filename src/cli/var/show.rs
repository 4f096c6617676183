//! How a variable is printed.

use anyhow::bail;
use jobs::wire::Variable;
use std::fmt::Write as _;

use crate::{
    context::Context,
    render::columns,
    structured, template,
    view::{View, quoted},
};

/// How a variable is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Through a Go template.
    GoTemplate,
    /// As a file that describes it.
    Hcl,
    /// The API's object.
    Json,
    /// Not at all.
    None,
    /// For people.
    Table,
}

/// Refuses a template for a format that takes none, and the other way round.
pub(super) fn check_template(is_template: bool, template: Option<&String>) -> anyhow::Result<()> {
    if is_template && template.is_none() {
        bail!("A template must be supplied using '-template' when using go-template formatting");
    }
    if !is_template && template.is_some() {
        bail!("The '-template' flag is only valid when using 'go-template' formatting");
    }
    Ok(())
}

/// The text of a variable.
pub(super) fn text(
    cx: &Context,
    variable: &Variable,
    format: Format,
    through: Option<&String>,
) -> anyhow::Result<String> {
    Ok(match format {
        Format::GoTemplate => {
            let through = through.map(String::as_str).unwrap_or_default();
            let value = serde_json::to_value(variable)?;
            template::render(through, &value)
                .map_err(|error| anyhow::anyhow!("Error formatting the data: {error}"))?
        }
        Format::Hcl => hcl(variable),
        Format::Json => structured::json_by(&serde_json::to_value(variable)?, b"  "),
        Format::None => String::new(),
        Format::Table => table(&cx.view(false), variable),
    })
}

fn table(view: &View, variable: &Variable) -> String {
    let mut meta = vec![
        ("Namespace", variable.namespace.clone()),
        ("Path", variable.path.clone()),
        ("Create Time", view.time(variable.create_time)),
    ];
    if variable.create_time != variable.modify_time {
        meta.push(("Modify Time", view.time(variable.modify_time)));
    }
    meta.push(("Check Index", variable.modify_index.to_string()));
    let items = variable.items.iter().flatten();
    let items: Vec<(&str, String)> = items
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    format!(
        "{}\n\n{}\n{}",
        columns::key_values(&meta),
        view.paint.title("Items"),
        columns::key_values(&items)
    )
}

fn hcl(variable: &Variable) -> String {
    let mut text = format!(
        "namespace    = {}\npath         = {}\n",
        quoted(&variable.namespace),
        quoted(&variable.path)
    );
    for (name, number, remark) in [
        ("create_index", variable.create_index, "  # Set by server"),
        (
            "modify_index",
            variable.modify_index,
            "  # Set by server; consulted for check-and-set",
        ),
    ] {
        // Nothing can go wrong with a text.
        let _ = writeln!(text, "{name} = {number}{remark}");
    }
    for (name, time) in [
        ("create_time", variable.create_time),
        ("modify_time", variable.modify_time),
    ] {
        let _ = writeln!(text, "{name}  = {}   # Set by server", time.as_nanos());
    }
    text.push_str("\nitems = {\n");
    let items = variable.items.iter().flatten();
    let width = items.clone().map(|(name, _)| name.chars().count()).max();
    for (name, value) in items {
        let width = width.unwrap_or(0);
        let _ = writeln!(text, "  {name:>width$} = {}", quoted(value));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;
    use jobs::model::Timestamp;

    fn variable() -> Variable {
        Variable {
            namespace: "default".into(),
            path: "app/db".into(),
            create_index: 7,
            modify_index: 9,
            create_time: Timestamp::from_nanos(1_700_000_000_000_000_000),
            modify_time: Timestamp::from_nanos(1_700_000_060_000_000_000),
            items: Some(
                [("user", "web"), ("password", "a\"b")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
            lock: None,
        }
    }

    #[test]
    fn people_see_times_and_items() {
        assert_eq!(
            table(&test_view(), &variable()),
            "Namespace   = default
Path        = app/db
Create Time = 2023-11-14T22:13:20Z
Modify Time = 2023-11-14T22:14:20Z
Check Index = 9

Items
password = a\"b
user     = web"
        );
    }

    #[test]
    fn a_file_that_describes_it_can_be_read_back() {
        let text = hcl(&variable());
        assert_eq!(
            text,
            "namespace    = \"default\"
path         = \"app/db\"
create_index = 7  # Set by server
modify_index = 9  # Set by server; consulted for check-and-set
create_time  = 1700000000000000000   # Set by server
modify_time  = 1700000060000000000   # Set by server

items = {
  password = \"a\\\"b\"
      user = \"web\"
}"
        );
        let read = super::super::spec::parse(&text, super::super::spec::Language::Hcl).unwrap();
        assert_eq!(read, variable());
    }
}
