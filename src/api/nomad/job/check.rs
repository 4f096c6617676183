//! From a posted job to one that obeys every rule.

use jobs::{
    model::{DEFAULT_NAMESPACE, Job},
    spec::{self, Defaults},
    wire,
};

use crate::{
    Api,
    error::Error,
    forward::ANY_REGION,
    nomad::{namespace, operator::scheduler::memory_warnings, query::Query},
};
use sys::clock;

/// A posted job that obeys every rule.
#[derive(Debug)]
pub(super) struct Checked {
    /// Canonical.
    pub(super) job: Job,
    /// What is doubtful about it, as one text; empty for nothing.
    pub(super) warnings: String,
}

/// Region and namespace that the body of a request names besides its job.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Region.
    pub(super) region: Option<String>,
    /// Namespace.
    pub(super) namespace: Option<String>,
}

/// Puts the job where it belongs, fills in its defaults and checks it.
pub(super) fn check(
    api: &Api,
    query: &Query,
    job: wire::Job,
    place: Place,
) -> Result<Checked, Error> {
    let validation = validation(api, query, job, place)?;
    match validation.job {
        Some(job) if validation.errors.is_empty() => Ok(Checked {
            job,
            warnings: list_warnings(&validation.warnings),
        }),
        _ => Err(Error::internal(spec::list_errors(&validation.errors))),
    }
}

/// What is wrong with a job, wherever it belongs. The query string wins over the body, that over
/// the job.
pub(super) fn validation(
    api: &Api,
    query: &Query,
    mut job: wire::Job,
    place: Place,
) -> Result<spec::Validation, Error> {
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    let region = named(query.get("region").map(str::to_owned))
        .or_else(|| named(place.region))
        .or_else(|| named(job.region.take()))
        .filter(|region| region != ANY_REGION);
    if region.is_some_and(|region| region != api.facts().region) {
        return Err(Error::internal("No path to region"));
    }
    let namespace = named(query.named_namespace().map(str::to_owned))
        .or_else(|| named(place.namespace))
        .or_else(|| named(job.namespace.take()))
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    if let Some(refusal) = namespace::refusal(&namespace) {
        return Err(Error::internal(refusal));
    }
    job.region = Some(api.facts().region.clone());
    job.namespace = Some(namespace.clone());
    let defaults = Defaults {
        region: api.facts().region.clone(),
        namespace,
        knows_zone: |name| clock::zone(name).is_some(),
        ..Defaults::default()
    };
    let mut validation = spec::canonicalize_and_validate(job, &defaults);
    if let Some(job) = &validation.job {
        validation.warnings.extend(memory_warnings(api, job));
    }
    Ok(validation)
}

/// Warnings as one text, in the published form.
pub(super) fn list_warnings(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let noun = if warnings.len() == 1 {
        "warning"
    } else {
        "warnings"
    };
    let mut text = format!("{} {noun}:\n", warnings.len());
    for warning in warnings {
        text.push_str("\n* ");
        text.push_str(warning.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_and_listed() {
        assert_eq!(list_warnings(&[]), "");
        assert_eq!(list_warnings(&["a".into()]), "1 warning:\n\n* a");
        assert_eq!(
            list_warnings(&["a".into(), " b\n".into()]),
            "2 warnings:\n\n* a\n* b"
        );
    }
}
