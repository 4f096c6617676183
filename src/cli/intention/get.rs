//! `intention get`.

use super::{Intention, Which};
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;

/// Arguments of `intention get`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Source and destination, or an id
    names: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(which) = Which::of(&arguments.names) else {
        cx.complain("Error: command requires exactly 1 or 2 arguments");
        return Ok(1);
    };
    let http = arguments.options.http(cx)?;
    let query = arguments.options.read(&which.query());
    let found = http.get::<Intention>(&which.path(), &query).await;
    match (found, &which) {
        (Ok(found), _) => cx.print(&render(&found))?,
        (Err(error), Which::Pair(source, destination)) if error.is_not_found() => {
            cx.complain(&format!(
                "Intention not found with source {source:?} and destination {destination:?}"
            ));
            return Ok(1);
        }
        (Err(error), _) => return Err(error).context("Error reading the intention"),
    }
    Ok(0)
}

fn render(found: &Intention) -> String {
    let mut lines = vec![
        ("Source:".to_owned(), found.source_name.clone()),
        ("Destination:".to_owned(), found.destination_name.clone()),
    ];
    if found.permissions.is_empty() {
        lines.push(("Action:".to_owned(), found.action.clone()));
    } else {
        let count = found.permissions.len().to_string();
        lines.push(("Permissions:".to_owned(), count));
    }
    for (name, value) in [("ID:", &found.id), ("Description:", &found.description)] {
        if !value.is_empty() {
            lines.push((name.to_owned(), value.clone()));
        }
    }
    for (key, value) in &found.meta {
        lines.push((format!("Meta[{key}]:"), value.clone()));
    }
    let created = found.created_at.parse::<jiff::Timestamp>();
    if let Ok(created) = created {
        let text = created.strftime("%A, %d-%b-%y %H:%M:%S UTC").to_string();
        lines.push(("Created At:".to_owned(), text));
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intention_is_shown_line_by_line() {
        let found = Intention {
            created_at: "2026-11-22T03:22:46.64988446Z".to_owned(),
            id: "e644".to_owned(),
            source_name: "api".to_owned(),
            destination_name: "*".to_owned(),
            action: "deny".to_owned(),
            meta: [("a".to_owned(), "b".to_owned())].into(),
            ..Intention::default()
        };
        let expected = "Source:       api\nDestination:  *\nAction:       deny\nID:           e644\n\
                        Meta[a]:      b\nCreated At:   Sunday, 22-Nov-26 03:22:46 UTC";
        assert_eq!(render(&found), expected);
    }
}
