use super::{CallError, LARGEST, Result, bounded, failed, text_at};
use crate::spec::value::{self, entries};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Lists and maps inside each other.
const DEEPEST: usize = 100;

/// Column behind which a text in quotes goes on in the next line.
const WIDEST: usize = 80;

/// Characters of the longest key that stands before its colon without a mark of its own.
const SIMPLE_KEY_MAX: usize = 128;

pub(super) fn yamldecode(args: &[Value]) -> Result {
    let text = text_at(args, 0)?;
    let mut reader = Reader {
        events: Parser::new_from_str(&text),
        anchors: BTreeMap::new(),
        left: LARGEST / size_of::<Value>(),
    };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamStart | Event::Nothing | Event::DocumentEnd => {}
            Event::DocumentStart(_) if document.is_some() => {
                return Err(failed("only a single document is allowed"));
            }
            Event::DocumentStart(_) => {
                let event = reader.next()?;
                document = Some(reader.value(event, DEEPEST)?);
            }
            Event::StreamEnd => return Ok(document.unwrap_or_default()),
            _ => return Err(failed("unexpected extra content after value")),
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Value>,
    /// Values that may still be made: references repeat what they name.
    left: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>> {
        match self.events.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(failed(error.to_string())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn take(&mut self, count: usize) -> Result<()> {
        self.left = self
            .left
            .checked_sub(count)
            .ok_or_else(|| failed("the result is too large"))?;
        Ok(())
    }

    fn value(&mut self, event: Event<'t>, deeper: usize) -> Result {
        self.take(1)?;
        let deeper = deeper
            .checked_sub(1)
            .ok_or_else(|| failed("the values are nested too deep"))?;
        let (anchor, made) = match event {
            Event::Alias(anchor) => {
                let value = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| failed("reference to undefined anchor"))?;
                self.take(count(&value))?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(&text, style, tag.as_ref())?)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.value(event, deeper)?),
                    }
                }
                (anchor, Value::Array(items))
            }
            Event::MappingStart(anchor, _) => (anchor, self.mapping(deeper)?),
            _ => return Err(failed("a value is missing")),
        };
        if anchor > 0 {
            self.take(count(&made))?;
            self.anchors.insert(anchor, made.clone());
        }
        Ok(made)
    }

    fn mapping(&mut self, deeper: usize) -> Result {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                event => event,
            };
            let merges = matches!(
                &key,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<"
            );
            let key = self.value(key, deeper)?;
            let event = self.next()?;
            let item = self.value(event, deeper)?;
            if merges {
                merged.push(item);
                continue;
            }
            let key = value::text(&key).ok_or_else(|| failed("a key must be text"))?;
            map.insert(key, item);
        }
        for item in merged {
            let sources = match item {
                Value::Array(items) => items,
                other => vec![other],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return Err(failed("cannot merge what is no map"));
                };
                for (key, item) in source {
                    map.entry(key).or_insert(item);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// Values in a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Cow<'_, Tag>>) -> Result {
    let suffix = match tag {
        // What is quoted is text, whatever stands before it.
        Some(tag)
            if style != ScalarStyle::Plain
                && tag.handle == "tag:yaml.org,2002:"
                && ["null", "bool", "int", "float"].contains(&tag.suffix.as_str()) =>
        {
            "str"
        }
        Some(tag) if tag.handle == "tag:yaml.org,2002:" => tag.suffix.as_str(),
        Some(tag) => {
            return Err(failed(format!(
                "unsupported tag \"{}{}\"",
                tag.handle, tag.suffix
            )));
        }
        None if style == ScalarStyle::Plain => "",
        None => "str",
    };
    let cannot = |tag: &str| failed(format!("cannot parse {text:?} as !!{tag}"));
    match suffix {
        "" => Ok(plain(text)?),
        "str" => Ok(text.into()),
        "null" => Ok(Value::Null),
        "bool" => match plain(text)? {
            flag @ Value::Bool(_) => Ok(flag),
            _ => Err(cannot("bool")),
        },
        "int" | "float" => match plain(text)? {
            number @ Value::Number(_) => Ok(number),
            _ => Err(cannot(suffix)),
        },
        "timestamp" => timestamp(text).ok_or_else(|| cannot("timestamp")),
        "binary" => match super::encoding::from_base64(text) {
            Some(_) => Ok(text.into()),
            None => Err(CallError::Failed(format!(
                "cannot parse {text:?} as !!binary: not valid base64"
            ))),
        },
        other => Err(failed(format!("unsupported tag \"!!{other}\""))),
    }
}

/// What a text without quotes means.
fn plain(text: &str) -> Result {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => {
            return Err(failed("floating point NaN is not supported"));
        }
        _ => {}
    }
    if let Some(time) = timestamp(text) {
        return Ok(time);
    }
    Ok(number(text).unwrap_or_else(|| text.into()))
}

