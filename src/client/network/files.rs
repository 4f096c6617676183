//! The files by which programs in a network find names. Pure.

use jobs::model::Dns;
use std::{fmt::Write, net::IpAddr};

/// What `/etc/hosts` says inside.
pub(super) fn hosts(address: Option<IpAddr>, hostname: &str) -> String {
    let own = address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    if !hostname.is_empty() {
        writeln!(text, "{own} {hostname}").ok();
    }
    text
}

/// What `/etc/resolv.conf` says inside. What the job leaves out is as on the host, whose own file
/// is `of_host`.
pub(super) fn resolver(asked: Option<&Dns>, of_host: &str) -> String {
    let given = |list: Option<&Vec<String>>| list.filter(|list| !list.is_empty()).cloned();
    let (servers, searches, options) = match asked {
        None => return of_host.to_owned(),
        Some(dns) => (
            given(dns.servers.as_ref()),
            given(dns.searches.as_ref()),
            given(dns.options.as_ref()),
        ),
    };
    let mut text = String::new();
    if let Some(searches) = searches {
        writeln!(text, "search {}", searches.join(" ")).ok();
    } else {
        copy(&mut text, of_host, &["search", "domain"]);
    }
    match servers {
        Some(servers) => {
            for server in servers {
                writeln!(text, "nameserver {server}").ok();
            }
        }
        None => copy(&mut text, of_host, &["nameserver"]),
    }
    match options {
        Some(options) => {
            writeln!(text, "options {}", options.join(" ")).ok();
        }
        None => copy(&mut text, of_host, &["options"]),
    }
    text
}

/// Takes over the lines of the host that begin with one of the words.
fn copy(text: &mut String, of_host: &str, words: &[&str]) {
    let is_one = |line: &&str| {
        let first = line.split_whitespace().next();
        first.is_some_and(|first| words.contains(&first))
    };
    for line in of_host.lines().filter(is_one) {
        writeln!(text, "{line}").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_leaves_out_is_as_on_the_host() {
        let host = "# made by hand\nsearch example.net\nnameserver 192.0.2.1\noptions ndots:2\n";
        assert_eq!(resolver(None, host), host);
        let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
        let dns = Dns {
            servers: list(&["10.0.0.53", "10.0.0.54"]),
            ..Dns::default()
        };
        assert_eq!(
            resolver(Some(&dns), host),
            "search example.net\nnameserver 10.0.0.53\nnameserver 10.0.0.54\noptions ndots:2\n"
        );
        let dns = Dns {
            servers: list(&[]),
            searches: list(&["a.test", "b.test"]),
            options: list(&["rotate"]),
        };
        assert_eq!(
            resolver(Some(&dns), host),
            "search a.test b.test\nnameserver 192.0.2.1\noptions rotate\n"
        );
    }

    #[test]
    fn a_machine_finds_its_own_name() {
        let text = hosts(Some([10, 0, 0, 2].into()), "web");
        assert!(text.ends_with("\n10.0.0.2 web\n"), "{text}");
        assert!(hosts(None, "web").ends_with("\n127.0.0.1 web\n"));
        assert_eq!(hosts(None, "").lines().count(), 2);
    }
}
