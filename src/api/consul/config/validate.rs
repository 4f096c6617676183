//! What a configuration entry has to say, by itself and together with the others.

use serde_json::{Map, Value, json};

/// Protocols whose requests can be told apart.
const HTTP_LIKE: [&str; 3] = ["http", "http2", "grpc"];
/// Shares are rounded to this part of a percent.
const SHARE_ROUNDING: f64 = 100.0;

/// The other entries, as far as one depends on them.
pub(super) trait Others {
    /// What the entry says; none when there is none.
    fn entry(&self, kind: &str, name: &str) -> Option<Value>;
}

/// Checks an entry and fills in what is always there.
///
/// # Errors
/// The first thing that is wrong, in the words that clients know.
pub(super) fn normalized(kind: &str, mut entry: Value) -> Result<Value, String> {
    let name = text(&entry, "Name").to_owned();
    let only = |wanted: &str| {
        if name == wanted || name.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "invalid name ({name:?}), only {wanted:?} is supported"
            ))
        }
    };
    match kind {
        "proxy-defaults" => {
            only("global")?;
            set(&mut entry, "Name", json!("global"));
        }
        "mesh" => {
            only("mesh")?;
        }
        _ if name.is_empty() => return Err("Name is required".to_owned()),
        _ => {}
    }
    match kind {
        "service-defaults" | "proxy-defaults" => {
            for key in ["TransparentProxy", "MeshGateway", "Expose"] {
                set_default(&mut entry, key, json!({}));
            }
        }
        "service-splitter" => check_splits(&entry)?,
        "service-resolver" => check_resolver(&entry)?,
        "service-router" => check_routes(&entry)?,
        "service-intentions" => complete_sources(&mut entry, &name)?,
        "ingress-gateway" => set_default(&mut entry, "TLS", json!({ "Enabled": false })),
        _ => {}
    }
    Ok(entry)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn set(value: &mut Value, key: &str, to: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), to);
    }
}

fn set_default(value: &mut Value, key: &str, to: Value) {
    if value.get(key).is_none_or(Value::is_null) {
        set(value, key, to);
    }
}

fn check_splits(entry: &Value) -> Result<(), String> {
    let splits = items(entry, "Splits");
    if splits.is_empty() {
        return Err("no splits configured".to_owned());
    }
    let mut sum = 0.0;
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for split in splits {
        let weight = split["Weight"].as_f64().unwrap_or(0.0);
        sum += (weight * SHARE_ROUNDING).round() / SHARE_ROUNDING;
        let service = match text(split, "Service") {
            "" => text(entry, "Name"),
            service => service,
        };
        let target = (service, text(split, "ServiceSubset"));
        if seen.contains(&target) {
            return Err(format!(
                "split destination occurs more than once: service={:?}, subset={:?}",
                target.0, target.1
            ));
        }
        seen.push(target);
    }
    if (sum - 100.0).abs() >= 0.005 {
        return Err(format!(
            "the sum of all split weights must be 100, not {sum:.6}"
        ));
    }
    Ok(())
}

fn check_resolver(entry: &Value) -> Result<(), String> {
    let none = Map::new();
    let subsets = entry["Subsets"].as_object().unwrap_or(&none);
    if subsets.contains_key("") {
        return Err("Subset defined with empty name".to_owned());
    }
    let default = text(entry, "DefaultSubset");
    if !default.is_empty() && !subsets.contains_key(default) {
        return Err(format!("DefaultSubset {default:?} is not a valid subset"));
    }
    for (subset, failover) in entry["Failover"].as_object().unwrap_or(&none) {
        if subset != "*" && !subsets.contains_key(subset) {
            return Err(format!("Bad Failover[{subset:?}]: not a valid subset"));
        }
        let says = ["Service", "ServiceSubset", "Namespace", "SamenessGroup"];
        let is_empty = says.iter().all(|key| text(failover, key).is_empty())
            && items(failover, "Datacenters").is_empty()
            && items(failover, "Targets").is_empty();
        if is_empty {
            return Err(format!(
                "Bad Failover[{subset:?}]: one of Service, ServiceSubset, Namespace, Targets, SamenessGroup, or \
                 Datacenters is required"
            ));
        }
    }
    Ok(())
}

fn check_routes(entry: &Value) -> Result<(), String> {
    for (at, route) in items(entry, "Routes").iter().enumerate() {
        let matched = &route["Match"]["HTTP"];
        let is_set = |key: &&str| !text(matched, key).is_empty();
        let paths = ["PathExact", "PathPrefix", "PathRegex"];
        if paths.iter().filter(|key| is_set(key)).count() > 1 {
            return Err(format!(
                "Route[{at}] should only contain at most one of PathExact, PathPrefix, or PathRegex"
            ));
        }
        for key in ["PathExact", "PathPrefix"] {
            let path = text(matched, key);
            if !path.is_empty() && !path.starts_with('/') {
                return Err(format!(
                    "Route[{at}] {key} doesn't start with '/': {path:?}"
                ));
            }
        }
        let groups = [
            (
                "Header",
                "Present, Exact, Prefix, Suffix, Contains, or Regex",
            ),
            ("QueryParam", "Present, Exact, or Regex"),
        ];
        for (group, words) in groups {
            for (place, one) in items(matched, group).iter().enumerate() {
                if text(one, "Name").is_empty() {
                    return Err(format!(
                        "Route[{at}] {group}[{place}] missing required Name field"
                    ));
                }
                let texts = ["Exact", "Prefix", "Suffix", "Contains", "Regex"];
                let said = texts
                    .iter()
                    .filter(|key| !text(one, key).is_empty())
                    .count()
                    + usize::from(one["Present"] == true);
                if said > 1 {
                    return Err(format!(
                        "Route[{at}] {group}[{place}] should only contain one of {words}"
                    ));
                }
            }
        }
        let mut methods: Vec<&str> = Vec::new();
        for method in items(matched, "Methods").iter().filter_map(Value::as_str) {
            if methods.contains(&method) {
                return Err(format!(
                    "Route[{at}] Methods contains {method:?} more than once"
                ));
            }
            methods.push(method);
        }
    }
    Ok(())
}

