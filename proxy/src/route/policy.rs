//! What a route asks for beside where its requests go: how they are retried, limited, held and kept
//! together. Written as options of its targets; what is not written is up to the proxy's settings.

use std::time::Duration;

use super::problem::Fault;

/// The longest time that a route may have its requests held.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// How many statuses an option may name.
const STATUSES_MAX: usize = 32;

/// What a route asks for. Nothing means that the proxy's settings count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `retries=N`: how many more targets are tried when one fails.
    pub retries: Option<u32>,
    /// `retryon=502,503`: answers that count as failures of their target, and that another target
    /// is asked instead of if the request may be repeated.
    pub retry_on: Option<Vec<u16>>,
    /// `eject=N`: failures in a row after which a target rests; 0 for never.
    pub eject_after: Option<u32>,
    /// `maxreq=N`: requests in flight at a target, and so connections in use to it.
    pub target_requests_max: Option<u32>,
    /// `maxroute=N`: requests in flight on the route.
    pub route_requests_max: Option<u32>,
    /// `pending=N`: requests that may wait for their turn.
    pub pending_max: Option<u32>,
    /// `wait=TIME`: how long they may.
    pub pending_time: Option<Duration>,
    /// `hold=TIME`: how long requests wait for a target when there is none.
    pub hold: Option<Duration>,
    /// `sticky=…`: what keeps requests with one target.
    pub sticky: Option<Sticky>,
    /// `rate=N` or `rate=N/ip`: requests a second.
    pub rate: Option<Rate>,
}

/// What keeps requests with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A cookie that the proxy sets if there is none.
    OwnCookie,
    /// A cookie of the application.
    Cookie(String),
    /// A header.
    Header(String),
    /// The address of the client.
    Address,
}

impl Sticky {
    /// Reads `cookie`, `cookie:NAME`, `header:NAME` or `ip`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        sticky(text)
    }
}

/// A limit of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second; as many may come at once.
    pub per_second: u32,
    /// Each client's address has its own.
    pub is_by_address: bool,
}

impl Policy {
    /// Takes an option; nothing if it is none of a policy.
    ///
    /// # Errors
    /// If its value cannot be used.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Option<Result<(), Fault>> {
        let number = |least: u32| value.parse().ok().filter(|number| *number >= least);
        let time = || duration(value).filter(|time| *time <= HOLD_MAX);
        let (option, is_set) = match key {
            "retries" => ("retries", put(&mut self.retries, number(0))),
            "retryon" => ("retryon", put(&mut self.retry_on, statuses(value))),
            "eject" => ("eject", put(&mut self.eject_after, number(0))),
            "maxreq" => ("maxreq", put(&mut self.target_requests_max, number(1))),
            "maxroute" => ("maxroute", put(&mut self.route_requests_max, number(1))),
            "pending" => ("pending", put(&mut self.pending_max, number(0))),
            "wait" => ("wait", put(&mut self.pending_time, time())),
            "hold" => ("hold", put(&mut self.hold, time())),
            "sticky" => ("sticky", put(&mut self.sticky, sticky(value))),
            "rate" => ("rate", put(&mut self.rate, rate(value))),
            _ => return None,
        };
        Some(if is_set {
            Ok(())
        } else {
            Err(Fault::InvalidOption {
                option,
                value: value.to_owned(),
                wanted: wanted(option),
            })
        })
    }

    /// Takes from another policy what this one does not say.
    pub(super) fn complete(&mut self, other: &Policy) {
        fn or<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if own.is_none() {
                own.clone_from(other);
            }
        }
        or(&mut self.retries, &other.retries);
        or(&mut self.retry_on, &other.retry_on);
        or(&mut self.eject_after, &other.eject_after);
        or(&mut self.target_requests_max, &other.target_requests_max);
        or(&mut self.route_requests_max, &other.route_requests_max);
        or(&mut self.pending_max, &other.pending_max);
        or(&mut self.pending_time, &other.pending_time);
        or(&mut self.hold, &other.hold);
        or(&mut self.sticky, &other.sticky);
        or(&mut self.rate, &other.rate);
    }
}

/// What the value of an option must be.
fn wanted(option: &str) -> &'static str {
    match option {
        "retryon" => "statuses from 400 to 599 with commas between",
        "wait" | "hold" => "a time such as `250ms` or `5s`, at most `60s`",
        "sticky" => "`cookie`, `cookie:NAME`, `header:NAME` or `ip`",
        "rate" => "requests a second such as `100`, or `100/ip`",
        "maxreq" | "maxroute" => "a number from 1",
        _ => "a number",
    }
}

fn put<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    *field = value;
    field.is_some()
}

/// A time as in `250ms`, `3s` or `1m`.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn statuses(text: &str) -> Option<Vec<u16>> {
    let statuses = text.split(',').map(|status| {
        let status = status.parse().ok();
        status.filter(|status| (400..600).contains(status))
    });
    let statuses: Vec<u16> = statuses.collect::<Option<_>>()?;
    (statuses.len() <= STATUSES_MAX).then_some(statuses)
}

fn sticky(text: &str) -> Option<Sticky> {
    let is_token = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match text {
        "cookie" => Some(Sticky::OwnCookie),
        "ip" => Some(Sticky::Address),
        _ => {
            let (kind, name) = text.split_once(':')?;
            let name = Some(name).filter(is_token)?.to_owned();
            match kind {
                "cookie" => Some(Sticky::Cookie(name)),
                "header" => Some(Sticky::Header(name)),
                _ => None,
            }
        }
    }
}

fn rate(text: &str) -> Option<Rate> {
    let (number, is_by_address) = match text.strip_suffix("/ip") {
        Some(number) => (number, true),
        None => (text, false),
    };
    let per_second = number
        .parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number))?;
    Some(Rate {
        per_second,
        is_by_address,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Policy, Rate, Sticky};

    #[test]
    fn options_are_read_or_refused() {
        let read = |key: &str, value: &str| {
            let mut policy = Policy::default();
            policy.set(key, value).unwrap().map(|()| policy)
        };
        for (key, value) in [
            ("retries", "0"),
            ("retryon", "502,503"),
            ("eject", "0"),
            ("maxreq", "1"),
            ("maxroute", "10"),
            ("pending", "0"),
            ("wait", "250ms"),
            ("hold", "1m"),
            ("sticky", "header:X-User"),
            ("rate", "10"),
        ] {
            let policy = read(key, value).unwrap();
            assert_ne!(policy, Policy::default());
            let mut other = Policy::default();
            other.complete(&policy);
            assert_eq!(other, policy, "{key}");
        }
        assert_eq!(
            read("hold", "2s").unwrap().hold,
            Some(Duration::from_secs(2))
        );
        assert_eq!(read("sticky", "ip").unwrap().sticky, Some(Sticky::Address));
        let rate = Rate {
            per_second: 5,
            is_by_address: true,
        };
        assert_eq!(read("rate", "5/ip").unwrap().rate, Some(rate));
        for (key, value) in [
            ("retries", "-1"),
            ("retries", ""),
            ("retryon", "200"),
            ("retryon", "502,"),
            ("maxreq", "0"),
            ("wait", "1"),
            ("hold", "61s"),
            ("hold", "99999999999999999999s"),
            ("sticky", "cookie:"),
            ("sticky", "cookie:a b"),
            ("sticky", "body"),
            ("rate", "0"),
            ("rate", "5/user"),
        ] {
            assert!(read(key, value).is_err(), "{key}={value}");
        }
        assert!(Policy::default().set("strip", "/x").is_none());
    }
}
