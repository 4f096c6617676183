//! Keys of the block `consul` that say how agents find each other through a catalog elsewhere.

use super::{Problem, file::Entry, reader::Reader};

const SOURCE: &str = "configuration";
/// The service that servers are, and the one that other agents are, unless something else is said.
const SERVICES: (&str, &str) = ("nomad", "nomad-client");

/// What is written about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenDiscovery {
    pub server_auto_join: Option<bool>,
    pub client_auto_join: Option<bool>,
    pub server_service_name: Option<String>,
    pub client_service_name: Option<String>,
    pub auto_advertise: Option<bool>,
    pub checks_use_advertise: Option<bool>,
    pub tags: Option<Vec<String>>,
}

impl WrittenDiscovery {
    /// Its keys of the block.
    pub(super) const KEYS: [&str; 7] = [
        "server_auto_join",
        "client_auto_join",
        "server_service_name",
        "client_service_name",
        "auto_advertise",
        "checks_use_advertise",
        "tags",
    ];

    /// `self` with everything that `other` sets.
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            server_auto_join: other.server_auto_join.or(self.server_auto_join),
            client_auto_join: other.client_auto_join.or(self.client_auto_join),
            server_service_name: other.server_service_name.or(self.server_service_name),
            client_service_name: other.client_service_name.or(self.client_service_name),
            auto_advertise: other.auto_advertise.or(self.auto_advertise),
            checks_use_advertise: other.checks_use_advertise.or(self.checks_use_advertise),
            tags: other.tags.or(self.tags),
        }
    }

    /// Takes one of [`Self::KEYS`].
    pub(super) fn take(&mut self, entry: &Entry, reader: &mut Reader<'_>) {
        match entry.key.as_str() {
            "server_auto_join" => self.server_auto_join = reader.flag(entry),
            "client_auto_join" => self.client_auto_join = reader.flag(entry),
            "server_service_name" => self.server_service_name = reader.text(entry),
            "client_service_name" => self.client_service_name = reader.text(entry),
            "auto_advertise" => self.auto_advertise = reader.flag(entry),
            "checks_use_advertise" => self.checks_use_advertise = reader.flag(entry),
            _ => self.tags = reader.texts(entry),
        }
    }

    /// Whether servers that name no others ask for some.
    pub(super) fn servers_join(&self) -> bool {
        self.server_auto_join.unwrap_or(true)
    }

    /// Whether agents without a server that name none ask for some.
    pub(super) fn clients_join(&self) -> bool {
        self.client_auto_join.unwrap_or(true)
    }

    /// The whole, for an agent that does or does not ask for servers.
    pub(super) fn resolve(&self, asks_for_servers: bool, problems: &mut Vec<Problem>) -> Discovery {
        let mut name = |key: &str, written: &Option<String>, usual: &str| {
            let name = written.clone().unwrap_or_else(|| usual.to_owned());
            if name.trim().is_empty() {
                let message = format!("`consul.{key}` is empty; leave it out for `{usual}`");
                problems.push(Problem::new(SOURCE, message));
            }
            name
        };
        Discovery {
            servers: name("server_service_name", &self.server_service_name, SERVICES.0),
            clients: name("client_service_name", &self.client_service_name, SERVICES.1),
            tags: self.tags.clone().unwrap_or_default(),
            is_advertised: self.auto_advertise.unwrap_or(true),
            checks_advertised: self.checks_use_advertise.unwrap_or(false),
            asks_for_servers,
        }
    }

    /// What is said where there is no catalog elsewhere.
    pub(super) fn unheeded(&self) -> Option<String> {
        (*self != Self::default()).then(|| {
            "`consul` says how agents find each other and names no `address`: nobody is asked"
                .to_owned()
        })
    }
}

/// How agents find each other through a catalog elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Name of the service that servers are.
    pub servers: String,
    /// Name of the service that agents are that run tasks.
    pub clients: String,
    /// Tags of all instances, beside those that say what they are.
    pub tags: Vec<String>,
    /// Whether this agent is registered there.
    pub is_advertised: bool,
    /// Whether the checks of it go where others reach it, instead of where it listens.
    pub checks_advertised: bool,
    /// Whether this agent asks there for servers.
    pub asks_for_servers: bool,
}
