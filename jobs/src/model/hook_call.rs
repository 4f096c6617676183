use super::Gate;
use std::fmt;

/// When a hook is asked, and what its answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// Before the first step: it begins when the hook lets it.
    Start,
    /// While canaries are judged: a refusal speaks against them.
    Step,
    /// Before each further step.
    Increase,
    /// Before the canaries may be promoted, or the old version stands by.
    Promote,
    /// All the time: when the hook says yes, it is given up.
    Abort,
}

impl HookPoint {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Start,
        Self::Step,
        Self::Increase,
        Self::Promote,
        Self::Abort,
    ];

    /// The name in job files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Step => "step",
            Self::Increase => "increase",
            Self::Promote => "promote",
            Self::Abort => "abort",
        }
    }

    /// The place where it waits for the hook; none if it does not.
    pub fn gate(self) -> Option<Gate> {
        match self {
            Self::Start => Some(Gate::Start),
            Self::Increase => Some(Gate::Increase),
            Self::Promote => Some(Gate::Promote),
            Self::Step | Self::Abort => None,
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let point = Self::ALL.into_iter().find(|point| point.as_str() == text);
        point.ok_or_else(|| match text {
            "done" | "event" => format!(
                "no hook is asked on {text:?}; rollout_notify in the meta of a service is the URL to which every transition is posted"
            ),
            _ => format!(
                "on is {text:?}; it must be \"start\", \"step\", \"increase\", \"promote\" or \"abort\""
            ),
        })
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A program elsewhere that is asked over HTTP whether canaries may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    /// When.
    pub on: HookPoint,
    /// To which it is posted, an `http` or `https` URL.
    pub url: String,
}

impl HookCall {
    /// Longest URL, bytes, so that a label holds it with the rest.
    pub const URL_BYTES_MAX: usize = 2000;

    /// Reads `start http://ci.example.com/smoke`.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead. The URL is not repeated: it may hold a
    /// password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (on, url) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let url = url.trim();
        if on.contains(':') {
            return Err("it must begin with when it is asked, such as \"start http://ci.example.com/smoke\"".into());
        }
        let on = HookPoint::parse(on)?;
        Self::check_url(url)?;
        Ok(Self {
            on,
            url: url.to_owned(),
        })
    }

    /// The text that says so much, as [`HookCall::parse`] reads it.
    pub fn text(on: &str, url: &str) -> String {
        format!("{} {}", on.trim(), url.trim())
    }

    /// Whether a hook can be asked there.
    ///
    /// # Errors
    /// What to write instead; it does not repeat the URL.
    pub fn check_url(url: &str) -> Result<(), String> {
        if is_url(url) && url.len() <= Self::URL_BYTES_MAX {
            return Ok(());
        }
        Err("the hook needs a URL that answers, such as \"http://ci.example.com/smoke\"".into())
    }
}

/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 2048;

/// True for `http` and `https` URLs with a host.
pub(super) fn is_url(text: &str) -> bool {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_plain = text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && authority.is_some_and(has_host)
}

/// True for a host, with a port if there is one, whoever asks.
fn has_host(authority: &str) -> bool {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let begins = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    let port = behind.split_once(':').map(|(_, port)| port);
    begins && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host() {
        for text in [
            "http://a",
            "https://a.example:8443/x?y#z",
            "http://[::1]:80/",
            "http://ada:secret@10.0.0.1",
        ] {
            assert!(is_url(text), "{text}");
        }
        for text in [
            "a",
            "http://",
            "http:///x",
            "http://ada:secret@",
            "http://a:b",
            "http://a:99999",
            "ftp://a",
            "http://a b",
        ] {
            assert!(!is_url(text), "{text}");
        }
    }

    #[test]
    fn a_hook_is_asked_at_some_point() {
        for point in HookPoint::ALL {
            let text = HookCall::text(point.as_str(), "https://ci.example.com/x?y=z");
            let hook = HookCall::parse(&text).unwrap();
            assert_eq!(
                (hook.on, hook.url.as_str()),
                (point, "https://ci.example.com/x?y=z")
            );
        }
        for (text, part) in [
            ("", "on is \"\""),
            ("http://ada:secret@ci", "begin with when"),
            ("soon http://ci", "on is \"soon\"; it must be \"start\""),
            ("done http://ci", "rollout_notify"),
            ("event http://ci", "rollout_notify"),
            ("start", "needs a URL"),
            ("start ftp://ci", "needs a URL"),
            ("start http://ada:secret@ci b", "needs a URL"),
        ] {
            let problem = HookCall::parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
