//! Metrics that are pushed: to whom, and the names that they have there.

use super::{super::names, Resolver};
use std::time::Duration;

/// The least time between two pushes, and the most.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// The program, as names know it.
const PROGRAM: &str = "fabio";
/// The usual beginning of names of metrics that are pushed.
const PREFIX: &str = "{{clean .Hostname}}.{{clean .Exec}}";
/// Most times that answers are sorted by.
const BUCKETS_MAX: usize = 64;
/// The longest of them, seconds.
const BUCKET_MAX: f64 = 86_400.0;

/// Metrics that are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedMetrics {
    /// Begins all names; nothing is put behind it.
    pub prefix: String,
    /// What targets of routes are called.
    pub names: RouteNames,
    /// How often.
    pub interval: Duration,
    /// To whom, at least one.
    pub receivers: Vec<MetricsReceiver>,
}

/// Somebody to whom metrics are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsReceiver {
    /// What it understands.
    pub form: MetricsForm,
    /// Host and port; none for standard output.
    pub address: Option<String>,
}

/// What a receiver of metrics understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsForm {
    /// Lines of statsd, with labels in the names.
    Plain,
    /// Lines of statsd with tags.
    Tags,
    /// Lines of graphite, over TCP.
    Graphite,
}

/// What targets of routes are called where there are no labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteNames(Vec<Part>);

impl RouteNames {
    /// The name of a target of a route, which is a URL.
    #[must_use]
    pub fn filled(&self, service: &str, host: &str, path: &str, target: &str) -> String {
        let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        filled(&self.0, |field| match field {
            ".Service" => service,
            ".Host" => host,
            ".Path" => path,
            ".TargetURL.Host" => authority,
            _ => target,
        })
    }
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { name: String, is_clean: bool },
}

/// Reads a template: text, and fields as `{{.Name}}` or `{{clean .Name}}`.
fn parse(text: &str, known: &[&str]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, tail) = after
            .split_once("}}")
            .ok_or_else(|| "a `{{` is not closed".to_owned())?;
        parts.push(Part::Text(before.to_owned()));
        let words: Vec<&str> = action.split_whitespace().collect();
        let (name, is_clean) = match words.as_slice() {
            ["clean", name] => (*name, true),
            [name] => (*name, false),
            _ => ("", false),
        };
        if !known.contains(&name) {
            let known = known.join(", ");
            return Err(format!(
                "`{{{{{action}}}}}` is not understood; there are {known}, each alone or after `clean`"
            ));
        }
        let name = name.to_owned();
        parts.push(Part::Field { name, is_clean });
        rest = tail;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn filled<'v>(parts: &[Part], value: impl Fn(&str) -> &'v str) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field {
                name,
                is_clean: true,
            } => out.push_str(&clean(value(name))),
            Part::Field { name, .. } => out.push_str(value(name)),
        }
    }
    out
}

/// A word without dots and colons.
fn clean(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    text.replace(['.', ':'], "_").to_lowercase()
}

