//! This agent as services of a catalog elsewhere, where others look for it: an instance for each
//! place of its server, and one for its client.
//!
//! The agent there looks after them with checks of its own. It may forget them, so what it has is
//! compared with what it should have every few seconds. They are taken out when this agent ends.

use super::{
    feed::Pauses,
    other::{Error, Other, escaped},
    servers::REGION_META,
};
use config::{Discovery, External as Settings};
use futures_util::future::join_all;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Between two comparisons.
const ROUND: Duration = Duration::from_secs(10);
/// How often an instance is checked there, and how long that may take.
const CHECKED: (&str, &str) = ("10s", "3s");
/// How long it may take to take everything out at the end; less than the parts of an agent have.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Where something of this agent is.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct Place {
    /// For others.
    pub(in crate::agent) advertised: SocketAddr,
    /// Where it listens; unspecified for everywhere.
    pub(in crate::agent) bound: SocketAddr,
}

/// What is told of this agent.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Itself {
    /// Its name.
    pub(in crate::agent) name: String,
    /// Its region.
    pub(in crate::agent) region: String,
    /// Its jobs API.
    pub(in crate::agent) http: Option<Place>,
    /// RPC of its server.
    pub(in crate::agent) rpc: Option<Place>,
    /// Gossip of its server.
    pub(in crate::agent) serf: Option<Place>,
    /// Whether it runs tasks.
    pub(in crate::agent) has_client: bool,
}

/// Registers this agent.
#[derive(Debug)]
pub(in crate::agent) struct Advertise {
    settings: Settings,
    rows: Vec<Row>,
}

/// An instance as it is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    id: String,
    service: String,
    tags: Vec<String>,
    region: String,
    address: SocketAddr,
    check: String,
    probe: (&'static str, String),
}

/// An instance as the agent there lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    service: String,
    tags: Option<Vec<String>>,
    address: String,
    port: u16,
}

/// A check as the agent there lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListedCheck {
    #[serde(rename = "ServiceID")]
    service_id: String,
}

impl Place {
    /// Where the agent there looks after it.
    fn checked(self, discovery: &Discovery) -> SocketAddr {
        if discovery.checks_advertised || self.bound.ip().is_unspecified() {
            self.advertised
        } else {
            self.bound
        }
    }
}

/// The instances of an agent.
fn rows(discovery: &Discovery, agent: &Itself) -> Vec<Row> {
    let row = |(role, service): (&str, &String), tag: &str, place: Place, check, probe| {
        let address = place.advertised;
        let (name, ip, port) = (&agent.name, address.ip(), address.port());
        Row {
            id: format!("_nomad-{role}-{name}-{tag}-{ip}-{port}"),
            service: service.clone(),
            tags: std::iter::once(tag.to_owned())
                .chain(discovery.tags.iter().cloned())
                .collect(),
            region: agent.region.clone(),
            address,
            check,
            probe,
        }
    };
    let http = |role: &str, title: &str, service, place: Place| {
        let checked = place.checked(discovery);
        let url = format!("http://{checked}/v1/agent/health?type={role}");
        let check = format!("Nomad {title} HTTP Check");
        row((role, service), "http", place, check, ("HTTP", url))
    };
    let server = ("server", &discovery.servers);
    let mut rows = Vec::new();
    if let Some(rpc) = agent.rpc {
        rows.extend(
            agent
                .http
                .map(|place| http(server.0, "Server", server.1, place)),
        );
        let probe = ("TCP", rpc.checked(discovery).to_string());
        rows.push(row(
            server,
            "rpc",
            rpc,
            "Nomad Server RPC Check".to_owned(),
            probe,
        ));
        // Gossip is heard as datagrams only.
        rows.extend(agent.serf.map(|serf| {
            let probe = ("UDP", serf.checked(discovery).to_string());
            let check = "Nomad Server Serf Check".to_owned();
            row(server, "serf", serf, check, probe)
        }));
    }
    let client = agent.http.filter(|_| agent.has_client);
    rows.extend(client.map(|place| http("client", "Client", &discovery.clients, place)));
    rows
}

