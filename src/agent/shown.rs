//! The agent's configuration as the jobs API shows it, under the names that its clients know.

use super::{cluster::http_address, listeners::Listeners};
use config::{CertificatePlace, Config, Ingress, PagePlace, RpcSecurity, Strategy};
use jobs::wire::API_VERSION;
use proxy::route::PathMatcher;
use serde_json::{Map, Value, json};

/// Every setting that has a name in the jobs API. No setting holds a secret.
pub(super) fn configuration(config: &Config, listeners: &Listeners) -> Map<String, Value> {
    let advertised = |port: u16| std::net::SocketAddr::new(config.advertise, port).to_string();
    let (http, rpc) = (
        listeners.http.map_or(0, |http| http.port()),
        listeners.rpc.map_or(0, |rpc| rpc.port()),
    );
    let bind = config.http.map(|http| http.ip());
    let is_mutual = matches!(config.rpc_security, RpcSecurity::Mutual { .. });
    let server = config.server.as_ref();
    let shown = json!({
        "ACL": { "Enabled": false },
        "Addresses": { "HTTP": bind, "RPC": config.rpc.ip() },
        "AdvertiseAddrs": {
            "HTTP": http_address(config, listeners)
                .map_or_else(|| advertised(http), |address| address.to_string()),
            "RPC": advertised(rpc),
        },
        "BindAddr": bind,
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
        "Server": {
            "Enabled": server.is_some(),
            "BootstrapExpect": server.map_or(0, |server| server.bootstrap_expect),
        },
        "TLSConfig": { "EnableHTTP": false, "EnableRPC": is_mutual },
        "UI": ui(config, listeners),
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

/// The web UI, and what its pages may show of this agent.
fn ui(config: &Config, listeners: &Listeners) -> Value {
    let dns = config.dns.as_ref();
    json!({
        "Enabled": config.ui.is_enabled,
        "ShowCLIHints": config.ui.is_enabled && config.ui.has_hints,
        "ReadOnly": config.ui.is_read_only,
        "Label": { "Text": config.ui.label },
        "Catalog": listeners.catalog.is_some(),
        "Ingress": listeners.ingress.is_some(),
        "DNS": dns.map(|dns| {
            let address = listeners.dns.unwrap_or(dns.address);
            json!({ "Host": address.ip(), "Port": address.port(), "Domain": dns.domain })
        }),
    })
}

fn client(config: &Config) -> Value {
    let Some(client) = &config.client else {
        return json!({ "Enabled": false });
    };
    let (first, last) = client.dynamic_ports;
    json!({
        "Enabled": true,
        "Servers": config.servers,
        "AllocDir": client.alloc_dir(&config.data_dir),
        "CpuCompute": client.cpu_mhz.unwrap_or(0),
        "MemoryMB": client.memory_mib.unwrap_or(0),
        "Reserved": {
            "CPU": client.reserved.cpu_mhz,
            "Cores": client.reserved.cores,
            "DiskMB": client.reserved.disk_mb,
            "MemoryMB": client.reserved.memory_mb,
            "ReservedPorts": client.reserved.port_ranges(),
        },
        "NetworkInterface": client.networks.usual.as_ref().map_or("", |usual| &usual.device),
        "HostNetworks": client.networks.named.iter().map(|(name, network)| json!({
            "Name": name,
            "CIDR": network.cidr,
            "Interface": network.interface,
            "ReservedPorts": network.reserved_ports,
        })).collect::<Vec<_>>(),
        "MinDynamicPort": first,
        "MaxDynamicPort": last,
        "Meta": client.meta,
        "NodeClass": client.node_class,
        "NodePool": "default",
    })
}

/// The settings of the ingress, as its admin API shows them: places of certificates without the
/// tokens that may stand in them.
pub(super) fn ingress(ingress: Option<&Ingress>) -> Value {
    let Some(ingress) = ingress else {
        return Value::Null;
    };
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
    let listeners = ingress.listeners.iter().map(|listener| {
        json!({
            "Address": listener.address,
            "Protocol": format!("{:?}", listener.protocol),
            "Certificates": listener.tls.as_ref().map(|tls| &tls.source),
            "StrictMatch": listener.tls.as_ref().map(|tls| tls.is_strict),
            "ProxyProtocol": listener.announced.is_some(),
            "ReadTimeout": seconds(listener.read_timeout),
            "WriteTimeout": seconds(listener.write_timeout),
            "IdleTimeout": seconds(listener.idle_timeout),
        })
    });
    let certificates = ingress.certificates.iter().map(|(name, source)| {
        let (kind, place) = match &source.place {
            CertificatePlace::File { certificate, .. } => {
                ("file", certificate.display().to_string())
            }
            CertificatePlace::Path(directory) => ("path", directory.display().to_string()),
            CertificatePlace::Http(url) => ("http", without_secrets(url)),
            CertificatePlace::Consul(url) => ("consul", without_secrets(url)),
            CertificatePlace::Acme(authority) => ("acme", without_secrets(&authority.directory)),
        };
        json!({
            "Name": name,
            "Type": kind,
            "Place": place,
            "Refresh": seconds(source.refresh),
            "ClientAuthorities": source.client_authorities,
        })
    });
    json!({
        "Listeners": listeners.collect::<Vec<_>>(),
        "CertificateSources": certificates.collect::<Vec<_>>(),
        "Admin": ingress.admin,
        "AdminCertificates": ingress.admin_tls.as_ref().map(|tls| &tls.source),
        "AdminAccess": if ingress.admin_is_read_only { "ro" } else { "rw" },
        "Strategy": match ingress.strategy {
            Strategy::RoundRobin => "rr",
            Strategy::Random => "rnd",
            Strategy::LeastConnections => "lc",
        },
        "Matcher": match ingress.matching.paths {
            PathMatcher::Prefix => "prefix",
            PathMatcher::PrefixFolded => "iprefix",
            PathMatcher::Glob => "glob",
        },
        "HostGlobs": ingress.matching.has_host_globs,
        "NoRouteStatus": ingress.no_route_status,
        "ErrorPages": ingress.error_pages.as_ref().map(|place| match place {
            PagePlace::Directory(directory) => directory.display().to_string(),
            PagePlace::Keys(url) => without_secrets(url),
        }),
        "ConnectTimeout": seconds(ingress.timeouts.connect),
        "ResponseTimeout": seconds(ingress.timeouts.response),
        "UpstreamIdleTimeout": seconds(ingress.timeouts.upstream_idle),
        "UpstreamIdleMax": ingress.target_idle_max,
        "LocalIP": ingress.own_headers.by,
        "DrainTimeout": seconds(ingress.timeouts.drain),
        "ShutdownGrace": seconds(Some(ingress.shutdown.grace)),
        "ShutdownWait": seconds(Some(ingress.shutdown.wait)),
        "IdleTimeout": seconds(ingress.timeouts.idle),
        "Retries": ingress.retries,
        "RequestBodyMax": ingress.request_body_max,
        "AuthoritiesFile": ingress.authorities_file,
    })
}

/// A URL without its query and its user, where tokens and passwords stand.
fn without_secrets(url: &str) -> String {
    let place = url.split('?').next().unwrap_or_default();
    match place.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_and_passwords_are_not_shown() {
        for (url, shown) in [
            ("http://u:p@h:1/v1/kv/x?token=t&y", "http://h:1/v1/kv/x"),
            ("http://h", "http://h/"),
            ("certs", "certs"),
        ] {
            assert_eq!(super::without_secrets(url), shown);
        }
    }
}
