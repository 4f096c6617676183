//! The agent's configuration as the jobs API shows it, under the names that its clients know.

use super::listeners::Listeners;
use crate::config::Config;
use jobs::wire::API_VERSION;
use serde_json::{Map, Value, json};

/// Every setting that has a name in the jobs API. No setting holds a secret.
pub(super) fn configuration(config: &Config, listeners: &Listeners) -> Map<String, Value> {
    let advertised = |port: u16| std::net::SocketAddr::new(config.advertise, port).to_string();
    let (http, rpc) = (listeners.http.port(), listeners.rpc.port());
    let shown = json!({
        "ACL": { "Enabled": false },
        "Addresses": { "HTTP": config.http.ip(), "RPC": config.rpc.ip() },
        "AdvertiseAddrs": { "HTTP": advertised(http), "RPC": advertised(rpc) },
        "BindAddr": config.http.ip(),
        "Client": client(config),
        "DataDir": config.data_dir,
        "Datacenter": config.datacenter,
        "DevMode": config.dev,
        "HTTPAPIResponseHeaders": {},
        "LogLevel": config.log_level,
        "Name": config.name,
        "NodeName": config.name,
        "Ports": { "HTTP": http, "RPC": rpc },
        "Region": config.region,
        "Server": { "Enabled": true, "BootstrapExpect": 1 },
        "TLSConfig": { "EnableHTTP": false, "EnableRPC": false },
        "UI": { "Enabled": false, "ShowCLIHints": false },
        "Version": {
            "Version": API_VERSION,
            "VersionPrerelease": "",
            "VersionMetadata": concat!("trivet.", env!("CARGO_PKG_VERSION")),
            "Revision": "",
        },
    });
    match shown {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn client(config: &Config) -> Value {
    let Some(client) = &config.client else {
        return json!({ "Enabled": false });
    };
    let (first, last) = client.dynamic_ports;
    json!({
        "Enabled": true,
        "AllocDir": config.data_dir.join("alloc"),
        "CpuCompute": client.cpu_mhz.unwrap_or(0),
        "MemoryMB": client.memory_mib.unwrap_or(0),
        "MinDynamicPort": first,
        "MaxDynamicPort": last,
        "Meta": client.meta,
        "NodeClass": client.node_class,
        "NodePool": "default",
    })
}
