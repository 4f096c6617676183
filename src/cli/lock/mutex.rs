//! A key that one session holds at a time.

use super::{
    key_path,
    pair::{Pair, RETRY, pairs},
};
use crate::http::Http;
use anyhow::bail;
use std::time::Duration;
use tokio::time::sleep;

/// Says that a key is used as a lock.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
/// How long a wait for the holder's end lasts.
const WAIT: &str = "15000ms";
/// Pause when nobody holds the lock and it is not to be had: its last holder was ended by others.
const DELAYED: Duration = Duration::from_secs(5);

/// A lock.
#[derive(Debug)]
pub(super) struct Mutex {
    http: Http,
    path: String,
    session: String,
    flags: String,
}

impl Mutex {
    pub(super) fn new(http: Http, prefix: &str, session: String) -> Self {
        Self {
            http,
            path: key_path(&format!("{prefix}/.lock")),
            session,
            flags: FLAGS.to_string(),
        }
    }

    pub(super) async fn acquire(&self) -> anyhow::Result<()> {
        let mut index = 0;
        loop {
            let answer = self.http.look(&self.path, &[("wait", WAIT)], index).await?;
            let pair = pairs(&answer.body).pop();
            if let Some(pair) = &pair {
                if pair.flags != FLAGS {
                    bail!("Existing key does not match lock use");
                }
                if pair.session == self.session {
                    return Ok(());
                }
                if !pair.session.is_empty() {
                    index = answer.index;
                    continue;
                }
            }
            let query = [
                ("acquire", self.session.as_str()),
                ("flags", self.flags.as_str()),
            ];
            if self.http.put_bytes(&self.path, &query, Vec::new()).await? {
                return Ok(());
            }
            // Somebody was faster, or its last holder was ended a moment ago.
            let now = self.http.look(&self.path, &[], 0).await?;
            index = now.index;
            let holder = pairs(&now.body).pop().unwrap_or_default().session;
            if holder.is_empty() {
                index = 0;
                sleep(DELAYED).await;
            }
        }
    }

    pub(super) async fn lost(&self, retries_max: u32) {
        let (mut index, mut failures) = (0, 0);
        loop {
            let looked = self.http.look(&self.path, &[("consistent", "")], index);
            match looked.await {
                Ok(answer) => {
                    failures = 0;
                    index = answer.index;
                    let holder = pairs(&answer.body).pop().unwrap_or_default().session;
                    if holder != self.session {
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
        let query = [
            ("flags", self.flags.as_str()),
            ("release", self.session.as_str()),
        ];
        let _was_held: bool = self.http.put_bytes(&self.path, &query, Vec::new()).await?;
        Ok(())
    }

    pub(super) async fn clean_up(&self) -> anyhow::Result<bool> {
        let answer = self.http.look(&self.path, &[], 0).await?;
        let Some(Pair {
            session,
            modify_index,
            ..
        }) = pairs(&answer.body).pop()
        else {
            return Ok(true);
        };
        if !session.is_empty() {
            return Ok(false);
        }
        let version = modify_index.to_string();
        Ok(self.http.delete(&self.path, &[("cas", &version)]).await?)
    }
}
