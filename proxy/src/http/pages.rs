//! Pages of answers of the proxy's own.

use std::collections::BTreeMap;

use ::http::StatusCode;
use bytes::Bytes;

/// HTML pages by the status of the answers that get them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages {
    by_status: BTreeMap<u16, Bytes>,
    /// For statuses of a hundred that have none of their own.
    by_hundred: BTreeMap<u16, Bytes>,
}

impl ErrorPages {
    /// Adds a page by the name of its file: `503.html` is for one status from 400 to 599, and
    /// `5xx.html` for all of its hundred that have none of their own. False if the name says none.
    pub fn add(&mut self, name: &str, page: impl Into<Bytes>) -> bool {
        let Some(stem) = name.strip_suffix(".html").filter(|stem| stem.len() == 3) else {
            return false;
        };
        let (pages, key) = match stem.strip_suffix("xx") {
            Some(hundred) => (
                &mut self.by_hundred,
                hundred.parse().map(|key: u16| key * 100),
            ),
            None => (&mut self.by_status, stem.parse()),
        };
        match key {
            Ok(key @ 400..=599) => {
                pages.insert(key, page.into());
                true
            }
            _ => false,
        }
    }

    /// The page for a status.
    pub(super) fn get(&self, status: StatusCode) -> Option<&Bytes> {
        let status = status.as_u16();
        let own = self.by_status.get(&status);
        own.or_else(|| self.by_hundred.get(&(status / 100 * 100)))
    }
}

#[cfg(test)]
mod tests {
    use ::http::StatusCode;

    use super::ErrorPages;

    #[test]
    fn a_status_has_its_own_page_or_that_of_its_hundred() {
        let mut pages = ErrorPages::default();
        for (name, is_one) in [
            ("503.html", true),
            ("5xx.html", true),
            ("400.html", true),
            ("399.html", false),
            ("600.html", false),
            ("200.html", false),
            ("3xx.html", false),
            ("6xx.html", false),
            ("xxx.html", false),
            ("50x.html", false),
            ("+50.html", false),
            ("0503.html", false),
            ("503.htm", false),
            ("a/503.html", false),
            ("", false),
        ] {
            assert_eq!(pages.add(name, name.to_owned()), is_one, "{name}");
        }
        for (status, expected) in [
            (503, Some("503.html")),
            (502, Some("5xx.html")),
            (599, Some("5xx.html")),
            (400, Some("400.html")),
            (404, None),
            (301, None),
            (200, None),
        ] {
            let page = pages.get(StatusCode::from_u16(status).unwrap());
            let page = page.map(|page| str::from_utf8(page).unwrap());
            assert_eq!(page, expected, "{status}");
        }
    }
}
