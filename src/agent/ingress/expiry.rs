//! Certificates that end soon, told in the log.

use std::{collections::BTreeSet, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Between two looks at the certificates.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// After so many looks everything is told once more: a day.
const SAID_LOOKS: u32 = 144;

/// Tells which certificates of a running ingress end soon, for ever: each once a day.
pub(super) async fn watch(proxy: proxy::Handle) {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Said::default();
    loop {
        ticks.tick().await;
        for sentence in said.look(proxy.certificate_problems()) {
            tracing::warn!("{sentence}; connections for it fail then");
        }
    }
}

/// What was said lately.
#[derive(Debug, Default)]
struct Said {
    sentences: BTreeSet<String>,
    looks: u32,
}

impl Said {
    /// What is to be said of what a look has found.
    fn look(&mut self, found: Vec<String>) -> Vec<String> {
        if self.looks == SAID_LOOKS {
            *self = Self::default();
        }
        self.looks += 1;
        let is_new = |sentence: &String| self.sentences.insert(sentence.clone());
        found.into_iter().filter(is_new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_said_once_a_day() {
        let mut said = Said::default();
        let mut look = |found: &[&str]| {
            let found = found.iter().map(|sentence| (*sentence).to_owned());
            said.look(found.collect()).join(" ")
        };
        assert_eq!(look(&["a"]), "a");
        assert_eq!(look(&["a", "b"]), "b");
        for _ in 2..SAID_LOOKS {
            assert_eq!(look(&["a", "b"]), "");
        }
        assert_eq!(look(&["b"]), "b");
        assert_eq!(look(&["a"]), "a");
    }
}
