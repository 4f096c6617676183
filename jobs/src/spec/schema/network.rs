use super::{BARE, Schema, flag, labeled, one, plain, text, text_map, texts, whole};
use serde_json::{Map, Value};

pub(super) static NETWORK: Schema = Schema {
    attributes: &[
        text("mode", "Mode"),
        whole("mbits", "MBits"),
        text("hostname", "Hostname"),
        text("device", "Device"),
        text("cidr", "CIDR"),
        text("ip", "IP"),
    ],
    blocks: &[
        labeled("port", "Ports", "Label", &PORT),
        one("dns", "DNS", &DNS),
        one("cni", "CNI", &CNI),
    ],
    finish: finish_network,
    ..BARE
};

/// Ports with a number are reserved, the others are chosen by the scheduler.
fn finish_network(network: &mut Map<String, Value>) {
    let Some(Value::Array(ports)) = network.remove("Ports") else {
        return;
    };
    let (reserved, dynamic): (Vec<Value>, Vec<Value>) = ports
        .into_iter()
        .partition(|port| port.get("Value").and_then(Value::as_i64).unwrap_or(0) != 0);
    if !reserved.is_empty() {
        network.insert("ReservedPorts".into(), Value::Array(reserved));
    }
    if !dynamic.is_empty() {
        network.insert("DynamicPorts".into(), Value::Array(dynamic));
    }
}

static PORT: Schema = plain(&[
    whole("static", "Value"),
    whole("to", "To"),
    text("host_network", "HostNetwork"),
    flag("ignore_collision", "IgnoreCollision"),
]);

static DNS: Schema = plain(&[
    texts("servers", "Servers"),
    texts("searches", "Searches"),
    texts("options", "Options"),
]);

static CNI: Schema = plain(&[text_map("args", "Args")]);
