//! `var put`.

use super::{
    explain_conflict, one_namespace,
    pairs::{self, Input, read},
    path,
    show::{self, Format, check_template},
    spec::{self, Language},
};
use crate::{context::Context, hints::Page};
use anyhow::{Context as _, bail};
use jobs::wire::Variable;

/// Arguments of `var put`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Write only when the variable was changed last at this index; 0 only makes it
    #[arg(long, value_name = "INDEX", conflicts_with = "force")]
    check_index: Option<u64>,
    /// Write whatever the variable's index is
    #[arg(long)]
    force: bool,
    /// Language of a description from standard input
    #[arg(long = "in", value_enum, default_value = "json")]
    language: Language,
    /// How to print what was written
    #[arg(long, value_enum)]
    out: Option<Format>,
    /// Go template for `-out go-template`
    #[arg(long)]
    template: Option<String>,
    /// Say on standard error what is done
    #[arg(long)]
    verbose: bool,
    /// Path, or `@file` or `-` for a description of the variable; then items
    #[arg(value_name = "PATH|@FILE|-")]
    what: String,
    /// `@file` or `-` for a description; `name=value`, where a value may be `@file` or `-`
    #[arg(value_name = "@FILE|NAME=VALUE")]
    items: Vec<String>,
}

/// Path and contents of the variable that arguments describe, and what is left of them.
pub(super) fn described<'a>(
    namespace: Option<&str>,
    what: &str,
    rest: &'a [String],
    input: &mut Input,
    language: Language,
) -> anyhow::Result<(Variable, &'a [String])> {
    let mut text_of = |argument: &str| -> anyhow::Result<Option<(String, Language)>> {
        match argument.strip_prefix('@') {
            Some(file) => Ok(Some((read(file)?, Language::of_file(file)?))),
            None if argument == "-" => Ok(Some((input.read()?, language))),
            None => Ok(None),
        }
    };
    let (path, text, rest) = match text_of(what)? {
        Some(text) => (None, Some(text), rest),
        None => {
            let path = what.trim().trim_matches('/');
            let text = match rest.first() {
                Some(first) if !first.contains('=') => text_of(first)?,
                _ => None,
            };
            let rest = if text.is_some() { &rest[1..] } else { rest };
            (Some(path), text, rest)
        }
    };
    let mut variable = match text {
        Some((text, language)) => {
            spec::parse(&text, language).context("Failed to parse variable data")?
        }
        None => Variable::default(),
    };
    // What is written elsewhere than described is another variable.
    if let Some(path) = path.filter(|path| *path != variable.path) {
        path.clone_into(&mut variable.path);
        variable.modify_index = 0;
    }
    if let Some(namespace) = namespace.filter(|namespace| *namespace != variable.namespace) {
        namespace.clone_into(&mut variable.namespace);
        variable.modify_index = 0;
    }
    Ok((variable, rest))
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    one_namespace(cx)?;
    let format = arguments.out.unwrap_or_else(|| {
        if cx.is_terminal() {
            Format::None
        } else {
            Format::Json
        }
    });
    check_template(format == Format::GoTemplate, arguments.template.as_ref())?;
    let mut input = Input::default();
    let namespace = cx.namespace.clone();
    let (mut variable, rest) = described(
        namespace.as_deref(),
        &arguments.what,
        &arguments.items,
        &mut input,
        arguments.language,
    )?;
    if rest.is_empty() && variable.items.is_none() {
        bail!("Must supply data");
    }
    let given = pairs::parse(rest, &mut input).context("Failed to parse K=V data")?;
    let items = variable.items.get_or_insert_default();
    let mut warnings = Vec::new();
    for (name, value) in given {
        if value.is_empty() {
            items.remove(&name);
            continue;
        }
        warnings.extend(warning(&name));
        items.insert(name, value);
    }
    let asked = arguments.check_index.unwrap_or(variable.modify_index);
    let asked_text = asked.to_string();
    let query: &[(&str, &str)] = if arguments.force {
        &[]
    } else {
        &[("cas", &asked_text)]
    };
    let answer = cx.http.put(&path(&variable.path), query, &variable).await;
    let written: Variable = match answer {
        Ok(written) => written,
        Err(error) => {
            return explain_conflict(cx, asked, error).context("Error creating variable");
        }
    };
    for warning in warnings {
        cx.complain(&warning);
    }
    let done = format!(
        "Created variable {:?} with modify index {}",
        written.path, written.modify_index
    );
    if format == Format::None {
        cx.print(&done)?;
    } else {
        if arguments.verbose {
            cx.complain(&done);
        }
        let text = show::text(cx, &written, format, arguments.template.as_ref())?;
        cx.print(&text)?;
    }
    let Variable {
        path, namespace, ..
    } = &written;
    cx.hint(Page::Variable { path, namespace }).await;
    Ok(0)
}

/// What templates cannot name directly.
fn warning(name: &str) -> Option<String> {
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    let mut odd: Vec<char> = name.chars().filter(|c| !fits(*c)).collect();
    odd.sort_unstable();
    odd.dedup();
    if odd.is_empty() {
        return None;
    }
    let odd: Vec<String> = odd.into_iter().map(|c| format!("\"{c}\"")).collect();
    let odd = odd.join(", ");
    Some(format!(
        "\"{name}\" contains characters [{odd}] that require the 'index' function for direct \
         access in templates"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(what: &str, rest: &[&str]) -> (Variable, usize) {
        let rest: Vec<String> = rest.iter().map(|text| (*text).to_owned()).collect();
        let (variable, left) =
            described(None, what, &rest, &mut Input::default(), Language::Json).unwrap();
        (variable, left.len())
    }

    #[test]
    fn a_path_a_file_or_both_describe_a_variable() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("v.hcl");
        std::fs::write(
            &file,
            "path = \"own\"\nmodify_index = 7\nitems { a = \"1\" }\n",
        )
        .unwrap();
        let file = format!("@{}", file.display());

        let (plain, left) = describe("/a/b/", &["k=v", "@=x"]);
        assert_eq!((plain.path.as_str(), left), ("a/b", 2));
        let (own, left) = describe(&file, &["k=v"]);
        assert_eq!((own.path.as_str(), own.modify_index, left), ("own", 7, 1));
        let (copied, left) = describe("other", &[&file, "k=v"]);
        assert_eq!(
            (copied.path.as_str(), copied.modify_index, left),
            ("other", 0, 1)
        );
    }

    #[test]
    fn names_that_templates_cannot_name_are_told() {
        assert_eq!(warning("plain_1"), None);
        let told = warning("a.b-c.d").unwrap();
        assert!(told.contains(r#"["-", "."]"#), "{told}");
    }
}