/// Fills in precedence and kind of the sources, highest first.
fn complete_sources(entry: &mut Value, destination: &str) -> Result<(), String> {
    let Some(sources) = entry["Sources"].as_array_mut() else {
        return Ok(());
    };
    for (at, source) in sources.iter_mut().enumerate() {
        let name = text(source, "Name").to_owned();
        if name.is_empty() {
            return Err(format!("Sources[{at}].Name is required"));
        }
        if name != "*" && name.contains('*') {
            return Err(format!(
                "Sources[{at}].Name: wildcard character '*' cannot be used with partial values"
            ));
        }
        let is_by_request = !items(source, "Permissions").is_empty();
        let action = text(source, "Action");
        match (is_by_request, action) {
            (false, "allow" | "deny") | (true, "") => {}
            (true, _) => {
                return Err(format!(
                    "Sources[{at}].Action must be omitted if Permissions are specified"
                ));
            }
            (false, _) => {
                return Err(format!(
                    "Sources[{at}].Action must be set to 'allow' or 'deny'"
                ));
            }
        }
        let precedence = precedence(&name, destination);
        set(source, "Precedence", json!(precedence));
        set_default(source, "Type", json!("consul"));
    }
    sources.sort_by_key(|source| {
        let precedence = source["Precedence"].as_u64().unwrap_or(0);
        (
            std::cmp::Reverse(precedence),
            text(source, "Name").to_owned(),
        )
    });
    let twice = sources
        .windows(2)
        .find(|pair| text(&pair[0], "Name") == text(&pair[1], "Name"));
    match twice {
        Some(pair) => Err(format!(
            "Sources[] defines {:?} more than once",
            text(&pair[0], "Name")
        )),
        None => Ok(()),
    }
}

/// How much an intention counts; 9 is most.
fn precedence(source: &str, destination: &str) -> u8 {
    match (source == "*", destination == "*") {
        (false, false) => 9,
        (true, false) => 8,
        (false, true) => 6,
        (true, true) => 5,
    }
}

/// Checks what the entries about a service say together.
///
/// # Errors
/// As [`normalized`].
pub(super) fn check_chain(service: &str, others: &dyn Others) -> Result<(), String> {
    let splitter = others.entry("service-splitter", service);
    let router = others.entry("service-router", service);
    if splitter.is_some() || router.is_some() {
        let protocol = protocol(service, others);
        if !HTTP_LIKE.contains(&protocol.as_str()) {
            return Err(format!(
                "discovery chain {service:?} uses a protocol {protocol:?} that does not permit advanced routing or \
                 splitting behavior"
            ));
        }
    }
    let splits = splitter.iter().flat_map(|entry| items(entry, "Splits"));
    let routes = router.iter().flat_map(|entry| items(entry, "Routes"));
    let destinations = routes.map(|route| &route["Destination"]);
    for leg in splits.chain(destinations) {
        let target = match text(leg, "Service") {
            "" => service,
            target => target,
        };
        check_subset(target, text(leg, "ServiceSubset"), others)?;
    }
    check_redirects(service, others)
}

fn check_subset(service: &str, subset: &str, others: &dyn Others) -> Result<(), String> {
    let resolver = others.entry("service-resolver", service);
    let is_known =
        subset.is_empty() || resolver.is_some_and(|entry| entry["Subsets"].get(subset).is_some());
    if is_known {
        Ok(())
    } else {
        Err(format!(
            "service {service:?} does not have a subset named {subset:?}"
        ))
    }
}

/// Follows redirects from a service; one that leads back is refused.
fn check_redirects(service: &str, others: &dyn Others) -> Result<(), String> {
    let mut path = vec![service.to_owned()];
    loop {
        let last = path.last().map_or("", String::as_str);
        let next = others
            .entry("service-resolver", last)
            .map(|entry| text(&entry["Redirect"], "Service").to_owned())
            .filter(|next| !next.is_empty() && next != last);
        let Some(next) = next else { return Ok(()) };
        let is_circle = path.contains(&next);
        path.push(next);
        if is_circle {
            return Err(format!(
                "detected circular resolver redirect: [{}]",
                path.join(" -> ")
            ));
        }
    }
}

fn protocol(service: &str, others: &dyn Others) -> String {
    let own = others.entry("service-defaults", service);
    let own = own.map(|entry| text(&entry, "Protocol").to_owned());
    let own = own.filter(|protocol| !protocol.is_empty());
    let global = || {
        let entry = others.entry("proxy-defaults", "global")?;
        let protocol = entry["Config"]["protocol"].as_str()?;
        Some(protocol.to_owned())
    };
    own.or_else(global).unwrap_or_else(|| "tcp".to_owned())
}