/// Those of `rows` that the agent there does not show as they are to be.
fn missing<'a>(
    rows: &'a [Row],
    services: &BTreeMap<String, Listed>,
    checks: &BTreeMap<String, ListedCheck>,
) -> Vec<&'a Row> {
    let is_shown = |row: &&Row| {
        let checked = checks.values().any(|check| check.service_id == row.id);
        let shown = services.get(&row.id).is_some_and(|listed| {
            listed.service == row.service
                && listed.tags.as_deref().unwrap_or_default() == row.tags
                && listed.address == row.address.ip().to_string()
                && listed.port == row.address.port()
        });
        checked && shown
    };
    rows.iter().filter(|row| !is_shown(row)).collect()
}

impl Row {
    fn body(&self) -> Value {
        let (kind, target) = &self.probe;
        json!({
            "ID": self.id,
            "Name": self.service,
            "Address": self.address.ip(),
            "Port": self.address.port(),
            "Tags": self.tags,
            "Meta": { "external-source": "nomad", REGION_META: self.region },
            "Checks": [{
                "CheckID": format!("{}-check", self.id),
                "Name": self.check,
                "Interval": CHECKED.0,
                "Timeout": CHECKED.1,
                *kind: target,
            }],
        })
    }
}

impl Advertise {
    /// Tells of `agent` there.
    pub(in crate::agent) fn new(settings: Settings, discovery: &Discovery, agent: &Itself) -> Self {
        Self {
            settings,
            rows: rows(discovery, agent),
        }
    }

    /// Keeps the instances there until `leaving`; then it takes them out.
    pub(in crate::agent) async fn run(self, leaving: impl Future<Output = ()>) {
        let Some(other) = Other::new(&self.settings) else {
            return;
        };
        let mut there = BTreeSet::new();
        let mut pauses = Pauses::meaning("this agent is not registered in the external catalog");
        tokio::pin!(leaving);
        loop {
            let round = async {
                let pause = match self.round(&other, &mut there).await {
                    Ok(()) => {
                        pauses.is_well(&other);
                        ROUND
                    }
                    Err(error) => pauses.failed(&other, &error),
                };
                sleep(pause).await;
            };
            tokio::select! {
                () = round => {}
                () = &mut leaving => break,
            }
        }
        let going = there.iter().map(|id| deregister(&other, id));
        let gone = timeout(LEAVE_TIMEOUT, join_all(going)).await;
        if !gone.is_ok_and(|gone| gone.iter().all(Result::is_ok)) {
            tracing::warn!("the external catalog may still have this agent");
        }
    }

    /// Registers what is missing. `there` are the instances that were registered.
    async fn round(&self, other: &Other, there: &mut BTreeSet<String>) -> Result<(), Error> {
        let services: BTreeMap<String, Listed> = other.list("/v1/agent/services").await?;
        let checks: BTreeMap<String, ListedCheck> = other.list("/v1/agent/checks").await?;
        // What an earlier process of this agent registered is taken out by this one.
        let known = self.rows.iter().map(|row| &row.id);
        there.extend(known.filter(|id| services.contains_key(*id)).cloned());
        let mut refused = Ok(());
        for row in missing(&self.rows, &services, &checks) {
            // Noted before: what is begun may be done although no answer comes.
            there.insert(row.id.clone());
            let path = "/v1/agent/service/register?replace-existing-checks=true";
            let body = row.body().to_string().into_bytes();
            // One that is not taken keeps no other one out.
            if let Err(error) = other.send(Method::PUT, path, Some(body)).await {
                refused = Err(error);
            }
        }
        refused
    }
}

