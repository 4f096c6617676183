//! What is said to a plugin and what it answers. Pure.
//!
//! Source: the execution protocol of the Container Network Interface, 0.3.0 to 1.0.0.

use super::lists::List;
use jobs::model::{Dns, NetworkStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// Capability of plugins that lead ports of the host inside.
const PORTS: &str = "portMappings";
/// Addresses and interfaces of an answer that are looked at.
const LISTED_MAX: usize = 64;

/// What a plugin is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Join the namespace to the network.
    Add,
    /// Look whether it is joined.
    Check,
    /// Take it out again.
    Del,
}

impl Command {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
        }
    }
}

/// A port of the host that is to lead inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::network) struct PortMapping {
    pub(in crate::network) host_port: u16,
    pub(in crate::network) container_port: u16,
    /// `tcp` or `udp`.
    pub(in crate::network) protocol: String,
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty", default)]
    pub(in crate::network) host_ip: String,
}

/// What a plugin finds in its environment beside that of the agent.
pub(super) fn environment(
    command: Command,
    container: &str,
    namespace: &str,
    interface: &str,
    path: &str,
    args: &BTreeMap<String, String>,
) -> [(&'static str, String); 6] {
    // One that does not know an argument would fail otherwise.
    let known = [("IgnoreUnknown", "true")].into_iter();
    let args = args
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let args: Vec<String> = known
        .chain(args)
        .filter(|(key, value)| !key.is_empty() && !key.contains('=') && !value.contains('='))
        .map(|(key, value)| format!("{key}={value}"))
        .filter(|pair| !pair.contains([';', '\0']))
        .collect();
    [
        ("CNI_COMMAND", command.name().to_owned()),
        ("CNI_CONTAINERID", container.to_owned()),
        ("CNI_NETNS", namespace.to_owned()),
        ("CNI_IFNAME", interface.to_owned()),
        ("CNI_PATH", path.to_owned()),
        ("CNI_ARGS", args.join(";")),
    ]
}

/// What a plugin of a list reads.
pub(super) fn input(
    list: &List,
    plugin: &Map<String, Value>,
    previous: Option<&Value>,
    ports: &[PortMapping],
) -> Value {
    let mut input = plugin.clone();
    input.insert("name".into(), list.name.as_str().into());
    input.insert("cniVersion".into(), list.version.as_str().into());
    if let Some(previous) = previous {
        input.insert("prevResult".into(), previous.clone());
    }
    let capabilities = plugin.get("capabilities");
    let maps_ports = capabilities.is_some_and(|all| all[PORTS] == true);
    if maps_ports && !ports.is_empty() {
        input.insert("runtimeConfig".into(), json!({ PORTS: ports }));
    }
    input.into()
}

/// What a plugin answers to [`Command::Add`].
pub(super) fn result(list: &List, output: &[u8]) -> Result<Value, String> {
    let result: Value = serde_json::from_slice(output)
        .map_err(|error| format!("its answer cannot be understood: {error}"))?;
    if !result.is_object() {
        return Err("its answer is no object".into());
    }
    // Some leave it out when it is the one they were asked in.
    let version = result["cniVersion"].as_str().unwrap_or(&list.version);
    if version != list.version {
        return Err(format!(
            "it answers in version {version}, and was asked in {}",
            list.version
        ));
    }
    Ok(result)
}

/// What a plugin says of its failure.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u64,
    msg: String,
    details: String,
}

/// Why a plugin failed, from its output or else from what it wrote to standard error.
pub(super) fn refusal(output: &[u8], errors: &str) -> String {
    match serde_json::from_slice::<Refusal>(output) {
        Ok(Refusal { code, msg, details }) if !msg.is_empty() => match details.as_str() {
            "" => format!("{msg} (code {code})"),
            details => format!("{msg}: {details} (code {code})"),
        },
        _ => {
            let lines: Vec<&str> = errors.lines().map(str::trim).take(4).collect();
            match lines.join("; ") {
                none if none.is_empty() => "it said nothing".into(),
                said => said,
            }
        }
    }
}

/// What the result of a list says of the network. The interface inside of the namespace counts, the
/// first by name of those with an address.
pub(in crate::network) fn status(result: &Value) -> Option<NetworkStatus> {
    let interfaces = result["interfaces"].as_array();
    let of = |place: &Value| {
        let place = usize::try_from(place.as_u64()?).ok()?;
        interfaces?.get(place)
    };
    let mut found: Vec<(bool, &str, IpAddr)> = Vec::new();
    for ip in result["ips"]
        .as_array()
        .into_iter()
        .flatten()
        .take(LISTED_MAX)
    {
        let address = ip["address"].as_str().unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default();
        let Ok(address) = address.parse() else {
            continue;
        };
        let interface = of(&ip["interface"]);
        let is_outside =
            interface.is_some_and(|one| one["sandbox"].as_str().is_none_or(str::is_empty));
        let name = interface.and_then(|one| one["name"].as_str());
        found.push((is_outside, name.unwrap_or(super::super::INSIDE), address));
    }
    found.sort_by_key(|(is_outside, name, _)| (*is_outside, *name));
    let (_, interface, first) = *found.first()?;
    let mut of_interface = found.iter().filter(|(_, name, _)| *name == interface);
    let v4 = of_interface.clone().find(|(.., address)| address.is_ipv4());
    let v6 = of_interface.find(|(.., address)| address.is_ipv6());
    let text = |one: Option<&(bool, &str, IpAddr)>| one.map(|(.., address)| address.to_string());
    Some(NetworkStatus {
        interface_name: interface.into(),
        address: text(v4).unwrap_or_else(|| first.to_string()),
        address_ipv6: text(v6).unwrap_or_default(),
        dns: dns(&result["dns"]).map(Box::new),
    })
}

