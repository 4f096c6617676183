//! Figures in the form that statsd servers take: lines in datagrams, where a sum is told as what
//! was added to it. Pure; whoever sends them is elsewhere.

use std::{collections::BTreeMap, fmt::Write as _};

/// Longest datagram, bytes: it fits into a frame of a common network with what is around it.
const DATAGRAM_BYTES_MAX: usize = 1400;
/// Ends the name of a sum since the start; every other figure is a level.
const SUM: &str = "_total";

/// A figure with its name, which is words with dots between, and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is of.
    pub name: &'static str,
    /// Which of several, in a fixed order.
    pub labels: Vec<(&'static str, String)>,
    /// How much; never less than nothing.
    pub value: f64,
}

impl Figure {
    /// Whether it is a sum since the start.
    #[must_use]
    pub fn is_sum(&self) -> bool {
        self.name.ends_with(SUM)
    }
}

/// How labels are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Their values are further words of the name.
    Names,
    /// As tags, `KEY:VALUE`, beside these.
    Tags(Vec<String>),
}

/// What makes lines of figures, and remembers sums to tell what was added to them.
#[derive(Debug)]
pub struct Teller {
    form: Form,
    /// Is told with each level as the label `host`.
    host: Option<String>,
    /// The sums that were told last.
    told: BTreeMap<String, f64>,
}

impl Teller {
    /// One that has told nothing yet: sums count from nothing.
    #[must_use]
    pub fn new(form: Form, host: Option<String>) -> Self {
        Self {
            form,
            host,
            told: BTreeMap::new(),
        }
    }

    /// Datagrams with a line for each level and for each sum that grew. A sum that is less than it
    /// was has begun anew. What does not fit into a datagram is left out.
    pub fn datagrams(&mut self, figures: &[Figure]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut sums = BTreeMap::new();
        for figure in figures.iter().filter(|figure| is_tellable(figure.value)) {
            let (name, tags) = self.named(figure);
            lines.push(if figure.is_sum() {
                let key = format!("{name}|{tags}");
                let before = self.told.get(&key).copied().unwrap_or(0.0);
                sums.insert(key, figure.value);
                let added = if figure.value < before {
                    figure.value
                } else {
                    figure.value - before
                };
                if added == 0.0 {
                    continue;
                }
                format!("{name}:{added}|c{tags}\n")
            } else {
                format!("{name}:{}|g{tags}\n", figure.value)
            });
        }
        self.told = sums;
        packed(lines)
    }

    /// The name of a figure, and what stands behind its value.
    fn named(&self, figure: &Figure) -> (String, String) {
        let host = self.host.as_deref().filter(|_| !figure.is_sum());
        let own = figure.labels.iter().map(|(key, value)| (*key, &**value));
        let labels = own.chain(host.map(|host| ("host", host)));
        let mut name = figure.name.to_owned();
        let mut tags = String::new();
        // Writing to a text cannot fail.
        match &self.form {
            Form::Names => {
                for (_, value) in labels {
                    let value = word(value, |letter| is_mark(letter) || letter == '.');
                    write!(name, ".{value}").ok();
                }
            }
            Form::Tags(more) => {
                let labels = labels.map(|(key, value)| format!("{key}:{}", word(value, is_mark)));
                let all: Vec<String> = labels.chain(more.iter().cloned()).collect();
                if !all.is_empty() {
                    write!(tags, "|#{}", all.join(",")).ok();
                }
            }
        }
        (name, tags)
    }
}

/// Lines together in as few datagrams as their order allows, without those that fit into none.
pub(crate) fn packed(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut datagrams = Vec::new();
    let mut open = String::new();
    for line in lines {
        if line.len() > DATAGRAM_BYTES_MAX {
            continue;
        }
        if open.len() + line.len() > DATAGRAM_BYTES_MAX {
            datagrams.push(std::mem::take(&mut open));
        }
        open.push_str(&line);
    }
    if !open.is_empty() {
        datagrams.push(open);
    }
    datagrams
}

/// A level with a sign would be taken for a change.
fn is_tellable(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A text without spaces, nor letters that mean something in a line; never empty.
pub(crate) fn word(text: &str, has_meaning: impl Fn(char) -> bool) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    let is_kept =
        |letter: char| !letter.is_whitespace() && !letter.is_control() && !has_meaning(letter);
    let letters = text.chars();
    letters
        .map(|letter| if is_kept(letter) { letter } else { '_' })
        .collect()
}