impl Resolver<'_> {
    /// What is pushed, if anything is.
    pub(super) fn pushed(&mut self) -> Option<PushedMetrics> {
        let mut receivers: Vec<MetricsReceiver> = Vec::new();
        for target in self.settings.list("metrics.target") {
            let (form, key) = match target.as_str() {
                "prometheus" => continue,
                "statsd_raw" => (MetricsForm::Plain, Some("metrics.statsd.addr")),
                "dogstatsd" => (MetricsForm::Tags, Some("metrics.dogstatsd.addr")),
                "graphite" => (MetricsForm::Graphite, Some("metrics.graphite.addr")),
                "stdout" | "flat" => (MetricsForm::Plain, None),
                "label" => (MetricsForm::Tags, None),
                other => {
                    let message = match other {
                        "statsd" => "is no more: write `statsd_raw`",
                        "circonus" => {
                            "is not pushed to: write `statsd_raw`, which its agents take, or `prometheus`"
                        }
                        _ => {
                            "is none; there are `prometheus`, `statsd_raw`, `dogstatsd`, `graphite`, `stdout` \
                             and `label`"
                        }
                    };
                    let message = format!("`metrics.target` has `{other}`, which {message}");
                    self.wrong("metrics.target", message);
                    continue;
                }
            };
            let address = key.and_then(|key| self.receiver(&target, key));
            if key.is_some() && address.is_none() {
                continue;
            }
            let receiver = MetricsReceiver { form, address };
            if !receivers.contains(&receiver) {
                receivers.push(receiver);
            }
        }
        let names = self.names();
        let prefix = self.prefix(self.settings.text("metrics.prefix"));
        let interval = self.interval();
        (!receivers.is_empty()).then_some(PushedMetrics {
            prefix,
            names,
            interval,
            receivers,
        })
    }

    /// The place of a receiver.
    fn receiver(&mut self, target: &str, key: &str) -> Option<String> {
        let text = self.settings.text(key).trim().to_owned();
        let address = match text.strip_prefix(':') {
            Some(port) => format!("localhost:{port}"),
            None => text.clone(),
        };
        if text.is_empty() {
            let message = format!("`metrics.target` has `{target}`, and `{key}` names nobody");
            self.wrong("metrics.target", message);
            None
        } else if super::super::telemetry::is_place(&address) {
            Some(address)
        } else {
            let message = format!(
                "`{key}` is `{text}`; it must be a host and a port such as `127.0.0.1:8125`"
            );
            self.wrong(key, message);
            None
        }
    }

    fn names(&mut self) -> RouteNames {
        let fields = [
            ".Service",
            ".Host",
            ".Path",
            ".TargetURL.Host",
            ".TargetURL",
        ];
        let parts = parse(self.settings.text("metrics.names"), &fields);
        RouteNames(parts.unwrap_or_else(|reason| {
            self.wrong("metrics.names", format!("`metrics.names`: {reason}"));
            Vec::new()
        }))
    }

    /// A beginning of names with its fields filled in.
    fn prefix(&mut self, text: &str) -> String {
        let text = if text == "default" { PREFIX } else { text };
        match parse(text, &[".Hostname", ".Exec"]) {
            Ok(parts) => {
                let host = super::super::resolve::host_name();
                filled(&parts, |field| match field {
                    ".Hostname" => host.as_str(),
                    _ => PROGRAM,
                })
            }
            Err(reason) => {
                self.wrong("metrics.prefix", format!("`metrics.prefix`: {reason}"));
                String::new()
            }
        }
    }

    fn interval(&mut self) -> Duration {
        let key = "metrics.interval";
        let text = self.settings.text(key);
        // What is no duration was told before.
        let interval = names::duration(key, text, &mut Vec::new());
        if !(INTERVAL.0..=INTERVAL.1).contains(&interval) {
            let message = format!("`{key}` is `{text}`; it must be from `100ms` to `1h`");
            self.wrong(key, message);
        }
        interval
    }

    /// Begins the names of metrics for Prometheus: the program, unless it is set.
    pub(super) fn metrics_prefix(&mut self) -> String {
        let written = self.settings.written("metrics.prefix");
        let written = written.filter(|text| !matches!(*text, "default" | PREFIX));
        let prefix = match written.map(str::to_owned) {
            // A template that is wrong was told before.
            Some(text) => match parse(&text, &[".Hostname", ".Exec"]) {
                Ok(_) => self.prefix(&text),
                Err(_) => String::new(),
            },
            None => PROGRAM.to_owned(),
        };
        let subsystem = self.settings.text("metrics.prometheus.subsystem");
        let parts = [prefix.as_str(), subsystem].into_iter();
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let text = parts.join("_").to_ascii_lowercase();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let plain = text.chars().map(|c| if is_plain(c) { c } else { '_' });
        let plain: String = plain.collect();
        match plain.chars().next() {
            Some(first) if first.is_ascii_digit() => format!("_{plain}"),
            _ => plain,
        }
    }

    /// Times that answers are sorted by for Prometheus.
    pub(super) fn metrics_bounds(&mut self) -> Vec<Duration> {
        let key = "metrics.prometheus.buckets";
        let list = self.settings.list(key);
        let seconds: Vec<f64> = list.iter().filter_map(|item| item.parse().ok()).collect();
        let is_fine = seconds.len() == list.len()
            && (1..=BUCKETS_MAX).contains(&seconds.len())
            && seconds.iter().all(|own| *own > 0.0 && *own <= BUCKET_MAX)
            && seconds.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_fine {
            let text = self.settings.text(key);
            let message = format!(
                "`{key}` is `{text}`; at most {BUCKETS_MAX} rising numbers of seconds up to a day are expected"
            );
            self.wrong(key, message);
            return Vec::new();
        }
        seconds.into_iter().map(Duration::from_secs_f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let names = |text: &str| {
            let fields = [
                ".Service",
                ".Host",
                ".Path",
                ".TargetURL.Host",
                ".TargetURL",
            ];
            parse(text, &fields).map(RouteNames)
        };
        let usual = "{{clean .Service}}.{{clean .Host}}.{{clean .Path}}.{{clean .TargetURL.Host}}";
        for (text, own, expected) in [
            (
                usual,
                ["Web", "a.io", "/x.y", "http://10.0.0.1:80/b?c"],
                "web.a_io./x_y.10_0_0_1_80",
            ),
            (usual, ["web", "", "", "tcp://h:1"], "web._._.h_1"),
            (
                "x-{{.Service}}-{{ .TargetURL }}",
                ["Web", "", "/", "http://h/"],
                "x-Web-http://h/",
            ),
            ("plain", ["web", "", "/", "http://h/"], "plain"),
        ] {
            let [service, host, path, target] = own;
            let filled = names(text).unwrap().filled(service, host, path, target);
            assert_eq!(filled, expected);
        }
        for (text, part) in [
            ("{{clean .Service", "not closed"),
            ("{{.Port}}", "`{{.Port}}` is not understood"),
            ("{{upper .Host}}", "not understood"),
            ("{{}}", "not understood"),
        ] {
            let refused = names(text).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
