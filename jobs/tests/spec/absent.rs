use crate::job;
use jobs::model::{ABSENT, Lack, absent_refusal};
use jobs::spec::{Defaults, Surroundings, Variables, canonicalize_and_validate, parse};
use std::path::Path;

const BEGIN: &str = "<!-- begin: absent -->\n";
const END: &str = "<!-- end: absent -->\n";

/// The table of what this version does not do, as the docs have it.
fn table() -> String {
    let mut text = String::from("| in a job file | what happens | why |\n| --- | --- | --- |\n");
    for absent in ABSENT {
        let lack = match absent.lack {
            Lack::Ignored => "runs without it, with a warning",
            Lack::Refused => "registered, not placed",
        };
        let (name, sentence) = (absent.name, absent.sentence);
        text.push_str(&format!("| `{name}` | {lack} | {sentence} |\n"));
    }
    text
}

#[test]
fn the_docs_list_what_the_code_lacks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/job-specification.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (listed, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{}{END}{tail}", table())).unwrap();
        return;
    }
    assert_eq!(listed, table(), "UPDATE_GOLDEN=1 rewrites it");
}

/// Warnings and the refusal of a job with these lines in its group.
fn outcome(lines: &str) -> (Vec<String>, Option<String>) {
    let text = format!(
        "job \"a\" {{\n group \"g\" {{\n{lines}\n task \"t\" {{\n driver = \"raw_exec\"\n }}\n }}\n}}"
    );
    let parsed = parse(&text, "a", &Variables::default(), &Surroundings::default()).unwrap();
    let validation = canonicalize_and_validate(parsed, &Defaults::default());
    assert_eq!(validation.errors, Vec::<String>::new());
    let job = validation.job.unwrap();
    let refusal = absent_refusal(&job.task_groups[0]);
    (validation.warnings, refusal)
}

#[test]
fn what_cannot_be_missed_is_not_placed_and_the_rest_is_said() {
    let (warnings, refusal) = outcome(
        "volume \"v\" {\n type = \"csi\"\n source = \"s\"\n access_mode = \"single-node-writer\"\n \
         attachment_mode = \"file-system\"\n }",
    );
    let sentence = "volumes of plugins are not mounted, so its data would be missing or lost; host volumes are";
    let name = "group.volume with type \"csi\"";
    assert_eq!(
        warnings,
        [format!("{name} (group g): {sentence}; nothing is placed")]
    );
    assert_eq!(refusal, Some(format!("{name}: {sentence}")));
    assert_eq!(
        outcome("volume \"v\" {\n type = \"host\"\n source = \"s\"\n }"),
        (Vec::new(), None)
    );
    let (warnings, refusal) = outcome("consul {}");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("consul (group g): there is one catalog"));
    assert_eq!(refusal, None);
    assert_eq!(outcome("count = 2"), (Vec::new(), None));
}

#[test]
fn the_example_jobs_lack_nothing() {
    for (path, text) in crate::files("examples") {
        let job = job(&text, &path.display().to_string());
        for group in &job.task_groups {
            assert_eq!(absent_refusal(group), None, "{}", path.display());
        }
    }
}
