use jobs::spec::{Surroundings, VariableFile, Variables, format, parse};
use std::time::{Duration, Instant};

/// Stack of the smallest thread that reads job files: an async runtime's worker.
const STACK: usize = 2 << 20;

/// How long one text may take, on a busy machine and without optimization.
const SLOWEST: Duration = Duration::from_secs(60);

/// The problems of a text, each on a line.
fn problems(text: &str, variables: &Variables) -> Vec<String> {
    match parse(text, "large", variables, &Surroundings::default()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Every text is refused in bounded time and stack, with a sentence that holds `piece`.
fn refused(texts: Vec<(&'static str, String)>) {
    let thread = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            for (piece, text) in texts {
                let start = Instant::now();
                let found = problems(&text, &Variables::default());
                let shown: String = text.chars().take(60).collect();
                assert!(
                    found.iter().any(|line| line.contains(piece)),
                    "no `{piece}` in {:?} of {shown:?}",
                    found.first()
                );
                assert!(found.len() <= 250, "{} problems of {shown:?}", found.len());
                if !text.starts_with('{') {
                    drop(format(&text, "large"));
                }
                let took = start.elapsed();
                assert!(took < SLOWEST, "{took:?} for {shown:?}");
            }
        });
    thread.unwrap().join().unwrap();
}

fn inside(body: &str) -> String {
    format!("job \"a\" {{\n{body}\n}}\n")
}

#[test]
fn damaged_texts_of_any_size_are_told() {
    const MANY: usize = 20_000;
    refused(vec![
        ("Argument or block", inside(&"a : 1\n".repeat(MANY))),
        ("", inside(&"a {\n".repeat(MANY))),
        ("", "}\n".repeat(MANY)),
        (
            "Invalid multi-line string",
            inside(&format!("a = \"{}", "x".repeat(10 * MANY))),
        ),
        ("", inside(&format!("a = {}", "\"${".repeat(MANY)))),
        ("", inside(&format!("a = {}", "[".repeat(MANY)))),
        ("", inside(&format!("a = {}1", "-".repeat(MANY)))),
        ("", inside(&format!("a = {}1", "b ? 1 : ".repeat(MANY)))),
        ("", inside(&format!("a = b{}", "[0".repeat(MANY)))),
        (
            "Unterminated template string",
            inside(&format!("a = <<A\n{}", "x\n".repeat(MANY))),
        ),
        (
            "",
            inside(&format!("a = <<A\n{}A\n", "%{ if true }".repeat(MANY))),
        ),
        ("Attribute redefined", inside(&"a = 1\n".repeat(MANY))),
        ("File too large", inside(&"a = [1,\n2]\n".repeat(5 * MANY))),
    ]);
}

#[test]
fn texts_that_build_much_are_refused() {
    let cycle: String = (0..900)
        .map(|n| format!("l{n} = local.l{}\n", (n + 1) % 900))
        .collect();
    let dynamic = |inner: String| {
        format!(
            "dynamic \"group\" {{\nfor_each = range(100)\nlabels = [\"g\"]\ncontent {{\n{inner}\n}}\n}}\n"
        )
    };
    let nested = "dynamic \"task\" {\nfor_each = range(100)\nlabels = [\"t\"]\ncontent {\ndynamic \"template\" {\nfor_each = range(1000)\ncontent {\ndata = \"x\"\n}\n}\n}\n}";
    let loops = "%{ for a in range(50) }".repeat(6);
    let ends = "%{ endfor }".repeat(6);
    refused(vec![
        (
            "Circular reference",
            format!("locals {{\na = local.a\n}}\n{}", inside("")),
        ),
        (
            "Circular reference",
            format!("locals {{\n{cycle}}}\n{}", inside("")),
        ),
        ("Expression too large", inside(&dynamic(nested.to_owned()))),
        (
            "Expression too large",
            inside(&format!("meta {{\na = \"{loops}x{ends}\"\n}}")),
        ),
        (
            "Expression too large",
            inside(&format!("meta {{\na = <<A\n{loops}x{ends}\nA\n}}")),
        ),
        (
            "Error in function call",
            inside("meta {\na = length(range(1000000000))\n}"),
        ),
        (
            "",
            inside(
                "meta {\na = join(\"\", [for a in range(5000) : [for b in range(5000) : \"x\"]])\n}",
            ),
        ),
        (
            "Too many locals",
            format!(
                "locals {{\n{}}}\n{}",
                (0..2000).map(|n| format!("l{n} = 1\n")).collect::<String>(),
                inside("")
            ),
        ),
        ("Too large", inside(&"group \"g\" {}\n".repeat(2000))),
    ]);
}

#[test]
fn json_of_any_depth_and_size_is_refused() {
    const MANY: usize = 20_000;
    let wrap = |open: &str, close: &str, depth: usize| {
        format!(
            "{{\"job\": {{\"a\": {}1{}}}}}",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    refused(vec![
        ("Invalid JSON", format!("{{\"Job\": {}", "[".repeat(MANY))),
        (
            "Invalid JSON",
            format!("{{\"Job\": {}", "{\"a\":".repeat(MANY)),
        ),
        ("Invalid JSON", wrap("[", "]", 200)),
        ("nested deeper", wrap("[", "]", 100)),
        ("nested deeper", wrap("{\"meta\": ", "}", 100)),
        (
            "Too large",
            format!("{{\"Job\": [{}0]}}", "0,".repeat(1_000_000)),
        ),
        (
            "Too large",
            format!("{{\"Job\": [{}0]}}", "{},".repeat(100_001)),
        ),
        (
            "",
            format!("{{\"Job\": {{\"Priority\": 1e{}}}}}", "9".repeat(MANY)),
        ),
        (
            "Unsupported argument",
            format!(
                "{{\"job\": {{\"a\": {{{}\"z\": 1}}}}}}",
                (0..MANY)
                    .map(|n| format!("\"k{n}\": 1,"))
                    .collect::<String>()
            ),
        ),
    ]);
}

#[test]
fn many_variables_take_no_more_than_their_share() {
    const MANY: usize = 3_000;
    let text: String = (0..MANY)
        .map(|n| format!("variable \"v{n}\" {{\n  type = number\n}}\n"))
        .collect();
    let values: String = (0..MANY).map(|n| format!("v{n} = {n}\n")).collect();
    let variables = Variables {
        files: vec![VariableFile {
            name: "values.hcl".into(),
            text: values,
        }],
        ..Variables::default()
    };
    let start = Instant::now();
    assert_eq!(
        problems(&(text + &inside("")), &variables),
        Vec::<String>::new()
    );
    assert!(start.elapsed() < SLOWEST);
}
