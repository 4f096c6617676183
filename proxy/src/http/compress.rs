//! Answers that go on compressed.

use std::io::{self, Write};

use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, VARY,
};
use ::http::{Method, StatusCode, Version};
use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use regex::Regex;

/// Answers that are known to be smaller than this are not worth it, in bytes.
const BYTES_MIN: u64 = 256;

/// How hard zstd tries.
const ZSTD_LEVEL: i32 = 3;

/// How hard brotli tries, of 11, how far it looks back, as a power of two, and how much it writes
/// at once, in bytes. A page is made for each client anew: what takes longer is for files.
const BROTLI_LEVEL: u32 = 4;
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BYTES: usize = 4 << 10;

/// The codings that there are. Of those that a client likes best, the last one is taken: it is
/// small and costs little.
const CODINGS: [&str; 3] = [GZIP, BROTLI, ZSTD];
const GZIP: &str = "gzip";
const BROTLI: &str = "br";
const ZSTD: &str = "zstd";

/// Compresses the body of an answer as it comes.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    /// Nothing once the end was written.
    Brotli(Option<Box<CompressorWriter<Vec<u8>>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// The encoder of an answer, whose head is changed for it; none if the answer goes on as it is.
    /// Only content of a type that `types` matches is compressed.
    pub(super) fn of(
        types: &Regex,
        request: &RequestHeader,
        answer: &mut ResponseHeader,
    ) -> Result<Option<Encoder>> {
        let content = answer.headers.get(CONTENT_TYPE);
        let content = content.and_then(|content| content.to_str().ok());
        if !content.is_some_and(|content| types.is_match(content)) {
            return Ok(None);
        }
        answer.append_header(VARY, HeaderValue::from_static("Accept-Encoding"))?;
        if !is_worth_it(request, answer) {
            return Ok(None);
        }
        let Some((name, encoder)) = wanted(&request.headers) else {
            return Ok(None);
        };
        answer.insert_header(CONTENT_ENCODING, HeaderValue::from_static(name))?;
        answer.remove_header(&CONTENT_LENGTH);
        answer.remove_header(&HeaderName::from_static("accept-ranges"));
        if request.version != Version::HTTP_2 {
            answer.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
        // It is no longer the same bytes.
        let tag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        if let Some(tag) = tag.filter(|tag| tag.starts_with('"')) {
            let weak = format!("W/{tag}");
            answer.insert_header(ETAG, weak)?;
        }
        Ok(Some(encoder))
    }

    /// Takes a part of the body; what is there of it by then, so that nothing waits for more.
    pub(super) fn push(&mut self, part: Option<&[u8]>, is_end: bool) -> io::Result<Bytes> {
        match self {
            Encoder::Gzip(encoder) => {
                if let Some(part) = part {
                    encoder.write_all(part)?;
                }
                if is_end {
                    encoder.try_finish()?;
                } else {
                    encoder.flush()?;
                }
                Ok(std::mem::take(encoder.get_mut()).into())
            }
            Encoder::Brotli(slot) => {
                let Some(encoder) = slot else {
                    return Ok(Bytes::new());
                };
                if let Some(part) = part {
                    encoder.write_all(part)?;
                }
                if is_end {
                    // It is finished by taking it apart.
                    let whole = slot.take().map(|encoder| encoder.into_inner());
                    return Ok(whole.unwrap_or_default().into());
                }
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()).into())
            }
            Encoder::Zstd(encoder) => {
                if let Some(part) = part {
                    encoder.write_all(part)?;
                }
                if is_end {
                    encoder.do_finish()?;
                } else {
                    encoder.flush()?;
                }
                Ok(std::mem::take(encoder.get_mut()).into())
            }
        }
    }
}

fn is_worth_it(request: &RequestHeader, answer: &ResponseHeader) -> bool {
    let has = |headers: &HeaderMap, name: HeaderName, part: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.contains(part))
    };
    let length = answer.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    request.method != Method::HEAD
        && request.version >= Version::HTTP_11
        && !has(&request.headers, ACCEPT, "text/event-stream")
        && answer.status.as_u16() >= 200
        && answer.status != StatusCode::NO_CONTENT
        && answer.status != StatusCode::NOT_MODIFIED
        && answer.status != StatusCode::PARTIAL_CONTENT
        && !answer.headers.contains_key(CONTENT_ENCODING)
        && !has(&answer.headers, CACHE_CONTROL, "no-transform")
        && length.is_none_or(|length: u64| length >= BYTES_MIN)
}

