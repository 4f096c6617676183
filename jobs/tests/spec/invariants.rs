use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse};
use jobs::wire;
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use serde_json::{Value, json};

/// Pieces of job files, joined at random: closer to the grammar than random letters.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "job \"a\" {",
        "}",
        "{",
        "group \"g\" {",
        "task \"t\" {",
        "driver = \"raw_exec\"",
        "\n",
        " = ",
        "config {",
        "args = [\"${NOMAD_PORT_http}\"]",
        "count = 1 + 2",
        "${",
        "%{ for x in [1] }",
        "%{ endfor }",
        "<<EOF\n",
        "\nEOF\n",
        "locals {",
        "variable \"v\" {",
        "default = [1, 2]",
        "dynamic \"port\" {",
        "for_each = var.v",
        "content {",
        "join(\",\", [1])",
        "format(\"%5d\", 3)",
        "local.a",
        "a = local.a",
        "interval = \"5s\"",
        "(",
        ")",
        "\"",
        "é",
        "[for k, v in {a = 1} : v]",
        "network {",
        "port \"http\" {}",
        "service {",
        "check {",
        "substr(\"abc\", -1, 9)",
        "range(1, 5)",
        "-1",
        "!true",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec![
            "a",
            "b",
            "http",
            "",
            "x y",
            "${NOMAD_X}",
            "raw_exec",
            "host",
            "bridge",
            "../..",
            "batch",
            "system"
        ])
        .prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        proptest::strategy::Just(Value::Null),
    ]
}

fn job() -> impl Strategy<Value = Value> {
    (prop::collection::vec(name(), 12), prop::collection::vec(-5_i64..200, 12)).prop_map(|(names, numbers)| {
        json!({
            "ID": names[0], "Type": names[1], "Priority": numbers[0], "Update": { "Canary": numbers[1], "MaxParallel": numbers[2] },
            "TaskGroups": [{
                "Name": names[2], "Count": numbers[3],
                "RestartPolicy": { "Attempts": numbers[4], "Interval": 60_000_000_000_i64, "Mode": names[3] },
                "ReschedulePolicy": { "Attempts": numbers[5], "Unlimited": names[4] },
                "Networks": [{ "Mode": names[5], "DynamicPorts": [{ "Label": names[6], "To": numbers[6] }] }],
                "Tasks": [{
                    "Name": names[7], "Driver": names[8], "Resources": { "CPU": numbers[7], "Cores": numbers[8] },
                    "Services": [{ "PortLabel": names[9], "Checks": [{ "Type": "tcp", "Interval": numbers[9] * 100_000_000, "Timeout": "2s" }] }],
                    "Artifacts": [{ "GetterSource": names[10], "RelativeDest": names[11] }],
                }],
            }],
        })
    })
}

proptest! {
    #![proptest_config(Config { cases: 128, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_text_never_panics(text in text(), noise in any::<String>()) {
        for text in [text, noise] {
            if let Ok(job) = parse(&text, "random.nomad", &Variables::default(), &Surroundings::default()) {
                canonicalize_and_validate(job, &Defaults::default());
            }
        }
    }

    #[test]
    fn canonicalizing_is_idempotent(value in job()) {
        let Ok(job) = serde_json::from_value::<wire::Job>(value) else { return Ok(()) };
        let Some(first) = canonicalize_and_validate(job, &Defaults::default()).job else { return Ok(()) };
        let json = serde_json::to_value(&first).unwrap();
        let second = canonicalize_and_validate(serde_json::from_value(json).unwrap(), &Defaults::default());
        assert_eq!(second.job, Some(first));
    }
}

/// Stack of the smallest thread that reads job files: an async runtime's worker.
const STACK: usize = 2 << 20;

