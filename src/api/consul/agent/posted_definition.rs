//! How a check is made that somebody else looks after, as it is written into the catalog: kept, and
//! shown again.

use std::collections::BTreeMap;

use mesh::wire::go_duration;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::consul::decode::{GoDuration, length};

/// A definition as it is posted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PostedDefinition {
    interval: Option<GoDuration>,
    timeout: Option<GoDuration>,
    deregister_critical_service_after: Option<GoDuration>,
    #[serde(rename = "HTTP")]
    pub(super) http: String,
    header: BTreeMap<String, Vec<String>>,
    method: String,
    body: String,
    #[serde(rename = "TLSServerName")]
    tls_server_name: String,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    pub(super) tcp: String,
    #[serde(rename = "TCPUseTLS")]
    tcp_use_tls: bool,
    #[serde(rename = "UDP")]
    pub(super) udp: String,
    #[serde(rename = "GRPC")]
    pub(super) grpc: String,
    #[serde(rename = "OSService")]
    pub(super) os_service: String,
    #[serde(rename = "GRPCUseTLS")]
    grpc_use_tls: bool,
}

impl PostedDefinition {
    /// What is set of it, as the API shows it; none when nothing is.
    pub(super) fn kept(&self) -> Option<Box<str>> {
        let mut kept = Map::new();
        let mut add = |name: &str, is_set: bool, value: Value| {
            if is_set {
                kept.insert(name.to_owned(), value);
            }
        };
        for (name, time) in [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            (
                "DeregisterCriticalServiceAfter",
                self.deregister_critical_service_after,
            ),
        ] {
            let time = length(time);
            add(name, !time.is_zero(), go_duration(time).into());
        }
        let text = |text: &String| (!text.is_empty(), Value::from(text.as_str()));
        let header = serde_json::json!(self.header);
        for (name, (is_set, value)) in [
            ("HTTP", text(&self.http)),
            ("Header", (!self.header.is_empty(), header)),
            ("Method", text(&self.method)),
            ("Body", text(&self.body)),
            ("TLSServerName", text(&self.tls_server_name)),
            ("TLSSkipVerify", (self.tls_skip_verify, true.into())),
            ("TCP", text(&self.tcp)),
            ("TCPUseTLS", (self.tcp_use_tls, true.into())),
            ("UDP", text(&self.udp)),
            ("GRPC", text(&self.grpc)),
            ("OSService", text(&self.os_service)),
            ("GRPCUseTLS", (self.grpc_use_tls, true.into())),
        ] {
            add(name, is_set, value);
        }
        (!kept.is_empty()).then(|| Value::Object(kept).to_string().into())
    }
}
