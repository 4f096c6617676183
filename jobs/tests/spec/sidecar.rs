use crate::{files, golden, job, lines};
use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse};
use jobs::wire;
use serde_json::{Value, json};

#[test]
fn services_in_the_mesh_add_what_they_need_to_their_group() {
    for (path, text) in files("tests/spec/sidecar") {
        if path.extension().is_none_or(|ending| ending != "nomad") {
            continue;
        }
        let job = job(&text, path.file_name().unwrap().to_str().unwrap());
        let answer = wire::Complete(&job, &wire::shapes::JOB);
        let answer = serde_json::to_value(answer).unwrap();
        let mut groups = Vec::new();
        for group in answer["TaskGroups"].as_array().unwrap() {
            let ports = &group["Networks"][0]["DynamicPorts"];
            let services = group["Services"].as_array().unwrap().iter();
            let services: Vec<Value> = services
                .map(|service| {
                    let mut shown = json!({"Gateway": service["Connect"]["Gateway"]["Proxy"]});
                    for key in ["Name", "PortLabel", "TaskName"] {
                        shown[key] = service[key].clone();
                    }
                    shown
                })
                .collect();
            let tasks = group["Tasks"].as_array().unwrap().iter();
            let tasks: Vec<&Value> = tasks.filter(|task| task["Kind"] != "").collect();
            groups.push(json!({"Ports": ports, "Services": services, "Tasks": tasks}));
        }
        let mut shown = Value::from(groups);
        strip(&mut shown);
        let text = serde_json::to_string_pretty(&shown).unwrap() + "\n";
        golden(&path.with_extension("nomad.out"), &text);
        // What is there is not added again.
        let posted = serde_json::from_value(answer).unwrap();
        let again = canonicalize_and_validate(posted, &Defaults::default());
        let again = serde_json::to_value(again.job.unwrap()).unwrap();
        assert_eq!(
            first_difference(&again, &serde_json::to_value(&job).unwrap()),
            None
        );
    }
}

/// What is wrong with a job file that can be read.
fn problems(text: &str) -> String {
    let name = "mesh.nomad";
    let parsed = parse(text, name, &Variables::default(), &Surroundings::default());
    let validation = canonicalize_and_validate(parsed.unwrap(), &Defaults::default());
    lines(&validation.errors)
}

#[test]
fn checks_that_go_through_the_proxy_get_paths_and_ports() {
    let text = |port: &str, connect: &str| {
        format!(
            r#"
job "mesh" {{
  group "g" {{
    network {{
      mode = "bridge"
      port "checked" {{}}
    }}
    service {{
      name = "api"
      port = "{port}"
      {connect}
      check {{
        name     = "alive"
        type     = "http"
        path     = "/health"
        expose   = true
        interval = "10s"
        timeout  = "1s"
      }}
      check {{
        name     = "ready"
        type     = "grpc"
        path     = "/ready"
        protocol = "http2"
        port     = "checked"
        expose   = true
        interval = "10s"
        timeout  = "1s"
      }}
    }}
    task "api" {{
      driver = "docker"
      config {{
        image = "api:1"
      }}
    }}
  }}
}}
"#
        )
    };
    let sidecar = "connect {\n sidecar_service {}\n }";
    let job = job(&text("9001", sidecar), "mesh.nomad");
    let shown = serde_json::to_value(&job).unwrap();
    let group = &shown["TaskGroups"][0];
    let service = &group["Services"][0];
    let label = service["Checks"][0]["PortLabel"].as_str().unwrap();
    assert!(label.starts_with("svc_api_ck_"), "{label}");
    let ports = group["Networks"][0]["DynamicPorts"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["Label"] == label), "{ports:?}");
    let path = |path: &str, protocol: &str, port: &str| {
        json!({
            "Path": path, "Protocol": protocol, "LocalPathPort": 9001, "ListenerPort": port
        })
    };
    assert_eq!(
        service["Connect"]["SidecarService"]["Proxy"]["Expose"]["Paths"],
        json!([
            path("/health", "", label),
            path("/ready", "http2", "checked")
        ])
    );
    // Registered again, it stays as it is.
    let posted = serde_json::from_value(shown.clone()).unwrap();
    let again = canonicalize_and_validate(posted, &Defaults::default());
    let again = serde_json::to_value(again.job.unwrap()).unwrap();
    assert_eq!(first_difference(&again, &shown), None);

    for (port, connect, error) in [
        (
            "checked",
            sidecar,
            "unable to determine local service port for service check g->api->alive",
        ),
        (
            "9001",
            "",
            "exposed service check g->api->alive requires use of sidecar_proxy",
        ),
    ] {
        let told = problems(&text(port, connect));
        assert_eq!(told.matches(error).count(), 1, "{told}");
    }
}

/// Where two values differ first.
fn first_difference(one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) if one.len() == other.len() => {
            one.iter().find_map(|(key, value)| {
                let inner = first_difference(value, other.get(key).unwrap_or(&Value::Null))?;
                Some(format!("{key}.{inner}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(at, (one, other))| {
                Some(format!("{at}.{}", first_difference(one, other)?))
            })
        }
        _ => (one != other).then(|| format!(" {one} is not {other}")),
    }
}

/// Leaves out what says nothing.
fn strip(value: &mut Value) {
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
    };
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !says_nothing(value));
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
