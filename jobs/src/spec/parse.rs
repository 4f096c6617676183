use super::declare;
use super::decode::{Decoder, label};
use super::evaluate::{Evaluator, TOO_MUCH};
use super::json_form;
use super::limits;
use super::problem::{Problem, Source};
use super::schema;
use super::scope::Scope;
use super::syntax::{self, json_problem};
use super::{Surroundings, Variables};
use crate::wire;
use hcl_edit::Span;
use hcl_edit::structure::{Block, Body, Structure};
use serde_json::Value;
use std::ops::Range;

/// Bytes of the longest job file.
const LONGEST: usize = 4 << 20;

/// Marks of structure (brackets, separators, operators) in one job file: what the parser makes of
/// each is some hundred times as large.
const MOST_MARKS: usize = 200_000;

/// Reads a job file: HCL, or the JSON of the API when it begins with `{`.
///
/// `surroundings` serves the functions that read files and those that draw random numbers.
///
/// # Errors
/// Every problem of the file at once.
pub fn parse(
    text: &str,
    file_name: &str,
    variables: &Variables,
    surroundings: &Surroundings<'_>,
) -> Result<wire::Job, Vec<Problem>> {
    let source = Source::new(file_name, text);
    check_length(&source).map_err(|problem| vec![problem])?;
    if text.trim_start_matches(' ').starts_with('{') {
        return parse_json(&source, variables, surroundings);
    }
    parse_hcl(&source, variables, surroundings)
}

fn check_length(source: &Source<'_>) -> Result<(), Problem> {
    if source.text.len() > LONGEST {
        return Err(source.problem(
            None,
            format!("File too large; A job file may have at most {LONGEST} bytes."),
        ));
    }
    Ok(())
}

/// Refuses a text that the parser would make too much of.
pub(super) fn check_size(source: &Source<'_>) -> Result<(), Problem> {
    check_length(source)?;
    let marks = source
        .text
        .bytes()
        .filter(|byte| b"={[(,:?+-*/%<>&|!".contains(byte));
    if marks.count() > MOST_MARKS {
        return Err(source.problem(
            None,
            format!("File too large; A job file may hold at most {MOST_MARKS} brackets, separators and operators. Large texts belong in artifacts."),
        ));
    }
    Ok(())
}

/// Reads a job in the JSON of the API: alone, or below the key `Job`. Capitals of keys do not
/// matter.
///
/// # Errors
/// Everything that is wrong with the JSON.
pub fn parse_api(text: &str, file_name: &str) -> Result<wire::Job, Vec<Problem>> {
    let source = Source::new(file_name, text);
    let value = read_json(&source).map_err(|problem| vec![problem])?;
    api_job(&source, value)
}

fn parse_hcl(
    source: &Source<'_>,
    variables: &Variables,
    surroundings: &Surroundings<'_>,
) -> Result<wire::Job, Vec<Problem>> {
    check_size(source).map_err(|problem| vec![problem])?;
    let syntax::Read {
        body,
        text: readable,
        mut problems,
    } = syntax::read(source);
    let mut job = Value::Null;
    if let Some(body) = body {
        let patched;
        let source = match &readable {
            Some(readable) => {
                patched = source.with_text(readable);
                &patched
            }
            None => source,
        };
        let evaluator = Evaluator::new(source, surroundings);
        let mut decoder = Decoder {
            evaluator: &evaluator,
            problems: Vec::new(),
            is_torn: !problems.is_empty(),
        };
        job = decode(&mut decoder, &body, variables);
        problems.append(&mut decoder.problems);
        if problems.is_empty() && evaluator.budget().is_spent() {
            // It was spent on a value of a variable that has no place in the file.
            problems.push(source.problem(None, TOO_MUCH));
        }
    }
    if problems.is_empty()
        && let Err(limit) = limits::check_job(&job)
    {
        problems.push(source.problem(None, format!("Too large; {limit}.")));
    }
    if problems.is_empty() {
        match serde_json::from_value(job) {
            Ok(job) => return Ok(job),
            Err(error) => problems.push(source.problem(None, format!("Invalid job; {error}"))),
        }
    }
    problems.sort_by_key(|problem| (problem.file != source.file, problem.line, problem.column));
    Err(problems)
}

