//! Counts of the ingress for those who are pushed them, under the names of the one that it stands
//! in for.

use super::super::pushing::{Place, Way, turns};
use config::{MetricsForm, PushedMetrics};
use proxy::route::{PUBLISHED_STATUS, PublishedCalls, PublishedTally, Spent};
use std::{collections::BTreeMap, future::Future, time::Duration};
use sys::clock;
use telemetry::happened::{Happened, Told, datagrams, graphite};

/// Pushes until `stopped`.
pub(super) async fn run(
    proxy: proxy::Handle,
    settings: PushedMetrics,
    stopped: impl Future<Output = ()> + Send,
) {
    let receivers = settings.receivers.iter();
    let mut ways: Vec<(MetricsForm, Way)> = receivers
        .map(|receiver| {
            let place = match (receiver.form, &receiver.address) {
                (MetricsForm::Graphite, Some(address)) => Place::Tcp(address.clone()),
                (_, Some(address)) => Place::Udp(address.clone()),
                (_, None) => Place::Output,
            };
            (receiver.form, Way::new(place))
        })
        .collect();
    let mut looks = Looks::default();
    let pushing = async {
        let mut turns = turns(settings.interval);
        loop {
            turns.tick().await;
            let figures = looks.look(&proxy);
            for (form, way) in &mut ways {
                let told: Vec<Told> = figures
                    .iter()
                    .map(|figure| figure.told(&settings, *form))
                    .collect();
                let texts = match form {
                    MetricsForm::Plain => datagrams(&told, false),
                    MetricsForm::Tags => datagrams(&told, true),
                    MetricsForm::Graphite => {
                        let seconds = clock::now().as_nanos().div_euclid(1_000_000_000);
                        vec![graphite(&told, seconds)]
                    }
                };
                way.push(&texts).await;
            }
        }
    };
    tokio::select! {
        () = pushing => {}
        () = stopped => {}
    }
}

/// Looks at the counts again and again.
#[derive(Debug, Default)]
struct Looks {
    targets: PublishedTally,
    /// The sums of the last look, by name and status.
    sums: BTreeMap<(&'static str, Option<u16>), u64>,
    /// Calls of gRPC until then.
    calls: PublishedCalls,
}

/// A figure with its published name and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figure {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    happened: Happened,
}

impl Looks {
    /// What happened since the last look.
    fn look(&mut self, proxy: &proxy::Handle) -> Vec<Figure> {
        let mut figures = Vec::new();
        let mut services: BTreeMap<String, BTreeMap<Duration, u64>> = BTreeMap::new();
        let mut statuses: BTreeMap<(u16, String), Spent> = BTreeMap::new();
        for count in self.targets.look(&proxy.table()) {
            let labels = vec![
                ("service", count.service.clone()),
                ("host", count.host),
                ("path", count.path),
                ("target", count.target),
            ];
            for (name, bytes) in [("route.rx", count.received), ("route.tx", count.sent)] {
                if bytes > 0 {
                    let (labels, happened) = (labels.clone(), Happened::Added(bytes));
                    figures.push(Figure {
                        name,
                        labels,
                        happened,
                    });
                }
            }
            if count.times.is_empty() {
                continue;
            }
            let service = services.entry(count.service.clone()).or_default();
            for (time, answers) in &count.times {
                *service.entry(*time).or_default() += answers;
            }
            for (status, spent) in count.statuses {
                let key = (status, count.service.clone());
                let own = statuses.entry(key).or_default();
                own.count += spent.count;
                own.total_us += spent.total_us;
            }
            figures.push(Figure {
                name: "route",
                labels,
                happened: Happened::Took(count.times),
            });
        }
        figures.extend(services.into_iter().map(|(service, times)| Figure {
            name: "requests",
            labels: vec![("service", service)],
            happened: Happened::Took(times),
        }));
        figures.extend(statuses.into_iter().map(|((status, service), spent)| {
            let total = Duration::from_micros(spent.total_us);
            Figure {
                name: "http.status",
                labels: vec![("code", status.to_string()), ("service", service)],
                happened: Happened::Spent(spent.count, total),
            }
        }));
        let calls = proxy.published_calls();
        figures.extend(called(calls.since(&self.calls)));
        self.calls = calls;
        for figure in proxy.published_figures() {
            let happened = if figure.is_level {
                Happened::Level(figure.value)
            } else {
                let key = (figure.name, figure.status);
                let before = self.sums.insert(key, figure.value).unwrap_or(0);
                Happened::Added(figure.value.saturating_sub(before))
            };
            let status = figure.status.map(|status| ("code", status.to_string()));
            figures.push(Figure {
                name: figure.name,
                labels: status.into_iter().collect(),
                happened,
            });
        }
        figures
    }
}

