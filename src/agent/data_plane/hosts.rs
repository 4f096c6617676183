//! Targets that have names: their addresses are asked of the system again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::lookup_host,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

/// Between two looks at all names.
const REFRESH: Duration = Duration::from_secs(10);
/// How long a look may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How many names are asked for at once.
const LOOKUPS_MAX: usize = 16;
/// The most names whose addresses are asked for; the others have none.
const NAMES_MAX: usize = 1000;

/// Addresses by name.
pub(in crate::agent) type Addresses = Arc<BTreeMap<String, IpAddr>>;

/// Names of targets, and the addresses that they have now.
#[derive(Debug)]
pub(in crate::agent) struct Hosts {
    wanted: watch::Sender<BTreeSet<String>>,
    known: watch::Receiver<Addresses>,
    asking: AbortHandle,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Hosts {
    /// No names yet.
    pub(in crate::agent) fn start() -> Self {
        let (wanted, names) = watch::channel(BTreeSet::new());
        let (found, known) = watch::channel(Addresses::default());
        Self {
            wanted,
            known,
            asking: tokio::spawn(keep_fresh(names, found)).abort_handle(),
        }
    }

    /// The addresses as far as they are known.
    pub(in crate::agent) fn known(&self) -> Addresses {
        Arc::clone(&self.known.borrow())
    }

    /// Asks for the addresses of these names and of no others.
    pub(in crate::agent) fn want(&self, mut names: BTreeSet<String>) {
        while names.len() > NAMES_MAX {
            names.pop_last();
        }
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != names;
            *wanted = names;
            differs
        });
    }

    /// Resolves when an address is another one.
    pub(in crate::agent) async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

async fn keep_fresh(mut names: watch::Receiver<BTreeSet<String>>, found: watch::Sender<Addresses>) {
    loop {
        let wanted: Vec<String> = names.borrow_and_update().iter().cloned().collect();
        let mut answers = BTreeMap::new();
        for part in wanted.chunks(LOOKUPS_MAX) {
            let mut asking = JoinSet::new();
            for name in part {
                let name = name.clone();
                asking.spawn(async move { (ask(&name).await, name) });
            }
            while let Some(answer) = asking.join_next().await {
                if let Ok((answer, name)) = answer {
                    answers.insert(name, answer);
                }
            }
        }
        let before = Arc::clone(&found.borrow());
        let next = Arc::new(next(&before, answers));
        if next != before {
            found.send_replace(next);
        }
        tokio::select! {
            changed = names.changed() => if changed.is_err() { return },
            () = sleep(REFRESH), if !wanted.is_empty() => {}
        }
    }
}

/// The addresses of a name, the best one first; none if they cannot be had.
async fn ask(name: &str) -> Vec<IpAddr> {
    let answer = timeout(LOOKUP_TIMEOUT, lookup_host((name, 0))).await;
    match answer {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    }
}

/// What is known after some answers: a name keeps its address as long as it is among the answers,
/// and also when there is no answer.
fn next(
    before: &BTreeMap<String, IpAddr>,
    answers: BTreeMap<String, Vec<IpAddr>>,
) -> BTreeMap<String, IpAddr> {
    let address = |(name, answer): (String, Vec<IpAddr>)| {
        let own = before.get(&name).copied();
        let kept = own.filter(|own| answer.is_empty() || answer.contains(own));
        let address = kept.or_else(|| answer.first().copied())?;
        Some((name, address))
    };
    answers.into_iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_as_long_as_it_can() {
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let before = BTreeMap::from([
            ("gone".to_owned(), ip(1)),
            ("kept".to_owned(), ip(2)),
            ("moved".to_owned(), ip(3)),
            ("mute".to_owned(), ip(4)),
        ]);
        let answers = BTreeMap::from([
            ("kept".to_owned(), vec![ip(9), ip(2)]),
            ("moved".to_owned(), vec![ip(5), ip(6)]),
            ("mute".to_owned(), vec![]),
            ("new".to_owned(), vec![ip(7)]),
            ("nobody".to_owned(), vec![]),
        ]);
        let expected = BTreeMap::from([
            ("kept".to_owned(), ip(2)),
            ("moved".to_owned(), ip(5)),
            ("mute".to_owned(), ip(4)),
            ("new".to_owned(), ip(7)),
        ]);
        assert_eq!(next(&before, answers), expected);
    }

    #[tokio::test]
    async fn names_are_asked_for() {
        let mut hosts = Hosts::start();
        assert!(hosts.known().is_empty());
        hosts.want(BTreeSet::from(["localhost".to_owned()]));
        hosts.changed().await;
        assert!(hosts.known()["localhost"].is_loopback());
        hosts.want(BTreeSet::new());
        hosts.changed().await;
        assert!(hosts.known().is_empty());
    }
}