/// Whether a letter means something in a line with tags.
fn is_mark(letter: char) -> bool {
    matches!(letter, ':' | '|' | '@' | '#' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &'static str, labels: &[(&'static str, &str)], value: f64) -> Figure {
        let owned = |(key, value): &(&'static str, &str)| (*key, (*value).to_owned());
        Figure {
            name,
            labels: labels.iter().map(owned).collect(),
            value,
        }
    }

    #[test]
    fn labels_are_words_of_the_name_or_tags() {
        let figures = [
            figure("trivet.jobs", &[("status", "running")], 2.0),
            figure(
                "trivet.share",
                &[("job", "a.b:c|d #é,"), ("group", "")],
                0.25,
            ),
            figure("trivet.requests_total", &[("service", "web")], 7.0),
            figure("trivet.none", &[], f64::NAN),
            figure("trivet.less", &[], -1.0),
        ];
        let tags = Form::Tags(vec!["team:web".into()]);
        for (form, host, expected) in [
            (
                Form::Names,
                Some("box.example"),
                "trivet.jobs.running.box_example:2|g\n\
                 trivet.share.a_b_c_d__é_._.box_example:0.25|g\n\
                 trivet.requests_total.web:7|c\n",
            ),
            (
                Form::Names,
                None,
                "trivet.jobs.running:2|g\ntrivet.share.a_b_c_d__é_._:0.25|g\n\
                 trivet.requests_total.web:7|c\n",
            ),
            (
                tags,
                Some("box.example"),
                "trivet.jobs:2|g|#status:running,host:box.example,team:web\n\
                 trivet.share:0.25|g|#job:a.b_c_d__é_,group:_,host:box.example,team:web\n\
                 trivet.requests_total:7|c|#service:web,team:web\n",
            ),
        ] {
            let mut teller = Teller::new(form, host.map(str::to_owned));
            assert_eq!(teller.datagrams(&figures), [expected]);
        }
    }

    #[test]
    fn sums_are_told_as_what_was_added() {
        let mut teller = Teller::new(Form::Names, None);
        let mut told = |value: f64, other: Option<f64>| {
            let own = figure("a_total", &[], value);
            let other = other.map(|value| figure("a_total", &[("of", "b")], value));
            let figures: Vec<Figure> = [Some(own), other].into_iter().flatten().collect();
            teller.datagrams(&figures).concat()
        };
        assert_eq!(told(0.0, None), "");
        assert_eq!(told(5.0, Some(1.0)), "a_total:5|c\na_total.b:1|c\n");
        assert_eq!(told(5.0, Some(3.0)), "a_total.b:2|c\n");
        // One that is gone and comes back begins anew, and so does one that is less than before.
        assert_eq!(told(2.0, None), "a_total:2|c\n");
        assert_eq!(told(2.0, Some(3.0)), "a_total.b:3|c\n");
    }

    #[test]
    fn datagrams_hold_whole_lines_and_are_bounded() {
        let name = |length: usize| "x".repeat(length);
        let figures: Vec<Figure> = (0..1000_u16)
            .map(|at| {
                figure(
                    "trivet.level",
                    &[("of", &name(usize::from(at % 90) + 1))],
                    f64::from(at),
                )
            })
            .chain([figure("trivet.long", &[("of", &name(1400))], 1.0)])
            .collect();
        let datagrams = Teller::new(Form::Names, None).datagrams(&figures);
        let longest = datagrams.iter().map(String::len).max();
        assert!(longest <= Some(DATAGRAM_BYTES_MAX), "{longest:?}");
        assert!(datagrams.iter().all(|one| one.ends_with('\n')));
        let lines: Vec<&str> = datagrams.iter().flat_map(|one| one.lines()).collect();
        assert_eq!(lines.len(), 1000);
        assert!(lines[999].ends_with(":999|g"), "{}", lines[999]);
        // About as few as can be.
        let bytes: usize = datagrams.iter().map(String::len).sum();
        assert!(datagrams.len() <= bytes / (DATAGRAM_BYTES_MAX - 120) + 1);
    }
}
