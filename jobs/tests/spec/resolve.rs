use jobs::model::TaskConfig;
use jobs::spec::resolve;
use proptest::prelude::{ProptestConfig, proptest};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What becomes of a value in the configuration of a driver, or all that is wrong with it.
fn resolved(value: Value) -> Result<Value, Vec<String>> {
    let variables: BTreeMap<String, String> = [
        ("NOMAD_PORT_http", "21000"),
        ("NOMAD_META_rack.row", "r7"),
        ("LIST", "[1, 2]"),
        ("odd name", "odd"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let lookup = |name: &str| match name {
        "attr.cpu.arch" => Some("amd64".to_owned()),
        // A name may go on behind one that has a value.
        "attr.driver.docker" => Some("1".to_owned()),
        "attr.driver.docker.version" => Some("27.1".to_owned()),
        "attr.unique.network.ip-address" => Some("10.0.0.1".to_owned()),
        "meta.rack" => Some("r7".to_owned()),
        "node.unique.name" => Some("web-3".to_owned()),
        name => variables.get(name).cloned(),
    };
    let config = TaskConfig::from([("x".into(), value)]);
    match resolve(&config, &variables, &lookup) {
        Ok(config) => Ok(config.iter().next().unwrap().1.clone()),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn references_and_expressions_get_their_values() {
    for (text, expected) in [
        ("${NOMAD_PORT_http}", json!("21000")),
        ("${ NOMAD_PORT_http }", json!("21000")),
        (
            "-p ${NOMAD_PORT_http}/${attr.cpu.arch}",
            json!("-p 21000/amd64"),
        ),
        (
            "${attr.driver.docker}-${attr.driver.docker.version}",
            json!("1-27.1"),
        ),
        ("${attr.unique.network.ip-address}", json!("10.0.0.1")),
        ("${meta.rack} on ${node.unique.name}", json!("r7 on web-3")),
        ("${NOMAD_META_rack.row}", json!("r7")),
        ("${env[\"odd name\"]}", json!("odd")),
        ("${upper(attr.cpu.arch)}", json!("AMD64")),
        ("${jsondecode(LIST)}", json!([1, 2])),
        ("n=${int(NOMAD_PORT_http / 1000) + 1}", json!("n=22")),
        ("${hasindex(jsondecode(LIST), 2)}", json!(false)),
        (
            "%{ if meta.rack == \"r7\" }yes%{ else }no%{ endif }",
            json!("yes"),
        ),
        ("${meta.rack == \"r8\" ? 1 : \"none\"}", json!("none")),
        // Escapes, and what needs none.
        (
            "$${NOMAD_PORT_http} $HOME 100% %%{http_code} $",
            json!("${NOMAD_PORT_http} $HOME 100% %{http_code} $"),
        ),
        ("C:\\dir\n\"quoted\"", json!("C:\\dir\n\"quoted\"")),
        ("a\\n${meta.rack}", json!("a\\nr7")),
    ] {
        assert_eq!(resolved(json!(text)), Ok(expected), "{text}");
    }
    let deep = json!({"args": ["-p", "${NOMAD_PORT_http}"], "labels": [{"${meta.rack}": "$${x}", "n": 1}], "none": null});
    let expected =
        json!({"args": ["-p", "21000"], "labels": [{"r7": "${x}", "n": 1}], "none": null});
    assert_eq!(resolved(deep), Ok(expected));
}

#[test]
fn every_problem_is_told() {
    let problems = resolved(json!([
        "${nope}",
        "${attr.cpu.cores} ${later}",
        "${env[\"nope\"]}",
        "${upper(1, 2)}",
        "${uuidv4()}",
        "${file(\"/etc/passwd\")}",
        "${HOME:-x}",
        "%{http_code}",
        "${open",
    ]))
    .unwrap_err();
    assert_eq!(problems.len(), 9, "{problems:#?}");
    for (problem, piece) in problems.iter().zip([
        "unknown variable `${nope}` (to pass it on as it is, write `$$${nope}` in the job file)",
        "unknown variable `${attr.cpu.cores}`",
        "Invalid index",
        "Too many function arguments",
        "There is no function named \"uuidv4\"",
        "There is no function named \"file\"",
        "`${HOME:-x}`: ",
        "`%{http_code}`: ",
        "`${open`: ",
    ]) {
        assert!(problem.contains(piece), "no `{piece}` in {problem}");
    }
}

#[test]
fn what_is_built_at_run_time_is_bounded() {
    let bomb = format!(
        "${{{}}}",
        "concat(".repeat(10) + "[1]" + &", [1])".repeat(10)
    );
    assert!(resolved(json!(bomb)).is_ok());
    let inner = "%{ for a in [1,2,3,4,5,6,7,8,9,10] }";
    let text = format!("{}x{}", inner.repeat(12), "%{ endfor }".repeat(12));
    let problems = resolved(json!(text)).unwrap_err();
    assert!(problems[0].contains("too large"), "{problems:?}");
    let deep = format!("${{{}1{}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(resolved(json!(deep)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_text_has_a_value_or_a_problem(text in ".{0,40}|(\\$\\{|\\}|%\\{|%|\\$|a|env\\[\"| if | \\? |\"|~){0,14}") {
        let value = resolved(json!(text));
        if !text.contains("${") && !text.contains("%{") {
            assert_eq!(value, Ok(json!(text)));
        }
    }
}