/// What calls of gRPC are told by.
fn called(calls: PublishedCalls) -> Vec<Figure> {
    let mut figures = Vec::new();
    if !calls.times.is_empty() {
        figures.push(Figure {
            name: "grpc.requests",
            labels: Vec::new(),
            happened: Happened::Took(calls.times),
        });
    }
    for (status, spent) in calls.statuses {
        let total = Duration::from_micros(spent.total_us);
        figures.extend(PUBLISHED_STATUS.map(|name| Figure {
            name,
            labels: vec![("code", status.to_owned())],
            happened: Happened::Spent(spent.count, total),
        }));
    }
    figures
}

impl Figure {
    /// By the name that receivers of a form know it by. Nothing stands between the prefix and the
    /// name, as there.
    fn told(&self, settings: &PushedMetrics, form: MetricsForm) -> Told {
        let prefix = &settings.prefix;
        if form == MetricsForm::Tags {
            let tags = self.labels.iter();
            return Told {
                name: format!("{prefix}{}", self.name),
                tags: tags
                    .map(|(key, value)| (unreserved(key), value.clone()))
                    .collect(),
                happened: self.happened.clone(),
            };
        }
        let way = self.name.strip_prefix("route");
        let name = match (way, self.labels.as_slice()) {
            (Some(way), [(_, service), (_, host), (_, path), (_, target)]) => {
                let name = settings.names.filled(service, host, path, target);
                format!("{prefix}{name}{way}")
            }
            (_, labels) => {
                let labels = labels.iter().map(|(key, value)| format!(".{key}.{value}"));
                format!("{prefix}{}{}", self.name, labels.collect::<String>())
            }
        };
        Told {
            name,
            tags: Vec::new(),
            happened: self.happened.clone(),
        }
    }
}

/// A key of a tag, apart from those that receivers give a meaning of their own.
fn unreserved(key: &'static str) -> &'static str {
    match key {
        "host" => "fabio-host",
        "service" => "fabio-service",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PushedMetrics {
        let flags = [
            "-registry.backend=static",
            "-metrics.target=statsd_raw,dogstatsd",
            "-metrics.statsd.addr=h:1",
            "-metrics.dogstatsd.addr=h:2",
            "-metrics.prefix=edge.",
        ];
        let flags = flags.map(str::to_owned);
        let standalone = config::Standalone::load(&flags, &[], None).unwrap();
        standalone.pushed.unwrap()
    }

    #[test]
    fn names_are_those_that_are_published() {
        let settings = settings();
        let labels = |all: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            let all = all.iter();
            all.map(|(key, value)| (*key, (*value).to_owned()))
                .collect()
        };
        let target = [
            ("service", "web"),
            ("host", "Shop.io"),
            ("path", "/a"),
            ("target", "http://10.0.0.1:80/"),
        ];
        for (name, own, plain, tags) in [
            ("notfound", &[][..], "edge.notfound", ""),
            (
                "requests",
                &[("service", "web")],
                "edge.requests.service.web",
                "fabio-service=web",
            ),
            (
                "http.status",
                &[("code", "200"), ("service", "web")],
                "edge.http.status.code.200.service.web",
                "code=200 fabio-service=web",
            ),
            (
                "grpc.status",
                &[("code", "NotFound")],
                "edge.grpc.status.code.NotFound",
                "code=NotFound",
            ),
            (
                "http.redirect.count",
                &[("code", "301")],
                "edge.http.redirect.count.code.301",
                "code=301",
            ),
            (
                "route",
                &target,
                "edge.web.shop_io./a.10_0_0_1_80",
                "fabio-service=web fabio-host=Shop.io path=/a target=http://10.0.0.1:80/",
            ),
            (
                "route.rx",
                &target,
                "edge.web.shop_io./a.10_0_0_1_80.rx",
                "fabio-service=web fabio-host=Shop.io path=/a target=http://10.0.0.1:80/",
            ),
        ] {
            let figure = Figure {
                name,
                labels: labels(own),
                happened: Happened::Level(1),
            };
            for form in [MetricsForm::Plain, MetricsForm::Graphite] {
                let told = figure.told(&settings, form);
                assert_eq!(
                    (told.name.as_str(), told.tags.len()),
                    (plain, 0),
                    "{form:?}"
                );
            }
            let told = figure.told(&settings, MetricsForm::Tags);
            let own: Vec<String> = told
                .tags
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            assert_eq!(told.name, format!("edge.{name}"));
            assert_eq!(own.join(" "), tags);
        }
    }
}
