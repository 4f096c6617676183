//! Which encodings a client takes, and bodies in them.

use axum::http::HeaderValue;
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;

/// Whether an `Accept-Encoding` header names gzip, and not to refuse it.
pub(crate) fn takes_gzip(header: &HeaderValue) -> bool {
    let text = header.to_str().unwrap_or_default();
    text.split(',').any(|part| {
        let mut parts = part.split(';').map(str::trim);
        let is_gzip = matches!(parts.next(), Some("gzip" | "*"));
        let is_refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        is_gzip && !is_refused
    })
}

/// The same bytes, shorter; none when they cannot be compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_read_with_their_weight() {
        for (text, expected) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            assert_eq!(
                takes_gzip(&HeaderValue::from_static(text)),
                expected,
                "{text}"
            );
        }
    }
}