async fn deregister(other: &Other, id: &str) -> Result<(), Error> {
    let path = format!("/v1/agent/service/deregister/{}", escaped(id));
    match other.send(Method::PUT, &path, None).await {
        Ok(_) | Err(Error::Absent { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(advertised: &str, bound: &str) -> Option<Place> {
        Some(Place {
            advertised: advertised.parse().unwrap(),
            bound: bound.parse().unwrap(),
        })
    }

    fn agent() -> Itself {
        Itself {
            name: "one".into(),
            region: "north".into(),
            http: place("10.0.0.1:4646", "127.0.0.1:4646"),
            rpc: place("10.0.0.1:4647", "0.0.0.0:4647"),
            serf: place("10.0.0.1:4648", "0.0.0.0:4648"),
            has_client: true,
        }
    }

    fn discovery(checks_advertised: bool) -> Discovery {
        Discovery {
            servers: "nomad".into(),
            clients: "nomad-client".into(),
            tags: vec!["blue".into()],
            is_advertised: true,
            checks_advertised,
            asks_for_servers: false,
        }
    }

    #[test]
    fn every_place_of_an_agent_is_an_instance_with_a_check() {
        let shown = |discovery: &Discovery, agent: &Itself| -> Vec<String> {
            let rows = rows(discovery, agent);
            let lines = rows.iter().map(|row| {
                let (kind, target) = &row.probe;
                let (service, tags) = (&row.service, row.tags.join(","));
                format!("{service} {tags} {} {kind} {target}", row.address)
            });
            lines.collect()
        };
        let server = [
            "nomad http,blue 10.0.0.1:4646 HTTP http://127.0.0.1:4646/v1/agent/health?type=server",
            "nomad rpc,blue 10.0.0.1:4647 TCP 10.0.0.1:4647",
            "nomad serf,blue 10.0.0.1:4648 UDP 10.0.0.1:4648",
        ];
        let client = "nomad-client http,blue 10.0.0.1:4646 HTTP http://127.0.0.1:4646/v1/agent/health?type=client";
        let both = [&server[..], &[client]].concat();
        assert_eq!(shown(&discovery(false), &agent()), both);
        let alone = Itself {
            has_client: false,
            ..agent()
        };
        assert_eq!(shown(&discovery(false), &alone), server);
        let tasks = Itself {
            rpc: None,
            serf: None,
            ..agent()
        };
        assert_eq!(shown(&discovery(false), &tasks), [client]);
        let advertised = client.replace("127.0.0.1", "10.0.0.1");
        assert_eq!(shown(&discovery(true), &tasks), [advertised]);
    }

    #[test]
    fn what_is_shown_is_left_alone_and_every_difference_is_made_good() {
        let rows = rows(&discovery(false), &agent());
        let bodies: Vec<Value> = rows.iter().map(Row::body).collect();
        let services = || -> BTreeMap<String, Listed> {
            let listed = bodies.iter().map(|body| {
                let mut row = body.clone();
                row["Service"] = body["Name"].clone();
                let id = body["ID"].as_str().unwrap().to_owned();
                (id, serde_json::from_value(row).unwrap())
            });
            listed.collect()
        };
        let checks = || -> BTreeMap<String, ListedCheck> {
            let listed = bodies.iter().map(|body| {
                let id = body["Checks"][0]["CheckID"].as_str().unwrap().to_owned();
                let row = json!({"ServiceID": body["ID"]});
                (id, serde_json::from_value(row).unwrap())
            });
            listed.collect()
        };
        let ids: BTreeSet<&String> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), 4, "an id each");
        assert_eq!(bodies[0]["Meta"][REGION_META], "north");
        assert_eq!(missing(&rows, &services(), &checks()), Vec::<&Row>::new());
        assert_eq!(missing(&rows, &BTreeMap::new(), &checks()).len(), 4);
        assert_eq!(missing(&rows, &services(), &BTreeMap::new()).len(), 4);
        let change = |change: fn(&mut Listed)| {
            let mut services = services();
            change(services.get_mut(&rows[1].id).unwrap());
            missing(&rows, &services, &checks()) == [&rows[1]]
        };
        assert!(change(|row| row.port = 1));
        assert!(change(|row| row.address = "10.0.0.2".into()));
        assert!(change(|row| row.tags = None));
        assert!(change(|row| row.service = "other".into()));
    }
}
