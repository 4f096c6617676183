//! How many connections each listener may hold, so that no one of them takes the descriptors of the
//! others.

/// Connections that the listeners of one agent may hold at the same time; further ones wait in the
/// system's queue, or take the place of an idle one. All are at least 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Jobs API.
    pub http: usize,
    /// Catalog API.
    pub catalog: usize,
    /// Ingress; each may need a connection to a target too.
    pub ingress: usize,
    /// Idle connections to targets that the ingress keeps.
    pub ingress_targets: usize,
    /// Ingress admin.
    pub ingress_admin: usize,
    /// DNS over TCP.
    pub dns: usize,
    /// Streams of agents.
    pub rpc: usize,
}

/// Descriptors that listeners leave to checks, tasks, files and streams: a quarter, within these
/// bounds.
const RESERVE: (u64, u64) = (96, 8192);
/// The least number of connections of any listener, whatever the system allows.
const LEAST: usize = 4;

impl Connections {
    /// Shares what a process may open, `descriptors`, among the listeners: half of it to the
    /// ingress, which needs two and a half for each client.
    pub fn within(descriptors: u64) -> Self {
        let reserve = (descriptors / 4).clamp(RESERVE.0, RESERVE.1);
        let shared = descriptors.saturating_sub(reserve);
        let part = |percent: u64, most: usize| {
            let count = usize::try_from(shared.saturating_mul(percent) / 100).unwrap_or(most);
            count.clamp(LEAST, most)
        };
        let ingress = part(20, 10_000);
        Self {
            http: part(18, 8192),
            // Ten thousand clients that wait for changes, and others beside them.
            catalog: part(12, 16_384),
            ingress,
            ingress_targets: (ingress / 2).clamp(LEAST, 4096),
            ingress_admin: part(4, 1024),
            dns: part(6, 1024),
            rpc: part(10, 8192),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Connections;

    /// What all listeners need together when each holds as many as it may.
    fn needed(connections: Connections) -> u64 {
        let Connections {
            http,
            catalog,
            ingress,
            ingress_targets,
            ingress_admin,
            dns,
            rpc,
        } = connections;
        let all = http + catalog + ingress * 2 + ingress_targets + ingress_admin + dns + rpc;
        all as u64
    }

    #[test]
    fn all_listeners_together_leave_a_reserve() {
        for descriptors in [256, 512, 1024, 4096, 65_536, 524_288, 1 << 20] {
            let connections = Connections::within(descriptors);
            let left = descriptors - needed(connections);
            assert!(
                left >= 96,
                "{descriptors}: {left} are left, {connections:?}"
            );
        }
    }

    #[test]
    fn few_descriptors_still_let_every_listener_speak() {
        for descriptors in [0, 16, 64] {
            let connections = Connections::within(descriptors);
            assert_eq!(connections.dns, 4, "{descriptors}");
            assert_eq!(connections.ingress, 4, "{descriptors}");
        }
        assert!(Connections::within(u64::MAX).ingress == 10_000);
    }
}