/// The job of a file as JSON of the API; null when there is none.
fn decode(decoder: &mut Decoder<'_, '_>, body: &Body, given: &Variables) -> Value {
    top_level(decoder, body);
    let variables = declare::variables(decoder, body, given);
    let locals = declare::locals(decoder, body, &variables);
    let scope = Scope::root(
        [
            ("var".to_owned(), Value::Object(variables)),
            ("local".to_owned(), Value::Object(locals)),
        ]
        .into(),
    );
    let blocks: Vec<&Block> = body.get_blocks("job").collect();
    let Some((first, more)) = blocks.split_first() else {
        decoder.report(None, "Missing job block; A job block is required", "");
        return Value::Null;
    };
    for block in more {
        decoder.report(
            block.ident.span(),
            "Duplicate job block; Only one job block is allowed.",
            "",
        );
    }
    let mut job = decoder.body(&first.body, first.ident.span(), &schema::JOB, &scope);
    let mut labels = first.labels.iter().map(label);
    match labels.next() {
        Some((name, _)) => {
            for key in ["ID", "Name"] {
                job.entry(key).or_insert_with(|| name.as_str().into());
            }
        }
        None => decoder.report(
            first.ident.span(),
            "Missing name for job; All job blocks must have 1 labels (name).",
            "",
        ),
    }
    if let Some((_, span)) = labels.next() {
        decoder.report(
            span,
            "Extraneous label for job; Only 1 labels (name) are expected for job blocks.",
            "",
        );
    }
    Value::Object(job)
}

fn top_level(decoder: &mut Decoder<'_, '_>, body: &Body) {
    for structure in body.iter() {
        match structure {
            Structure::Attribute(attribute) => decoder.report(
                attribute.key.span(),
                format!(
                    "Unsupported argument; An argument named \"{}\" is not expected here.",
                    attribute.key.as_str()
                ),
                "",
            ),
            Structure::Block(block) => {
                let known = ["job", "variable", "variables", "locals"];
                let name = block.ident.as_str();
                if !known.contains(&name) {
                    let hint = super::problem::nearest(name, known)
                        .map(|known| format!("Did you mean \"{known}\"?"));
                    decoder.report(
                        block.ident.span(),
                        format!("Unsupported block type; Blocks of type \"{name}\" are not expected here."),
                        hint.unwrap_or_default(),
                    );
                }
            }
        }
    }
}

/// A job file in the JSON form of the language, or a job of the API.
fn parse_json(
    source: &Source<'_>,
    variables: &Variables,
    surroundings: &Surroundings<'_>,
) -> Result<wire::Job, Vec<Problem>> {
    let value = read_json(source).map_err(|problem| vec![problem])?;
    let document = json_form::locate(source.text).filter(json_form::is_job_file);
    let Some(json_form::Located {
        item: json_form::Item::Map(document),
        ..
    }) = document
    else {
        return api_job(source, value);
    };
    let (text, origin) = json_form::to_hcl(source, &document)?;
    parse_hcl(&Source::made(&text, origin), variables, surroundings)
}

fn read_json(source: &Source<'_>) -> Result<Value, Problem> {
    limits::check_text(source.text.as_bytes())
        .map_err(|limit| source.problem(None, format!("Too large; {limit}.")))?;
    serde_json::from_str(source.text).map_err(|error| json_problem(source, &error))
}

/// `{"Job": {…}}` or a bare job object.
fn api_job(source: &Source<'_>, value: Value) -> Result<wire::Job, Vec<Problem>> {
    let job = bare_job(source, value).map_err(|problem| vec![problem])?;
    serde_json::from_value(job).map_err(|error| {
        let again = read_json(source).and_then(|value| bare_job(source, value));
        let misfits = again.map(|job| wire::misfits::<wire::Job>(job, source.text.len()));
        let document = json_form::locate(source.text);
        let told = misfits.unwrap_or_default().into_iter().map(|misfit| {
            let place = document
                .as_ref()
                .and_then(|document| place(document, &misfit.path));
            source.problem(place, format!("Invalid value; {misfit}"))
        });
        let mut problems: Vec<Problem> = told.collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        if problems.is_empty() {
            problems.push(source.problem(None, format!("Invalid JSON; {error}")));
        }
        problems
    })
}

/// The job of a document, with the keys as they are known.
fn bare_job(source: &Source<'_>, value: Value) -> Result<Value, Problem> {
    let wrapper = value.as_object().and_then(|map| {
        map.keys()
            .find(|key| key.eq_ignore_ascii_case(WRAPPER))
            .cloned()
    });
    let mut job = match (wrapper, value) {
        (Some(key), Value::Object(mut map)) => map.remove(&key).unwrap_or_default(),
        (_, value) => value,
    };
    if !job.is_object() {
        return Err(source.problem(None, "Job must be specified"));
    }
    wire::shapes::JOB.restore_case(&mut job);
    limits::check_job(&job)
        .map_err(|limit| source.problem(None, format!("Too large; {limit}.")))?;
    Ok(job)
}

/// The key of a job in a document that holds more.
const WRAPPER: &str = "Job";

/// Where a value of a job stands in its document.
fn place(document: &json_form::Located<'_>, path: &[wire::Step]) -> Option<Range<usize>> {
    let job = document.at_key(WRAPPER).unwrap_or(document);
    let value = path.iter().try_fold(job, |at, step| match step {
        wire::Step::Key(key) => at.at_key(key),
        wire::Step::Entry(entry) => at.entry(*entry),
    })?;
    Some(value.span.clone())
}
