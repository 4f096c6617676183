//! Files that describe a variable, in HCL or JSON.

use anyhow::{Context as _, bail};
use jobs::{spec::parse_stored_variable, wire::Variable};
use std::path::Path;

/// Language of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Language {
    /// HCL.
    Hcl,
    /// The API's object.
    #[default]
    Json,
}

impl Language {
    /// The language that the end of a file's name says.
    pub(super) fn of_file(name: &str) -> anyhow::Result<Self> {
        match Path::new(name).extension().and_then(|end| end.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("hcl") => Ok(Self::Hcl),
            _ => bail!("Unable to determine format of {name}: name it .hcl or .json"),
        }
    }
}

/// Reads a description.
pub(super) fn parse(text: &str, language: Language) -> anyhow::Result<Variable> {
    match language {
        Language::Json => serde_json::from_str(text).context("error unmarshaling json"),
        Language::Hcl => parse_stored_variable(text).context("error parsing hcl"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_the_same() {
        let hcl = parse(
            "path = \"a/b\"\nitems {\n  one = \"1\"\n  two = 2\n}\n",
            Language::Hcl,
        );
        let json = parse(
            r#"{"Path": "a/b", "Items": {"one": "1", "two": "2"}}"#,
            Language::Json,
        );
        assert_eq!(hcl.unwrap(), json.unwrap());
    }

    #[test]
    fn the_end_of_a_name_says_the_language() {
        assert!(Language::of_file("x.txt").is_err());
        assert_eq!(Language::of_file("x.nv.hcl").unwrap(), Language::Hcl);
    }
}