/// The coding that the client likes best, of those that there are.
fn wanted(headers: &HeaderMap) -> Option<(&'static str, Encoder)> {
    let name = coding(headers)?;
    let encoder = match name {
        ZSTD => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?),
        BROTLI => {
            let out = Vec::new();
            let encoder = CompressorWriter::new(out, BROTLI_BYTES, BROTLI_LEVEL, BROTLI_WINDOW);
            Encoder::Brotli(Some(Box::new(encoder)))
        }
        _ => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
    };
    Some((name, encoder))
}

fn coding(headers: &HeaderMap) -> Option<&'static str> {
    let mut weights: [Option<f32>; CODINGS.len()] = [None; CODINGS.len()];
    let mut others = None;
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let words = values.filter_map(|value| value.to_str().ok());
    for word in words.flat_map(|value| value.split(',')) {
        let (name, weight) = word.split_once(';').unwrap_or((word, ""));
        let weight = weight.trim().strip_prefix("q=");
        let weight = weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
        let name = match name.trim().to_ascii_lowercase() {
            name if name == "x-gzip" => GZIP.to_owned(),
            name => name,
        };
        if name == "*" {
            others = Some(weight);
        } else if let Some(at) = CODINGS.iter().position(|coding| *coding == name) {
            weights[at] = Some(weight);
        }
    }
    // Whoever takes anything gets what everybody reads, unless that is named.
    weights[0] = weights[0].or(others);
    let liked = CODINGS.into_iter().zip(weights);
    let liked = liked.filter_map(|(name, weight)| Some((name, weight.filter(|own| *own > 0.0)?)));
    let best = liked.max_by(|(_, one), (_, two)| one.total_cmp(two));
    best.map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::wanted;
    use ::http::HeaderMap;

    #[test]
    fn the_client_s_choice_counts() {
        for (accept, expected) in [
            ("", None),
            ("gzip", Some("gzip")),
            ("gzip, zstd", Some("zstd")),
            ("zstd, gzip", Some("zstd")),
            ("zstd;q=0.5, gzip", Some("gzip")),
            ("gzip;q=0", None),
            ("*", Some("gzip")),
            ("br", Some("br")),
            ("deflate", None),
            ("gzip, deflate, br", Some("br")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("BR;q=0.5, gzip;q=0.4", Some("br")),
            ("br;q=0.5, x-gzip", Some("gzip")),
            ("gzip;q=0, *", None),
            ("br, *;q=0.1", Some("br")),
            ("gzip;q=x", None),
            ("gzip;q=NaN", None),
            ("deflate, gzip;q=1.0, *;q=0.5", Some("gzip")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", accept.parse().unwrap());
            let found = wanted(&headers).map(|(name, _)| name);
            assert_eq!(found, expected, "{accept}");
        }
    }

    #[test]
    fn parts_can_be_read_before_the_end() {
        for accept in ["gzip", "br", "zstd"] {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", accept.parse().unwrap());
            let (_, mut encoder) = wanted(&headers).unwrap();
            let mut sent = encoder.push(Some(b"first "), false).unwrap().to_vec();
            assert!(!sent.is_empty(), "{accept}");
            sent.extend_from_slice(&encoder.push(Some(b"second"), false).unwrap());
            sent.extend_from_slice(&encoder.push(None, true).unwrap());
            let mut text = String::new();
            if accept == "gzip" {
                flate2::read::GzDecoder::new(&*sent)
                    .read_to_string(&mut text)
                    .unwrap();
            } else if accept == "br" {
                brotli::Decompressor::new(&*sent, 64)
                    .read_to_string(&mut text)
                    .unwrap();
                assert!(encoder.push(None, true).unwrap().is_empty());
            } else {
                zstd::stream::read::Decoder::new(&*sent)
                    .unwrap()
                    .read_to_string(&mut text)
                    .unwrap();
            }
            assert_eq!(text, "first second");
        }
    }
}
