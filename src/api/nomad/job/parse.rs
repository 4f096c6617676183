//! Job texts and jobs that are looked at and not kept.

use axum::{extract::State, response::Response};
use jobs::{
    spec::{self, Surroundings, Variables},
    wire,
};

use super::check::{Place, list_warnings, validation};
use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use sys::random;

/// `PUT /v1/validate/job`
pub(super) async fn validate(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let (with, bytes) = (api.clone(), body.len());
    let work = move || validated(&with, &query, &body);
    api.heavy().run_sized(bytes, work).await?
}

fn validated(api: &Api, query: &Query, body: &Raw) -> Result<Response, Error> {
    let request: wire::JobValidateRequest = body.json_of(&wire::shapes::JOB_VALIDATE_REQUEST)?;
    let job = request
        .job
        .ok_or_else(|| Error::bad_request("Job must be specified"))?;
    let validation = validation(api, query, *job, Place::default())?;
    let error = if validation.errors.is_empty() {
        String::new()
    } else {
        spec::list_errors(&validation.errors)
    };
    query.json(&wire::JobValidateResponse {
        driver_config_validated: true,
        error,
        validation_errors: validation.errors,
        warnings: list_warnings(&validation.warnings),
    })
}

/// `PUT /v1/jobs/parse`
pub(super) async fn parse(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let with = api.clone();
    // However short a file is, its expressions may build much.
    api.heavy()
        .run(move || parsed(&with, &query, &body))
        .await?
}

fn parsed(api: &Api, query: &Query, body: &Raw) -> Result<Response, Error> {
    let request: wire::JobsParseRequest = body.json()?;
    if request.job_hcl.is_empty() {
        return Err(Error::bad_request("Job spec is empty"));
    }
    if request.hcl_v1 {
        return Err(Error::bad_request(
            "HCLv1 job files are not read any more: write the job in HCL2 and leave \"hclv1\" out",
        ));
    }
    let job = parse_text(&request)
        .map_err(|text| Error::bad_request(format!("Failed to parse job: {}", text.trim_end())))?;
    if request.canonicalize {
        let validation = validation(api, query, job, Place::default())?;
        let Some(job) = validation.job else {
            let errors = spec::list_errors(&validation.errors);
            return Err(Error::bad_request(format!(
                "Failed to parse job: {}",
                errors.trim_end()
            )));
        };
        return query.json(&wire::Complete(job, &wire::shapes::JOB));
    }
    query.json(&job)
}

/// The functions that read files are not there: they would read those of the server.
fn parse_text(request: &wire::JobsParseRequest) -> Result<wire::Job, String> {
    // Whoever asks may have one set of values for several files.
    let mut variables = Variables {
        tolerate_undeclared: true,
        ..Variables::default()
    };
    if !request.variables.is_empty() {
        variables.files.push(spec::VariableFile {
            name: "input.vars".to_owned(),
            text: request.variables.clone(),
        });
    }
    let surroundings = Surroundings {
        seed: random::seed_bytes(),
        ..Surroundings::default()
    };
    spec::parse(&request.job_hcl, "input.hcl", &variables, &surroundings).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}
