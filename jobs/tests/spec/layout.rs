use crate::files;
use jobs::spec::{Surroundings, Variables, format, parse};

/// Every file that can be read keeps its meaning, and its layout once it has it.
#[test]
fn layout_changes_no_meaning() {
    for folder in [
        "examples",
        "tests/spec/good",
        "tests/spec/published",
        "tests/spec/invalid",
        "tests/spec/bad",
    ] {
        for (path, text) in files(folder) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.ends_with(".nomad") {
                continue;
            }
            let Ok(formatted) = format(&text, name) else {
                assert!(folder.ends_with("bad"), "{}", path.display());
                continue;
            };
            assert_eq!(
                format(&formatted, name).unwrap(),
                formatted,
                "{}",
                path.display()
            );
            let squeeze =
                |text: &str| -> String { text.replace([' ', '\t'], "").replace("\\t", "") };
            assert_eq!(squeeze(&formatted), squeeze(&text), "{}", path.display());
            // What is left for run time is kept as it is written, blanks included.
            let read = |text: &str| {
                let job = parse(text, name, &Variables::default(), &Surroundings::default()).ok();
                job.map(|job| squeeze(&serde_json::to_string(&job).unwrap()))
            };
            assert_eq!(read(&formatted), read(&text), "{}", path.display());
        }
    }
}

#[test]
fn the_examples_have_the_canonical_layout() {
    for (path, text) in files("examples") {
        let name = path.display().to_string();
        assert_eq!(format(&text, &name).unwrap(), text, "{name}");
    }
}