fn number(text: &str) -> Option<Value> {
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        let fine = digits.chars().all(|digit| digit.is_digit(radix));
        if fine && !digits.is_empty() {
            i64::from_str_radix(digits, radix).ok().map(Value::from)
        } else {
            None
        }
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(number);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut letters = digits.bytes();
    let first = letters.next()?;
    let fine = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if !fine || !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    value::from_f64(text.parse().ok()?)
}

/// A date, with or without a time, as an instant in UTC or in its own zone.
fn timestamp(text: &str) -> Option<Value> {
    let (year, rest) = text.split_once('-')?;
    if year.len() != 4 {
        return None;
    }
    let (date, time) = match rest.find(['T', 't', ' ']) {
        Some(at) => (rest.get(..at)?, rest.get(at + 1..)),
        None => (rest, None),
    };
    let (month, day) = date.split_once('-')?;
    let two = |digits: &str| -> Option<u8> {
        let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    };
    let (month, day) = (two(month)?, two(day)?);
    let Some(time) = time else {
        return written(year, month, day, (0, 0, 0), "Z");
    };
    let zoned = rest.contains(['T', 't']);
    let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    if zoned == zone.is_empty() {
        return None;
    }
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    let mut parts = clock.split(':').map(two);
    let clock = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    written(year, month, day, clock, if zoned { zone } else { "Z" })
}

fn written(
    year: &str,
    month: u8,
    day: u8,
    (hour, minute, second): (u8, u8, u8),
    zone: &str,
) -> Option<Value> {
    let text = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}");
    super::date::timeadd(&[text.into(), "0s".into()]).ok()
}

pub(super) fn yamlencode(args: &[Value]) -> Result {
    let mut writer = Writer::default();
    let document = args.first().ok_or(CallError::TooFew)?;
    writer.value(document, Place::Top)?;
    if !writer.out.ends_with('\n') {
        writer.out.push('\n');
    }
    // Nothing else tells where a document ends that is one word without quotes.
    if matches!(document, Value::Number(_) | Value::Bool(_) | Value::Null) {
        writer.out.push_str("...\n");
    }
    Ok(writer.out.into())
}

/// Where a value stands in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The document itself.
    Top,
    /// Behind a key and its colon.
    Member,
    /// Behind the dash of a list.
    Item,
}

#[derive(Default)]
struct Writer {
    out: String,
    indent: usize,
}

impl Writer {
    fn value(&mut self, item: &Value, place: Place) -> Result<()> {
        bounded(self.out.len())?;
        match item {
            Value::Array(items) if items.is_empty() => self.word("[]", place),
            Value::Object(map) if map.is_empty() => self.word("{}", place),
            Value::Array(items) => return self.sequence(items, place),
            Value::Object(map) => return self.mapping(map, place),
            Value::String(text) if text.contains('\n') && literal_fits(text) => {
                self.literal(text, place);
            }
            Value::String(text) => {
                if place != Place::Top {
                    self.out.push(' ');
                }
                self.quoted(text, true);
            }
            Value::Number(number) => self.word(&number_text(number), place),
            Value::Bool(flag) => self.word(&flag.to_string(), place),
            Value::Null => self.word("null", place),
        }
        Ok(())
    }

    fn word(&mut self, text: &str, place: Place) {
        if place != Place::Top {
            self.out.push(' ');
        }
        self.out.push_str(text);
    }

