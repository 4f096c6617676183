//! When certificates in use end: as metrics, and as sentences for those that end soon.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::certs::{Certificate, Store};
use crate::route::{head, quoted};

/// So many certificates are told of, those that end first.
const TOLD_MAX: usize = 1000;

/// How long before the end of a certificate somebody should know of it, in seconds: two weeks, and
/// of one that is made for less than ten, a fifth of its time.
const NOTICE_S: i64 = 14 * 24 * 3600;
const NOTICE_PART: i64 = 5;

/// The name of the metric.
const METRIC: &str = "trivet_ingress_certificate_expiry_timestamp_seconds";

/// A source of certificates with its name.
pub(super) type Named = (String, Arc<Store>);

/// Whether somebody should see to a certificate, at so many seconds since 1970: it ends soon, or
/// has.
fn ends_soon(own: &Certificate, now: i64) -> bool {
    let whole = own.not_after.saturating_sub(own.not_before).max(0);
    let notice = NOTICE_S.min(whole / NOTICE_PART);
    now >= own.not_after.saturating_sub(notice)
}

/// The first host that a certificate is for, or the name of its pair.
fn subject(own: &Certificate) -> &str {
    own.hosts.first().unwrap_or(&own.name)
}

/// The certificates of all sources, each with the name of its own, those that end first before the
/// others.
fn first_to_end(sources: &[Named]) -> Vec<(&str, Certificate)> {
    let mut all: Vec<(&str, Certificate)> = sources
        .iter()
        .flat_map(|(name, store)| {
            let own = store.certificates().into_iter();
            own.map(|certificate| (name.as_str(), certificate))
        })
        .collect();
    all.sort_by_key(|(_, one)| one.not_after);
    all.truncate(TOLD_MAX);
    all
}

/// When the certificates end, in the text format of Prometheus; nothing if there are none.
pub(super) fn metrics(sources: &[Named]) -> String {
    let all = first_to_end(sources);
    let mut out = String::new();
    if all.is_empty() {
        return out;
    }
    let help = "When a certificate ends, in seconds since 1970.";
    let mut write = || -> std::fmt::Result {
        head(&mut out, METRIC, "gauge", help)?;
        for (source, certificate) in &all {
            let (name, host) = (quoted(&certificate.name), quoted(subject(certificate)));
            let (source, end) = (quoted(source), certificate.not_after);
            writeln!(
                out,
                "{METRIC}{{source={source},certificate={name},host={host}}} {end}"
            )?;
        }
        Ok(())
    };
    write().expect("a text takes any text");
    out
}

/// A sentence for each certificate that ends soon or has ended, at so many seconds since 1970. A
/// sentence stays the same until its certificate has ended.
pub(super) fn warnings(sources: &[Named], now: i64) -> Vec<String> {
    let all = first_to_end(sources);
    let soon = all.iter().filter(|(_, own)| ends_soon(own, now));
    soon.map(|(source, own)| {
        let verb = if now >= own.not_after {
            "ended"
        } else {
            "ends"
        };
        let seconds = u64::try_from(own.not_after).unwrap_or_default();
        let end = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        // Beyond the year 9999 there is no such text.
        let end = end.filter(|_| seconds < YEAR_MAX_S);
        let end = end.map_or_else(String::new, |end| {
            format!(" on {}", httpdate::fmt_http_date(end))
        });
        format!(
            "the certificate `{}` of the source `{source}`, for `{}`, {verb}{end}",
            own.name,
            subject(own)
        )
    })
    .collect()
}

/// The beginning of the year 10000, in seconds since 1970.
const YEAR_MAX_S: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{METRIC, Named, metrics, warnings};
    use crate::certs::{Pair, Store};

    const DAY: i64 = 24 * 3600;

    /// A source with a certificate of a host, for so many days from so many seconds since 1970.
    fn source(name: &str, host: &str, (from, days): (i64, i64)) -> Named {
        let mut wanted = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        let time = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        wanted.not_before = time(from);
        wanted.not_after = time(from + days * DAY);
        let key = rcgen::KeyPair::generate().unwrap();
        let store = Store::default();
        let pair = Pair {
            name: format!("{host}.pem"),
            chain: wanted.self_signed(&key).unwrap().pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        };
        assert_eq!(store.replace(vec![pair]), []);
        (name.to_owned(), Arc::new(store))
    }

    #[test]
    fn the_end_of_a_certificate_is_told_before_it_comes() {
        // 1 January 2030.
        let from = 1_893_456_000;
        let long = [source("own", "web.io", (from, 90))];
        let short = [source("own", "web.io", (from, 5))];
        let at = |source: &[Named], days: i64, seconds: i64| {
            let all = warnings(source, from + days * DAY + seconds);
            all.concat()
        };
        let says = |verb: &str, end: &str| {
            format!(
                "the certificate `web.io.pem` of the source `own`, for `web.io`, {verb} on {end}"
            )
        };
        for (source, days, seconds, expected) in [
            (&long, 75, 0, String::new()),
            (&long, 76, -1, String::new()),
            (&long, 76, 0, says("ends", "Mon, 01 Apr 2030 00:00:00 GMT")),
            (&long, 90, -1, says("ends", "Mon, 01 Apr 2030 00:00:00 GMT")),
            (&long, 90, 0, says("ended", "Mon, 01 Apr 2030 00:00:00 GMT")),
            (&short, 4, -1, String::new()),
            (&short, 4, 0, says("ends", "Sun, 06 Jan 2030 00:00:00 GMT")),
        ] {
            assert_eq!(at(source, days, seconds), expected, "{days} {seconds}");
        }
        assert_eq!(warnings(&[], from), Vec::<String>::new());
    }

    #[test]
    fn ends_are_metrics_the_first_one_first() {
        let sources = [
            source("one", "a.io", (1_893_456_000, 90)),
            source("two", "b\\.io", (1_893_456_000, 30)),
        ];
        let text = metrics(&sources);
        let expected = format!(
            "# HELP {METRIC} When a certificate ends, in seconds since 1970.\n# TYPE {METRIC} gauge\n\
             {METRIC}{{source=\"two\",certificate=\"b\\\\.io.pem\",host=\"b\\\\.io\"}} 1896048000\n\
             {METRIC}{{source=\"one\",certificate=\"a.io.pem\",host=\"a.io\"}} 1901232000\n"
        );
        assert_eq!(text, expected);
        assert_eq!(metrics(&[]), "");
    }
}
