//! A key that lists the few sessions that may hold it at a time, beside a key of each that wants
//! to.

use super::{
    key_path,
    pair::{Pair, RETRY, pairs},
};
use crate::http::Http;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::time::sleep;

/// Says that a key is used so.
const FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;
/// How long a wait for a place lasts.
const WAIT: &str = "15000ms";

/// A place among a few.
#[derive(Debug)]
pub(super) struct Semaphore {
    http: Http,
    prefix: String,
    session: String,
    limit: u64,
    flags: String,
}

/// Who holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Holders {
    limit: u64,
    holders: BTreeMap<String, bool>,
}

/// What is known of it.
struct Seen {
    holders: Holders,
    version: u64,
    contenders: Vec<String>,
    index: u64,
}

impl Semaphore {
    pub(super) fn new(http: Http, prefix: &str, session: String, limit: u64) -> Self {
        Self {
            http,
            prefix: prefix.to_owned(),
            session,
            limit,
            flags: FLAGS.to_string(),
        }
    }

    fn list(&self) -> String {
        format!("{}/.lock", self.prefix)
    }

    fn own(&self) -> String {
        format!("{}/{}", self.prefix, self.session)
    }

    async fn seen(&self, query: &[(&str, &str)], index: u64) -> anyhow::Result<Seen> {
        let path = key_path(&format!("{}/", self.prefix));
        let answer = self.http.look(&path, query, index).await?;
        let mut seen = Seen {
            holders: Holders::default(),
            version: 0,
            contenders: Vec::new(),
            index: answer.index,
        };
        for pair in pairs(&answer.body) {
            self.note(&mut seen, pair)?;
        }
        if seen.version == 0 {
            seen.holders.limit = self.limit;
        }
        let Seen {
            holders,
            contenders,
            ..
        } = &mut seen;
        holders.holders.retain(|id, _| contenders.contains(id));
        Ok(seen)
    }

    fn note(&self, seen: &mut Seen, pair: Pair) -> anyhow::Result<()> {
        if pair.key == self.list() {
            if pair.flags != FLAGS {
                bail!("Existing key does not match semaphore use");
            }
            seen.holders = serde_json::from_slice(&pair.value).context("the key of the holders")?;
            seen.version = pair.modify_index;
            if seen.holders.limit != self.limit {
                let (theirs, own) = (seen.holders.limit, self.limit);
                bail!("Semaphore limit conflict (lock: {theirs}, local: {own})");
            }
        } else if !pair.session.is_empty() {
            seen.contenders.push(pair.session);
        }
        Ok(())
    }

    async fn write(&self, seen: &Seen) -> anyhow::Result<bool> {
        let version = seen.version.to_string();
        let query = [("cas", version.as_str()), ("flags", self.flags.as_str())];
        let value = serde_json::to_vec(&seen.holders)?;
        let path = key_path(&self.list());
        Ok(self.http.put_bytes(&path, &query, value).await?)
    }

    pub(super) async fn acquire(&self) -> anyhow::Result<()> {
        let query = [
            ("acquire", self.session.as_str()),
            ("flags", self.flags.as_str()),
        ];
        let path = key_path(&self.own());
        let is_made: bool = self.http.put_bytes(&path, &query, Vec::new()).await?;
        if !is_made {
            bail!("failed to make contender entry");
        }
        let mut index = 0;
        loop {
            let mut seen = self.seen(&[("recurse", ""), ("wait", WAIT)], index).await?;
            let holders = &mut seen.holders.holders;
            if u64::try_from(holders.len()).unwrap_or(u64::MAX) >= self.limit {
                index = seen.index;
                continue;
            }
            holders.insert(self.session.clone(), true);
            if self.write(&seen).await? {
                return Ok(());
            }
            // Somebody else changed it meanwhile.
            index = 0;
        }
    }

    pub(super) async fn lost(&self, retries_max: u32) {
        let (mut index, mut failures) = (0, 0);
        loop {
            let query = [("recurse", ""), ("consistent", "")];
            match self.seen(&query, index).await {
                Ok(seen) => {
                    failures = 0;
                    index = seen.index;
                    if !seen.holders.holders.contains_key(&self.session) {
                        return;
                    }
                }
                Err(_) if failures < retries_max => {
                    failures += 1;
                    sleep(RETRY).await;
                }
                Err(_) => return,
            }
        }
    }

    pub(super) async fn release(&self) -> anyhow::Result<()> {
        loop {
            let mut seen = self.seen(&[("recurse", "")], 0).await?;
            let was_held = seen.holders.holders.remove(&self.session).is_some();
            if !was_held || self.write(&seen).await? {
                break;
            }
        }
        let path = key_path(&self.own());
        let _removed: bool = self.http.delete(&path, &[]).await?;
        Ok(())
    }

    pub(super) async fn clean_up(&self) -> anyhow::Result<bool> {
        let seen = self.seen(&[("recurse", "")], 0).await?;
        if !seen.contenders.is_empty() {
            return Ok(false);
        }
        if seen.version == 0 {
            return Ok(true);
        }
        let version = seen.version.to_string();
        let path = key_path(&self.list());
        Ok(self.http.delete(&path, &[("cas", &version)]).await?)
    }
}
