//! A table as the route admin API shows it.

use serde::Serialize;

use super::table::{Route, Table, Target};

/// One target of one route, with the field names of the compatible API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteRow {
    /// The service of the target.
    pub service: String,
    /// The host key; empty for any host.
    pub host: String,
    /// The path prefix.
    pub path: String,
    /// Host and path, as in the route language.
    pub src: String,
    /// The URL of the target.
    pub dst: String,
    /// Options as `key=value` words.
    pub opts: String,
    /// Always `route add`.
    pub cmd: &'static str,
    /// Labels of the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The part of the route's requests, 0 to 1.
    pub weight: f64,
    /// Kept for compatibility, always 0.
    pub rate1: u64,
    /// Kept for compatibility, always 0.
    pub pct99: u64,
}

impl Table {
    /// All targets, hosts ascending, then paths in the order in which they are tried.
    pub fn rows(&self) -> Vec<RouteRow> {
        let row = |route: &Route, target: &Target| RouteRow {
            service: target.service().to_owned(),
            host: route.host().to_owned(),
            path: route.path().to_owned(),
            src: format!("{}{}", route.host(), route.path()),
            dst: target.destination().url.clone(),
            opts: options_text(target),
            cmd: "route add",
            tags: target.tags().to_vec(),
            weight: target.share(),
            rate1: 0,
            pct99: 0,
        };
        let mut rows: Vec<RouteRow> = self
            .routes()
            .flat_map(|route| route.targets().iter().map(move |target| row(route, target)))
            .collect();
        rows.sort_by(|one, two| one.host.cmp(&two.host));
        rows
    }

    /// The table in the route language, without the targets that get no requests.
    pub fn text(&self) -> String {
        self.routes()
            .flat_map(|route| route.targets().iter().map(move |target| (route, target)))
            .filter(|(_, target)| target.share() > 0.0)
            .map(|(route, target)| line(route, target))
            .collect()
    }
}

fn line(route: &Route, target: &Target) -> String {
    let (service, url) = (target.service(), &target.destination().url);
    let mut line = format!("route add {service} {}{} {url}", route.host(), route.path());
    if let Some(weight) = target.fixed_weight() {
        line.push_str(&format!(" weight {weight:.4}"));
    }
    if !target.tags().is_empty() {
        line.push_str(&format!(" tags \"{}\"", target.tags().join(",")));
    }
    let options = options_text(target);
    if !options.is_empty() {
        line.push_str(&format!(" opts \"{options}\""));
    }
    line.push('\n');
    line
}

fn options_text(target: &Target) -> String {
    let words: Vec<String> = target
        .options()
        .written
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    words.join(" ")
}
