use crate::{files, golden, lines};
use jobs::spec::{
    Defaults, ReadFile, Surroundings, VariableFile, Variables, canonicalize_and_validate, parse,
};
use jobs::wire::{Complete, shapes};

/// A key that opens nothing but the text of a test.
const KEY: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIBPQIBAAJBANLsegv8Z0pfgTLAM1/EemWg65vELd05d9ZwyzB6XUYcEpEvgWqe
WXrEPP6fv6FJt7EpjYyOXwOH+TuOBrNY4PMCAwEAAQJBAMu5ZNiW3h1TybJ/Oh/R
4nauy2MURUhb7YfOQjN8vQKs8XBlnhsKgvNvzZA3G3RAHTEbpAZvDIjfgO0aBkAd
VGECIQDyADwuy8cUOBAUdmak0r1RGdHSaCob9ylgUSyh60tQNwIhAN8gBeqE7Ea9
r5OClz1Y4RCjX/4rxaa2+KjAFP4dLX8lAiEAzQun8pqU1qvd7AiaVeN9pz7ySo4Z
x9I3C7Yb1CISkScCIQCHIJO0pe+aIAKXKT2Cz7LuKqNWARhgkOsi98E+7FjDaQIh
AN4IfbXSr3MEfQTknkRMQqMDkMYEBNuSHYKRnubuWsNw
-----END RSA PRIVATE KEY-----
";

/// Files that only the tests know.
struct Fixed;

impl ReadFile for Fixed {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "greeting.txt" => Ok(b"good morning\n".to_vec()),
            "key.pem" => Ok(KEY.into()),
            "binary" => Ok(vec![0xff, 0]),
            other => Err(format!("open {other}: no such file")),
        }
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        match folder {
            "files" => Ok(["b.txt", "a.txt", "c.md", "sub/d.txt"]
                .map(String::from)
                .into()),
            "none" => Ok(Vec::new()),
            other => Err(format!("open {other}: permission denied")),
        }
    }
    fn exists(&self, path: &str) -> bool {
        path == "greeting.txt"
    }
    fn absolute(&self, path: &str) -> Result<String, String> {
        Ok(format!("/work/{path}"))
    }
}

pub(crate) fn fixed() -> Surroundings<'static> {
    Surroundings {
        files: Some(&Fixed),
        seed: [7; 32],
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
        let job = match parse(text, name, &variables(text), &fixed()) {
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
        match parse(text, name, &variables(text), &Surroundings::default()) {
            Ok(_) => panic!("{name}: no problem found"),
            Err(problems) => lines(&problems),
        }
    });
}

#[test]
fn invalid_jobs_give_the_recorded_errors() {
    each("tests/spec/invalid", "out", |text, name| {
        let job = match parse(text, name, &variables(text), &Surroundings::default()) {
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

#[test]
fn defaults_by_type_are_the_recorded_ones() {
    each("tests/spec/canonical", "out", |text, name| {
        let job = crate::job(text, name);
        let shown = Complete(job, &shapes::JOB);
        serde_json::to_string_pretty(&shown).unwrap() + "\n"
    });
}
