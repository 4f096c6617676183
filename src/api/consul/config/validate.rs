//! What a configuration entry has to say by itself.

use mesh::intention::precedence;
use serde_json::{Map, Value, json};

/// Shares are rounded to this part of a percent.
const SHARE_ROUNDING: f64 = 100.0;

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
        "ingress-gateway" => {
            set_default(&mut entry, "TLS", json!({ "Enabled": false }));
            let limits = [
                "MaxConnections",
                "MaxPendingRequests",
                "MaxConcurrentRequests",
            ];
            if let Some(defaults @ Value::Object(_)) = entry.get_mut("Defaults") {
                for key in limits {
                    set_default(defaults, key, json!(0));
                }
            }
        }
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
    let mut names: Vec<String> = Vec::with_capacity(sources.len());
    for (at, source) in sources.iter_mut().enumerate() {
        let name = text(source, "Name").to_owned();
        if names.contains(&name) {
            return Err(format!("Sources[{at}] defines {name:?} more than once"));
        }
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
        names.push(name);
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
    Ok(())
}
