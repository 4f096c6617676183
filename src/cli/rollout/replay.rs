//! `rollout replay`: judges a record again, with other settings if wanted.

use crate::{context::Context, render::rollouts};
use anyhow::{Context as _, bail};
use jobs::control::rollout::{Head, Word, replay, time_of_day};
use jobs::model::Evidence;
use std::path::PathBuf;

/// Longest record that is read, bytes.
const FILE_MAX: u64 = 64 << 20;

/// Arguments of `rollout replay`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// What `rollout record` printed
    file: PathBuf,
    /// Settings instead of those of the record, such as `errors=+1pt`
    #[arg(value_name = "SETTING=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| "must be a setting and its value, such as `errors=+1pt`".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let file = arguments.file.display();
    let length = tokio::fs::metadata(&arguments.file).await;
    let length = length.with_context(|| format!("cannot read {file}"))?.len();
    if length > FILE_MAX {
        bail!("{file} has more than {FILE_MAX} bytes");
    }
    let text = tokio::fs::read_to_string(&arguments.file).await;
    let text = text.with_context(|| format!("cannot read {file}"))?;
    let (head, words) = replay(&text, &arguments.settings).with_context(|| format!("{file}"))?;
    cx.print(&shown(&head, &words))?;
    Ok(0)
}

fn shown(head: &Head, words: &[Word]) -> String {
    let mut lines = Vec::new();
    if head.is_cut {
        lines.push("The beginning of the record is missing: the verdict may differ.".to_owned());
    }
    for word in words {
        let would = if word.is_abort { "aborted" } else { "held" };
        let at = time_of_day(word.at);
        lines.push(format!("would have {would} {at}: {}", word.sentence));
        let evidence: Vec<&Evidence> = word.evidence.iter().collect();
        if word.is_abort {
            lines.push(rollouts::table(&evidence));
        }
    }
    if !words.iter().any(|word| word.is_abort) {
        lines.push("would not have aborted".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::Timestamp;

    #[test]
    fn an_abort_is_said_with_its_time() {
        let word = |is_abort| Word {
            at: Timestamp::from_secs(12 * 3600 + 3 * 60 + 41),
            is_abort,
            sentence: "canary failed 7 of 7".into(),
            evidence: Vec::new(),
        };
        let text = shown(&Head::default(), &[word(false), word(true)]);
        assert!(
            text.starts_with(
                "would have held 12:03:41: canary failed 7 of 7\nwould have aborted 12:03:41: "
            ),
            "{text}"
        );
        let head = Head {
            is_cut: true,
            ..Head::default()
        };
        let text = shown(&head, &[]);
        assert!(text.ends_with("would not have aborted") && text.starts_with("The beginning"));
        assert!(setting("errors").is_err());
    }
}
