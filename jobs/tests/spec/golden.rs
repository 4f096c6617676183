use crate::{files, golden, lines};
use jobs::spec::{Defaults, ReadFile, VariableFile, Variables, canonicalize_and_validate, parse};

/// Files that only the tests know.
struct Fixed;

impl ReadFile for Fixed {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "greeting.txt" => Ok(b"good morning\n".to_vec()),
            other => Err(format!("open {other}: no such file")),
        }
    }
    fn exists(&self, path: &str) -> bool {
        path == "greeting.txt"
    }
    fn absolute(&self, path: &str) -> Result<String, String> {
        Ok(format!("/work/{path}"))
    }
}

/// Input values from the comments `# var a=b`, `# env A=b` and `# file a = "b"` of a test file.
fn variables(text: &str) -> Variables {
    let mut variables = Variables::default();
    for line in text.lines() {
        if let Some((name, value)) = line
            .strip_prefix("# var ")
            .and_then(|rest| rest.split_once('='))
        {
            variables.flags.push((name.into(), value.into()));
        } else if let Some((name, value)) = line
            .strip_prefix("# env ")
            .and_then(|rest| rest.split_once('='))
        {
            variables.environment.insert(name.into(), value.into());
        } else if let Some(rest) = line.strip_prefix("# file ") {
            variables.files.push(VariableFile {
                name: "values.hcl".into(),
                text: rest.into(),
            });
        }
    }
    variables
}

fn each(folder: &str, ending: &str, show: impl Fn(&str, &str) -> String) {
    for (path, text) in files(folder) {
        if path
            .extension()
            .is_some_and(|ending| ending == "nomad" || ending == "json")
        {
            let name = path.file_name().unwrap().to_str().unwrap();
            let out = path.with_file_name(format!("{name}.{ending}"));
            golden(&out, &show(&text, name));
        }
    }
}

#[test]
fn good_files_become_the_recorded_json() {
    each("tests/spec/good", "out", |text, name| {
        let job = match parse(text, name, &variables(text), Some(&Fixed)) {
            Ok(job) => job,
            Err(problems) => panic!("{name}: {}", lines(&problems)),
        };
        let mut value = serde_json::to_value(&job).unwrap();
        strip(&mut value);
        serde_json::to_string_pretty(&value).unwrap() + "\n"
    });
}

/// Leaves out what was not written.
fn strip(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn bad_files_give_the_recorded_problems() {
    each("tests/spec/bad", "out", |text, name| {
        match parse(text, name, &variables(text), None) {
            Ok(_) => panic!("{name}: no problem found"),
            Err(problems) => lines(&problems),
        }
    });
}

#[test]
fn invalid_jobs_give_the_recorded_errors() {
    each("tests/spec/invalid", "out", |text, name| {
        let job = match parse(text, name, &variables(text), None) {
            Ok(job) => job,
            Err(problems) => panic!("{name}: {}", lines(&problems)),
        };
        let validation = canonicalize_and_validate(job, &Defaults::default());
        format!(
            "errors:\n{}\nwarnings:\n{}",
            lines(&validation.errors),
            lines(&validation.warnings)
        )
    });
}
