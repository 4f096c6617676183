//! The time of a rendering.

use super::{State, add, failed, text_at, told};
use gotmpl::FuncMap;
use jiff::{Timestamp, tz::TimeZone};
use std::sync::Arc;

/// Pieces of a layout, as the reference time shows them, and what they stand for; longer ones
/// before their beginnings.
const PIECES: [(&str, &str); 22] = [
    ("2006", "%Y"),
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("Z07:00", "Z"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
];

pub(super) fn add_all(map: &mut FuncMap, state: &Arc<State>) {
    let state = Arc::clone(state);
    add(map, "timestamp", 0..=1, move |args| {
        let now = state.world.now();
        let layout = match args {
            [] => "2006-01-02T15:04:05Z07:00".to_owned(),
            _ => text_at(args, 0)?,
        };
        if layout == "unix" {
            return told(now.to_string());
        }
        let now = Timestamp::from_second(now).map_err(|error| failed(error.to_string()))?;
        let format = format(&layout);
        told(now.to_zoned(TimeZone::UTC).strftime(&format).to_string())
    });
}

/// A layout in the other common notation.
fn format(layout: &str) -> String {
    let (mut rest, mut format) = (layout, String::new());
    while let Some(letter) = rest.chars().next() {
        let piece = PIECES.iter().find(|(piece, _)| rest.starts_with(piece));
        let length = match piece {
            Some((piece, meaning)) => {
                format.push_str(meaning);
                piece.len()
            }
            None if letter == '%' => {
                format.push_str("%%");
                1
            }
            None => {
                format.push(letter);
                letter.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    format
}
