//! What routes are made of, as far as it is known.

use super::super::external::{Listed, Other, Pauses};
use mesh::{model::RouteOverrides, view::Instance};
use serde::Deserialize;
use std::sync::Arc;
use tokio::{sync::watch, time::sleep};

/// Keys with their texts, in order.
pub(super) type Texts = Vec<(String, String)>;

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    datacenter: Option<String>,
    instances: Option<Arc<Vec<Instance>>>,
    texts: Option<Texts>,
    page: Option<String>,
    /// A text that stands in no key.
    text: String,
}

/// Everything that routes are made of.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) datacenter: String,
    pub(super) instances: Arc<Vec<Instance>>,
    pub(super) text: String,
    pub(super) texts: Texts,
    pub(super) page: String,
}

impl Found {
    /// A text and a page are all that there is.
    pub(super) fn set_text(&mut self, (text, page): (String, String)) {
        *self = Self {
            datacenter: Some(String::new()),
            instances: Some(Arc::default()),
            texts: Some(Texts::new()),
            page: Some(page),
            text,
        };
    }

    /// Nothing before every part was found once: routes without the operator's text may be others
    /// than were meant.
    pub(super) fn whole(&self) -> Option<Whole> {
        Some(Whole {
            datacenter: self.datacenter.clone()?,
            instances: self.instances.clone()?,
            text: self.text.clone(),
            texts: self.texts.clone()?,
            page: self.page.clone()?,
        })
    }
}

/// What an agent says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Itself {
    config: ItsConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ItsConfig {
    datacenter: String,
}

/// Follows a catalog for ever.
pub(super) async fn follow(
    other: Other,
    (commands, page): (String, String),
    mut instances: watch::Receiver<Arc<Vec<Instance>>>,
    found: watch::Sender<Found>,
) {
    let mut pauses = Pauses::default();
    let datacenter = loop {
        match other.list::<Itself>("/v1/agent/self").await {
            Ok(itself) => break itself.config.datacenter,
            Err(error) => sleep(pauses.failed(&other, &error)).await,
        }
    };
    pauses.is_well(&other);
    found.send_modify(|found| found.datacenter = Some(datacenter));
    let services = async {
        while instances.changed().await.is_ok() {
            let now = Arc::clone(&instances.borrow_and_update());
            found.send_modify(|found| found.instances = Some(now));
        }
    };
    let texts = keys_at(&other, &commands, |texts| {
        found.send_modify(|found| found.texts = Some(texts));
    });
    let page = keys_at(&other, &page, |texts| {
        let parts: Vec<&str> = texts.iter().map(|(_, text)| text.trim()).collect();
        let page = parts.join("\n\n");
        found.send_modify(|found| found.page = Some(page));
    });
    tokio::join!(services, texts, page);
}

/// Tells which texts stand at a key and below it, whenever they change, for ever.
async fn keys_at(other: &Other, root: &str, tell: impl Fn(Texts)) {
    let mut index = 0;
    let mut pauses = Pauses::default();
    loop {
        match other.keys_after(root, index).await {
            Ok((keys, next)) => {
                pauses.is_well(other);
                if next != index {
                    tell(within(root, keys));
                }
                index = next;
                if index == 0 {
                    // It has begun anew, or says no index: it is not asked without a pause.
                    sleep(Pauses::FIRST).await;
                }
            }
            Err(error) => {
                index = 0;
                sleep(pauses.failed(other, &error)).await;
            }
        }
    }
}

/// The texts of a key and of those below it, as far as all of them together are not too large.
fn within(root: &str, keys: Vec<Listed>) -> Texts {
    let mut left = RouteOverrides::KEYS_BYTES_MAX;
    let mut texts = Texts::new();
    for key in keys {
        let rest = key.key.strip_prefix(root);
        if rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/')) {
            continue;
        }
        let text = key.text();
        match left.checked_sub(text.len()) {
            Some(rest) => {
                left = rest;
                texts.push((key.key, text));
            }
            None => tracing::warn!(
                key = key.key,
                "a key is left out, as all texts together are larger than 1 MiB"
            ),
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, coded: &str) -> Listed {
        let row = serde_json::json!({"Key": key, "Value": coded, "ModifyIndex": 1});
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn keys_beside_the_root_are_left_out() {
        let keys = ["fabio/config", "fabio/config-old", "fabio/config/a"];
        let keys = keys.iter().map(|key| listed(key, "eA==")).collect();
        let texts = within("fabio/config", keys);
        let names: Vec<&str> = texts.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["fabio/config", "fabio/config/a"]);
        assert_eq!(texts[0].1, "x");
    }

    #[test]
    fn nothing_is_made_before_every_part_was_found() {
        let mut found = Found::default();
        assert!(found.whole().is_none());
        found.datacenter = Some("dc1".to_owned());
        found.instances = Some(Arc::default());
        found.page = Some(String::new());
        assert!(found.whole().is_none());
        found.texts = Some(Texts::new());
        assert_eq!(found.whole().unwrap().datacenter, "dc1");
        let mut found = Found::default();
        found.set_text(("route del x".to_owned(), String::new()));
        assert_eq!(found.whole().unwrap().text, "route del x");
    }
}