/// How names are resolved inside, when the plugins say so.
fn dns(given: &Value) -> Option<Dns> {
    let texts = |key: &str| {
        let list = given[key].as_array()?.iter().take(LISTED_MAX);
        let list: Vec<String> = list.filter_map(|text| word(text.as_str()?)).collect();
        (!list.is_empty()).then_some(list)
    };
    let domain = || Some(vec![word(given["domain"].as_str()?)?]);
    let dns = Dns {
        servers: texts("nameservers"),
        searches: texts("search").or_else(domain),
        options: texts("options"),
    };
    (dns != Dns::default()).then_some(dns)
}

/// A text that is one word of a file.
fn word(text: &str) -> Option<String> {
    let is_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_word.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let text = r#"{"name": "own", "cniVersion": "1.0.0", "plugins": [
            {"type": "a"}, {"type": "b", "capabilities": {"portMappings": true}}]}"#;
        List::parse(text.as_bytes(), true).unwrap()
    }

    #[test]
    fn each_plugin_reads_its_configuration_and_what_the_one_before_has_done() {
        let list = list();
        let ports = [PortMapping {
            host_port: 20_001,
            container_port: 80,
            protocol: "tcp".into(),
            host_ip: "192.0.2.1".into(),
        }];
        let first = input(&list, &list.plugins[0], None, &ports);
        let expected = json!({"type": "a", "name": "own", "cniVersion": "1.0.0"});
        assert_eq!(first, expected);
        let before = json!({"cniVersion": "1.0.0"});
        let second = input(&list, &list.plugins[1], Some(&before), &ports);
        assert_eq!(second["prevResult"], before);
        let port = json!([{"hostPort": 20_001, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}]);
        assert_eq!(second["runtimeConfig"], json!({"portMappings": port}));
        let without = input(&list, &list.plugins[1], None, &[]);
        assert_eq!(without.get("runtimeConfig"), None);
    }

    #[test]
    fn arguments_stand_in_one_variable_and_cannot_become_others() {
        let pairs = [("a", "1"), ("b", "x;c=2"), ("d", "1=2"), ("e", "")];
        let args = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let env = environment(
            Command::Add,
            "id",
            "/run/netns/id",
            "eth0",
            "/a:/b",
            &args.into(),
        );
        let env = BTreeMap::from(env);
        assert_eq!(env["CNI_ARGS"], "IgnoreUnknown=true;a=1;e=");
        assert_eq!(env["CNI_COMMAND"], "ADD");
        assert_eq!(env["CNI_CONTAINERID"], "id");
        assert_eq!(env["CNI_NETNS"], "/run/netns/id");
        assert_eq!(env["CNI_IFNAME"], "eth0");
        assert_eq!(env["CNI_PATH"], "/a:/b");
    }

    #[test]
    fn the_address_inside_is_the_one_of_the_allocation() {
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": "cni0"},
                {"name": "veth1"},
                {"name": "eth0", "sandbox": "/run/netns/id"},
            ],
            "ips": [
                {"address": "10.0.0.1/24", "interface": 0},
                {"address": "fd00::5/64", "interface": 2},
                {"address": "10.0.0.5/24", "interface": 2},
                {"address": "not one", "interface": 2},
            ],
            "dns": {"nameservers": ["10.0.0.1", "a b\n"], "domain": "a.test"},
        });
        let found = status(&result).unwrap();
        assert_eq!(found.interface_name, "eth0");
        assert_eq!(found.address, "10.0.0.5");
        assert_eq!(found.address_ipv6, "fd00::5");
        let dns = found.dns.unwrap();
        assert_eq!(dns.servers, Some(vec!["10.0.0.1".to_owned()]));
        assert_eq!(dns.searches, Some(vec!["a.test".to_owned()]));
        // Without interfaces it is the one that was asked for.
        let bare = json!({"ips": [{"address": "10.0.0.9/24"}]});
        let found = status(&bare).unwrap();
        assert_eq!(
            (&*found.interface_name, &*found.address),
            ("eth0", "10.0.0.9")
        );
        for nothing in [
            json!({}),
            json!({"ips": 7}),
            json!({"ips": [{"address": 7, "interface": -1}]}),
        ] {
            assert_eq!(status(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_plugin() {
        let told = br#"{"cniVersion": "1.0.0", "code": 7, "msg": "no address", "details": "range is full"}"#;
        assert_eq!(refusal(told, "x"), "no address: range is full (code 7)");
        assert_eq!(refusal(br#"{"msg": "m"}"#, ""), "m (code 0)");
        assert_eq!(refusal(b"broken", " first \nsecond"), "first; second");
        assert_eq!(refusal(b"", ""), "it said nothing");
        assert!(result(&list(), b"[]").is_err());
        assert!(result(&list(), br#"{"cniVersion": "0.4.0"}"#).is_err());
        assert!(result(&list(), br#"{"cniVersion": "1.0.0"}"#).is_ok());
    }
}
