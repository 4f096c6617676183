//! Servers that a catalog elsewhere shows, for an agent that knows none of them.
//!
//! They are asked for as long as this agent belongs to no cluster, and again when it has lost all
//! servers that it knew.

use super::{
    feed::Pauses,
    other::{Error, Other, escaped},
};
use config::External as Settings;
use mesh::{elsewhere::FoundInstance, model::Status, view::Instance};
use rpc::servers::Servers;
use std::{future::Future, net::IpAddr, time::Duration};
use tokio::{sync::watch, time::timeout};

/// Metadata of a server's registration that says its region.
pub(super) const REGION_META: &str = "trivet-region";
/// The tag of the instances of servers that are asked.
const TAG: &str = "rpc";
/// First and longest pause between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long servers that are known may be silent before others are asked for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most servers that are taken from an answer.
const SERVERS_MAX: usize = 64;

/// Which servers are looked for.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Wanted {
    /// The service that they are.
    pub(in crate::agent) service: String,
    /// Their region.
    pub(in crate::agent) region: String,
    /// Where the server of this agent is; empty if there is none.
    pub(in crate::agent) own: String,
    /// Whether those on other machines may be asked.
    pub(in crate::agent) may_be_far: bool,
}

/// Who takes what is found.
#[derive(Clone, Debug)]
pub(in crate::agent) enum Seeker {
    /// A server, which asks the others who is there.
    Server(server::Handle),
    /// An agent without one, which goes to any of them.
    Client(Servers),
}

impl Seeker {
    fn knows_none(&self) -> bool {
        match self {
            Self::Server(server) => server.voters().is_empty(),
            Self::Client(servers) => servers.count() == 0,
        }
    }

    fn take(&self, found: &[String]) {
        match self {
            Self::Server(server) => server.find(found.to_vec()),
            Self::Client(servers) => servers.find(found),
        }
    }

    /// The agent belongs to a cluster, whose servers know each other.
    fn is_served(&self) {
        if let Self::Server(server) = self {
            server.find(Vec::new());
        }
    }
}

/// What an answer says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Servers to ask, host and port each.
    servers: Vec<String>,
    /// One that may not be asked, as it is on another machine.
    far: Option<String>,
}

/// The servers among instances: those that pass all checks, or all of them if none does. An
/// instance that does not say its region is not known to be of another.
fn found(instances: &[Instance], wanted: &Wanted) -> Found {
    let of_region = instances.iter().filter(|instance| {
        let region = instance.service.meta.get(REGION_META);
        let has_place = !instance.address().is_empty() && instance.service.port > 0;
        has_place && region.is_none_or(|region| *region == wanted.region)
    });
    let places: Vec<(&Instance, String)> = of_region
        .map(|instance| (instance, place(instance)))
        .filter(|(_, place)| *place != wanted.own)
        .collect();
    let (near, far): (Vec<_>, Vec<_>) = places
        .into_iter()
        .partition(|(instance, _)| wanted.may_be_far || is_near(instance.address()));
    let passes = |(instance, _): &&(&Instance, String)| instance.status == Status::Passing;
    let has_passing = near.iter().any(|near| passes(&near));
    let mut servers = Vec::new();
    for (_, place) in near.iter().filter(|near| !has_passing || passes(near)) {
        if servers.len() < SERVERS_MAX && !servers.contains(place) {
            servers.push(place.clone());
        }
    }
    Found {
        servers,
        far: far.into_iter().next().map(|(_, place)| place),
    }
}