#[test]
fn nesting_fits_the_stack_or_is_refused() {
    let wrap = |open: &str, close: &str, depth: usize| {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    let mut texts = Vec::new();
    for depth in [1, 10, 30, 60, 64, 65, 100, 2000] {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{ a = ", "}"),
            ("upper(", ")"),
            ("try(", ")"),
            ("\"${", "}\""),
            ("[for x in [1] : ", "]"),
            ("true ? ", " : 2"),
            ("\"%{ for x in [1] }${", "}%{ endfor }\""),
            ("-", ""),
            ("1 + ", ""),
        ] {
            let expr = wrap(open, close, depth);
            texts.push(format!("job \"a\" {{ \n meta {{ \n x = {expr} \n }} \n }}"));
            texts.push(format!(
                "variable \"x\" {{ \n default = {expr} \n }} \n job \"a\" {{}}"
            ));
            texts.push(format!("job \"a\" {{ \n group \"g\" {{ \n task \"t\" {{ \n config {{ \n x = {expr} \n }} }} }} }}"));
        }
        texts.push(format!(
            "job \"a\" {{ \n group \"g\" {{ \n task \"t\" {{ \n config {{ {} {} }} }} }} }}",
            "x {\n".repeat(depth),
            "}\n".repeat(depth)
        ));
        let types = wrap("list(", ")", depth).replace('1', "string");
        texts.push(format!(
            "variable \"x\" {{ \n type = {types} \n default = [] \n }} \n job \"a\" {{}}"
        ));
        let locals: String = (1..=depth)
            .map(|n| format!("l{n} = [local.l{}]\n", n - 1))
            .collect();
        texts.push(format!(
            "locals {{ \n l0 = 1 \n {locals} }} \n job \"a\" {{ \n meta {{ \n x = jsonencode(local.l{depth}) \n }} \n }}"
        ));
        texts.push(format!(
            "{{\"Job\": {}}}",
            wrap("{\"Config\": ", "}", depth)
        ));
    }
    let thread = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            for text in texts {
                if let Ok(job) = parse(
                    &text,
                    "deep.nomad",
                    &Variables::default(),
                    &Surroundings::default(),
                ) {
                    canonicalize_and_validate(job, &Defaults::default());
                }
            }
        });
    thread.unwrap().join().unwrap();
}

#[test]
fn expressions_cannot_fill_the_memory() {
    let doubling: String = (1..60)
        .map(|n| format!("l{n} = \"${{local.l{0}}}${{local.l{0}}}\"\n", n - 1))
        .collect();
    for body in [
        format!("l0 = \"0123456789\"\n{doubling}"),
        "l0 = format(\"%2000000000d\", 1)".to_owned(),
        "l0 = join(\",\", range(0, 1000000000))".to_owned(),
        "l0 = indent(1000000000, \"a\\nb\")".to_owned(),
    ] {
        let text = format!("locals {{\n{body}\n}}\njob \"a\" {{}}");
        let parsed = parse(
            &text,
            "large.nomad",
            &Variables::default(),
            &Surroundings::default(),
        );
        assert!(parsed.is_err() || body.contains("format"), "{body}");
    }
}

/// The problems of a text, each on a line.
fn problems(text: &str) -> Vec<String> {
    match parse(
        text,
        "large.nomad",
        &Variables::default(),
        &Surroundings::default(),
    ) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn evaluation_ends_when_its_budget_is_spent() {
    let doubled = |first: &str, next: &dyn Fn(&str) -> String| {
        let locals: String = (1..=30)
            .map(|n| format!("  l{n:02} = {}\n", next(&format!("local.l{:02}", n - 1))))
            .collect();
        // What stands behind it, and what would swallow the refusal, changes nothing.
        format!(
            "locals {{\n  l00 = {first}\n{locals}  z1 = can(local.l30)\n  z2 = try(local.l30, 1)\n}}\njob \"x\" {{\n  colour = local.z1\n}}\n"
        )
    };
    let blocks = |inner: &str| {
        format!(
            "job \"x\" {{\n  dynamic \"group\" {{\n    for_each = range(1000)\n    labels = [\"g\"]\n    content {{\n{inner}\n}}\n  }}\n}}\n"
        )
    };
    for text in [
        doubled("[1, 2]", &|before| format!("[{before}, {before}]")),
        doubled("\"ab\"", &|before| format!("\"${{{before}}}${{{before}}}\"")),
        doubled("{a = 1}", &|before| format!("{{a = {before}, b = {before}}}")),
        // A loop that keeps nothing.
        "locals {\n  many = range(1000)\n  steps = length([for a in local.many : length([for b in local.many : length([for c in local.many : 1 if false])])])\n}\njob \"x\" {}\n".to_owned(),
        // Blocks that are made of nothing.
        blocks("dynamic \"task\" {\n for_each = range(1000)\n labels = [\"t\"]\n content {\n driver = \"a\"\n }\n}"),
    ] {
        let found = problems(&text);
        assert!(
            found.len() == 1 && found[0].contains("Expression too large"),
            "{found:?}\n{text}"
        );
    }
}
