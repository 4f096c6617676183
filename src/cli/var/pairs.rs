//! Items on the command line: `name=value`, where a value may come from a file or standard input.

use anyhow::{Context as _, bail};
use std::{collections::BTreeMap, io::Read as _};

/// The items that arguments stand for, in their order.
pub(super) fn parse(
    arguments: &[String],
    input: &mut Input,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for argument in arguments.iter().filter(|argument| !argument.is_empty()) {
        let read = one(argument, input);
        pairs.extend(read.with_context(|| format!("invalid key/value pair {argument:?}"))?);
    }
    Ok(pairs)
}

fn one(argument: &str, input: &mut Input) -> anyhow::Result<Vec<(String, String)>> {
    if let Some((name, value)) = argument.split_once('=') {
        let value = match value {
            "-" => input.read()?,
            value => match (value.strip_prefix('@'), value.strip_prefix("\\@")) {
                (Some(file), _) => read(file)?,
                (None, Some(rest)) => format!("@{rest}"),
                (None, None) => value.to_owned(),
            },
        };
        return Ok(vec![(name.to_owned(), value)]);
    }
    let text = match argument.strip_prefix('@') {
        Some(file) => read(file)?,
        None if argument == "-" => input.read()?,
        None => bail!("format must be key=value"),
    };
    let items: BTreeMap<String, String> = serde_json::from_str(&text)?;
    Ok(items.into_iter().collect())
}

/// Reads a file of text.
pub(super) fn read(file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("Error reading {file:?}"))
}

/// Standard input, which can be read once.
#[derive(Debug, Default)]
pub(super) struct Input {
    is_consumed: bool,
}

impl Input {
    pub(super) fn read(&mut self) -> anyhow::Result<String> {
        if self.is_consumed {
            bail!("stdin already consumed");
        }
        self.is_consumed = true;
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("Error reading from stdin")?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_files_and_escaped_signs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("value");
        std::fs::write(&file, "from file").unwrap();
        let json = directory.path().join("items.json");
        std::fs::write(&json, r#"{"x": "1", "y": "2"}"#).unwrap();
        let arguments = [
            "a=b=c".to_owned(),
            "empty=".to_owned(),
            format!("f=@{}", file.display()),
            "at=\\@home".to_owned(),
            format!("@{}", json.display()),
        ];
        let pairs = parse(&arguments, &mut Input::default()).unwrap();
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("a", "b=c"),
                ("empty", ""),
                ("f", "from file"),
                ("at", "@home"),
                ("x", "1"),
                ("y", "2"),
            ]
        );
        for wrong in ["alone", "f=@/no/such/file"] {
            parse(&[wrong.to_owned()], &mut Input::default()).unwrap_err();
        }
    }
}