fn place(instance: &Instance) -> String {
    let (host, port) = (instance.address(), instance.service.port);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whether an address is on this machine for sure.
fn is_near(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Asks for servers.
#[derive(Debug)]
pub(in crate::agent) struct Search {
    settings: Settings,
    wanted: Wanted,
    /// What was said last of what was found.
    said: Option<Found>,
}

impl Search {
    /// Asks there for such servers.
    pub(in crate::agent) fn new(settings: Settings, wanted: Wanted) -> Self {
        Self {
            settings,
            wanted,
            said: None,
        }
    }

    /// Looks for servers whenever none is `connected`, until `shutdown`.
    pub(in crate::agent) async fn run(
        self,
        seeker: Seeker,
        connected: watch::Receiver<bool>,
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::select! {
            () = self.seek(seeker, connected) => {}
            () = shutdown => {}
        }
    }

    async fn seek(mut self, seeker: Seeker, mut connected: watch::Receiver<bool>) {
        let Some(other) = Other::new(&self.settings) else {
            return;
        };
        let mut pauses = Pauses::meaning("the external catalog cannot be asked for servers");
        let mut pause = PAUSES.0;
        loop {
            let patience = if seeker.knows_none() {
                Duration::ZERO
            } else {
                PATIENCE
            };
            if is_served(&mut connected, patience).await {
                seeker.is_served();
                self.said = None;
                pause = PAUSES.0;
                if connected.wait_for(|is_served| !is_served).await.is_err() {
                    return;
                }
                continue;
            }
            let wait = match self.look(&other).await {
                Ok(servers) => {
                    pauses.is_well(&other);
                    if !servers.is_empty() && !*connected.borrow() {
                        seeker.take(&servers);
                    }
                    let wait = pause;
                    pause = (pause * 2).min(PAUSES.1);
                    wait
                }
                Err(error) => pauses.failed(&other, &error),
            };
            is_served(&mut connected, wait).await;
        }
    }

    async fn look(&mut self, other: &Other) -> Result<Vec<String>, Error> {
        let service = escaped(&self.wanted.service);
        let path = format!("/v1/health/service/{service}?tag={TAG}");
        let instances: Vec<FoundInstance> = other.list(&path).await?;
        let instances: Vec<Instance> = instances.into_iter().map(Instance::from).collect();
        let found = found(&instances, &self.wanted);
        if self.said.as_ref() != Some(&found) {
            self.say(other, &found);
        }
        let servers = found.servers.clone();
        self.said = Some(found);
        Ok(servers)
    }

    fn say(&self, other: &Other, found: &Found) {
        let (address, service) = (other.address(), &self.wanted.service);
        if let Some(server) = &found.far {
            tracing::warn!(
                address,
                server,
                "a server on another machine was found; connections between machines need \
                 `tls {{ rpc = true }}` with certificates, or `tls {{ rpc = false }}`"
            );
        }
        if found.servers.is_empty() {
            tracing::info!(
                address,
                service,
                "the external catalog shows no other servers yet"
            );
        } else {
            let servers = found.servers.join(", ");
            tracing::info!(address, service, servers, "servers were found");
        }
    }
}

/// Whether a server has this agent within this time.
async fn is_served(connected: &mut watch::Receiver<bool>, within: Duration) -> bool {
    let served = timeout(within, connected.wait_for(|is_served| *is_served)).await;
    served.is_ok_and(|served| served.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instance(address: &str, status: &str, region: &str) -> Instance {
        let (host, port) = address.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        let meta = match region {
            "" => json!(null),
            region => json!({REGION_META: region}),
        };
        let found: FoundInstance = serde_json::from_value(json!({
            "Node": {"Node": "elsewhere", "Address": "10.9.9.9"},
            "Service": {"ID": address, "Service": "nomad", "Address": host, "Port": port, "Tags": ["rpc"], "Meta": meta},
            "Checks": [
                {"CheckID": "serfHealth", "Status": "passing"},
                {"CheckID": "c", "Status": status, "ServiceID": address, "ServiceName": "nomad"},
            ],
        }))
        .unwrap();
        found.into()
    }

    fn wanted() -> Wanted {
        Wanted {
            service: "nomad".into(),
            region: "global".into(),
            own: "10.0.0.1:4647".into(),
            may_be_far: true,
        }
    }

    #[test]
    fn servers_that_pass_are_asked_and_all_when_none_does() {
        for (instances, expected) in [
            (&[][..], &[][..]),
            // Its own instance says nothing of the others.
            (&[("10.0.0.1:4647", "passing", "global")], &[]),
            (
                &[
                    ("10.0.0.1:4647", "passing", "global"),
                    ("10.0.0.2:4647", "critical", "global"),
                    ("10.0.0.3:4647", "warning", ""),
                ],
                &["10.0.0.2:4647", "10.0.0.3:4647"],
            ),
            (
                &[
                    ("10.0.0.2:4647", "critical", "global"),
                    ("10.0.0.3:7000", "passing", "global"),
                    ("::1:4647", "passing", ""),
                ],
                &["10.0.0.3:7000", "[::1]:4647"],
            ),
            // One of another region is none of these, however well it is.
            (
                &[
                    ("10.0.0.2:4647", "passing", "south"),
                    ("10.0.0.3:4647", "critical", "global"),
                ],
                &["10.0.0.3:4647"],
            ),
            // The node says where an instance is that has no address, and twice is once.
            (
                &[
                    (":4647", "passing", "global"),
                    ("10.9.9.9:4647", "passing", "global"),
                    ("10.0.0.2:0", "passing", "global"),
                ],
                &["10.9.9.9:4647"],
            ),
        ] {
            let rows = instances.iter();
            let rows = rows.map(|(address, status, region)| instance(address, status, region));
            let rows: Vec<Instance> = rows.collect();
            assert_eq!(found(&rows, &wanted()).servers, expected, "{instances:?}");
        }
        let many = (1..=100).map(|port| instance(&format!("a:{port}"), "passing", ""));
        let many: Vec<Instance> = many.collect();
        assert_eq!(found(&many, &wanted()).servers.len(), SERVERS_MAX);
    }

    #[test]
    fn without_a_word_of_the_operator_only_this_machine_is_asked() {
        let near = Wanted {
            may_be_far: false,
            ..wanted()
        };
        let rows = [
            instance("10.0.0.2:4647", "passing", "global"),
            instance("127.0.0.5:4647", "critical", "global"),
            instance("localhost:1", "critical", ""),
            instance("server.example:4647", "passing", ""),
        ];
        let expected = Found {
            servers: vec!["127.0.0.5:4647".into(), "localhost:1".into()],
            far: Some("10.0.0.2:4647".into()),
        };
        assert_eq!(found(&rows, &near), expected);
    }
}