    fn line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.push_str(&" ".repeat(self.indent));
    }

    /// The first entry of a list or map: in the same line behind a dash, in the next one elsewhere.
    fn begin(&mut self, first: bool, place: Place) {
        if first && place == Place::Item {
            self.out.push(' ');
        } else {
            self.line();
        }
    }

    fn sequence(&mut self, items: &[Value], place: Place) -> Result<()> {
        let before = self.indent;
        if place == Place::Item {
            self.indent += 2;
        }
        for (at, item) in items.iter().enumerate() {
            self.begin(at == 0, place);
            self.out.push('-');
            self.value(item, Place::Item)?;
        }
        self.indent = before;
        Ok(())
    }

    fn mapping(&mut self, map: &Map<String, Value>, place: Place) -> Result<()> {
        let before = self.indent;
        if place != Place::Top {
            self.indent += 2;
        }
        for (at, (key, item)) in entries(map).into_iter().enumerate() {
            self.begin(at == 0, place);
            let simple = !key.contains('\n') && key.chars().count() <= SIMPLE_KEY_MAX;
            if !simple {
                self.out.push_str("? ");
            }
            self.quoted(key, !simple);
            if !simple {
                self.line();
            }
            self.out.push(':');
            self.value(item, Place::Member)?;
        }
        self.indent = before;
        Ok(())
    }

    /// Text as it is, each line of it on a line.
    fn literal(&mut self, text: &str, place: Place) {
        if place != Place::Top {
            self.out.push(' ');
        }
        self.out.push('|');
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        if !text.ends_with('\n') {
            self.out.push('-');
        } else if text == "\n" || text.ends_with("\n\n") {
            self.out.push('+');
        }
        self.out.push('\n');
        let indent = " ".repeat(self.indent + 2);
        for line in text.split_inclusive('\n') {
            if line != "\n" {
                self.out.push_str(&indent);
            }
            self.out.push_str(line);
        }
    }

    fn quoted(&mut self, text: &str, folds: bool) {
        self.out.push('"');
        let start = self.out.rfind('\n').map_or(0, |at| at + 1);
        let line = self.out.get(start..).unwrap_or_default();
        let mut column = line.chars().count();
        let mut spaces = false;
        let mut letters = text.chars().peekable();
        let mut first = true;
        while let Some(letter) = letters.next() {
            if let Some(escape) = escape(letter) {
                column += escape.len();
                self.out.push_str(&escape);
                spaces = false;
            } else if letter == ' ' {
                if folds && !spaces && column > WIDEST && !first && letters.peek().is_some() {
                    self.out.push('\n');
                    column = self.indent + 2;
                    self.out.push_str(&" ".repeat(column));
                    if letters.peek() == Some(&' ') {
                        self.out.push('\\');
                        column += 1;
                    }
                } else {
                    self.out.push(' ');
                    column += 1;
                }
                spaces = true;
            } else {
                self.out.push(letter);
                column += 1;
                spaces = false;
            }
            first = false;
        }
        self.out.push('"');
    }
}

fn number_text(number: &Number) -> String {
    value::text(&Value::Number(number.clone())).unwrap_or_default()
}

/// True for text that stays what it is when its lines are written as they are.
fn literal_fits(text: &str) -> bool {
    let special = |letter: char| letter != '\n' && !printable(letter);
    !text.ends_with(' ') && !text.chars().any(special)
}

fn printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && letter != '\u{feff}'
}

fn escape(letter: char) -> Option<String> {
    let short = match letter {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ if printable(letter) => return None,
        _ => {
            let code = u32::from(letter);
            return Some(match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            });
        }
    };
    // A space that does not break is a space in the text.
    if letter == '\u{a0}' {
        return None;
    }
    Some(format!("\\{short}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode(text: &str) -> Result {
        yamldecode(&[text.into()])
    }

    #[test]
    fn words_are_what_they_look_like() {
        let text = "a: 1\nb: [yes, 'yes', 2.50, 0x1f, ~, 2024-3-5, \"x\\ty\"]\nc:\n  - d: |\n      two\n      lines\n  - &x {k: v}\n  - *x\n  - <<: *x\n    k2: !!str 5\n";
        assert_eq!(
            decode(text).unwrap(),
            json!({
                "a": 1,
                "b": [true, "yes", 2.5, 31, null, "2024-03-05T00:00:00Z", "x\ty"],
                "c": [{"d": "two\nlines\n"}, {"k": "v"}, {"k": "v"}, {"k2": "5", "k": "v"}],
            })
        );
        assert_eq!(decode("").unwrap(), json!(null));
        assert!(decode("a: [").is_err());
        assert_eq!(
            decode("a\n---\nb"),
            Err(failed("only a single document is allowed"))
        );
        assert_eq!(decode("!x y"), Err(failed("unsupported tag \"!x\"")));
    }

    #[test]
    fn references_cannot_explode() {
        let mut text = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
        for level in 1..12 {
            let before = level - 1;
            let names = vec![format!("*a{before}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{names}]\n"));
        }
        assert_eq!(decode(&text), Err(failed("the result is too large")));
        let deep = "[".repeat(200);
        assert!(decode(&deep).is_err());
    }

    #[test]
    fn values_are_written_in_blocks() {
        let encode = |value: Value| yamlencode(&[value]).unwrap();
        assert_eq!(encode(json!("a")), "\"a\"\n");
        assert_eq!(
            encode(
                json!({"b": [1, {"x": true, "y": null}, [2, []]], "a": {"k": "one\ntwo\n"}, "c": {}})
            ),
            "\"a\":\n  \"k\": |\n    one\n    two\n\"b\":\n- 1\n- \"x\": true\n  \"y\": null\n- - 2\n  - []\n\"c\": {}\n"
        );
        assert_eq!(
            encode(json!(["a\tb", "a\n b"])),
            "- \"a\\tb\"\n- |-\n  a\n   b\n"
        );
    }
}
