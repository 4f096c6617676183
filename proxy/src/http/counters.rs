//! What is counted of a proxy as a whole, beside the counts of its targets.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::route::Calls;

/// Redirects have statuses from this one, and so many.
const REDIRECTS: (u16, usize) = (300, 100);

/// What kind of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// By the port that they come to.
    Tcp,
    /// By the name that they begin with.
    Sni,
    /// Of a listener for gRPC.
    Grpc,
}

/// Counts of connections of a kind.
#[derive(Debug, Default)]
struct Wires {
    came: AtomicU64,
    failed: AtomicU64,
    unrouted: AtomicU64,
}

/// A count since the start, or a level, under the name that is published elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedFigure {
    /// Words with dots between.
    pub name: &'static str,
    /// The status that it is of.
    pub status: Option<u16>,
    /// How much.
    pub value: u64,
    /// Whether it is a level.
    pub is_level: bool,
}

/// Counts of a proxy.
#[derive(Debug)]
pub(super) struct Counters {
    /// Requests and connections without a route.
    pub(super) unrouted: AtomicU64,
    tcp: Wires,
    sni: Wires,
    grpc: Wires,
    /// By status.
    redirects: [AtomicU64; REDIRECTS.1],
    /// WebSockets that are open.
    pub(super) sockets: AtomicU64,
    /// Calls of gRPC that have ended.
    pub(super) calls: Calls,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            unrouted: AtomicU64::new(0),
            tcp: Wires::default(),
            sni: Wires::default(),
            grpc: Wires::default(),
            redirects: [const { AtomicU64::new(0) }; REDIRECTS.1],
            sockets: AtomicU64::new(0),
            calls: Calls::default(),
        }
    }
}

impl Counters {
    fn wires(&self, wire: Wire) -> &Wires {
        match wire {
            Wire::Tcp => &self.tcp,
            Wire::Sni => &self.sni,
            Wire::Grpc => &self.grpc,
        }
    }

    /// Counts a connection.
    pub(super) fn came(&self, wire: Wire) {
        self.wires(wire).came.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that came to nothing, or a target that it could not be passed on to.
    pub(super) fn failed(&self, wire: Wire) {
        self.wires(wire).failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one without a route; for gRPC, a call.
    pub(super) fn unrouted(&self, wire: Wire) {
        self.wires(wire).unrouted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that leads elsewhere.
    pub(super) fn redirected(&self, status: u16) {
        let at = status.checked_sub(REDIRECTS.0).map(usize::from);
        if let Some(count) = at.and_then(|at| self.redirects.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of them.
    pub(super) fn published(&self) -> Vec<PublishedFigure> {
        let count = |name, count: &AtomicU64| PublishedFigure {
            name,
            status: None,
            value: count.load(Ordering::Relaxed),
            is_level: false,
        };
        let mut all = vec![
            count("notfound", &self.unrouted),
            count("tcp.conn", &self.tcp.came),
            count("tcp.connfail", &self.tcp.failed),
            count("tcp.noroute", &self.tcp.unrouted),
            count("tcp_sni.conn", &self.sni.came),
            count("tcp_sni.connfail", &self.sni.failed),
            count("tcp_sni.noroute", &self.sni.unrouted),
            count("grpc.conn", &self.grpc.came),
            count("grpc.noroute", &self.grpc.unrouted),
            PublishedFigure {
                is_level: true,
                ..count("ws.conn", &self.sockets)
            },
        ];
        for (status, redirects) in (REDIRECTS.0..).zip(&self.redirects) {
            let figure = PublishedFigure {
                status: Some(status),
                ..count("http.redirect.count", redirects)
            };
            all.extend(Some(figure).filter(|figure| figure.value > 0));
        }
        all
    }
}

/// The figures as Prometheus reads them, each after `prefix`.
pub(super) fn text(prefix: &str, figures: &[PublishedFigure]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut last = "";
    for figure in figures {
        let name = format!("{prefix}_{}", figure.name.replace('.', "_"));
        let kind = if figure.is_level { "gauge" } else { "counter" };
        let label = figure.status.map(|status| format!("{{code=\"{status}\"}}"));
        let label = label.unwrap_or_default();
        // Writing to a text cannot fail.
        if std::mem::replace(&mut last, figure.name) != figure.name {
            writeln!(out, "# TYPE {name} {kind}").ok();
        }
        writeln!(out, "{name}{label} {}", figure.value).ok();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Counters, Wire, text};
    use std::sync::atomic::Ordering;

    #[test]
    fn what_is_counted_is_told_by_its_published_name() {
        let counters = Counters::default();
        counters.came(Wire::Tcp);
        counters.came(Wire::Tcp);
        counters.failed(Wire::Sni);
        counters.unrouted(Wire::Grpc);
        for status in [200, 299, 301, 399, 301, 400, u16::MAX] {
            counters.redirected(status);
        }
        counters.sockets.store(3, Ordering::Relaxed);
        let text = text("edge", &counters.published());
        for line in [
            "# TYPE edge_tcp_conn counter\nedge_tcp_conn 2\n",
            "edge_tcp_sni_connfail 1\n",
            "edge_tcp_sni_conn 0\n",
            "edge_grpc_noroute 1\n",
            "# TYPE edge_ws_conn gauge\nedge_ws_conn 3\n",
            "# TYPE edge_http_redirect_count counter\nedge_http_redirect_count{code=\"301\"} 2\n\
             edge_http_redirect_count{code=\"399\"} 1\n",
            "edge_notfound 0\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(text.matches("redirect_count{").count(), 2);
    }
}
