use super::Findings;
use crate::model::{Cron, JobType, Parameterized, Periodic};
use crate::spec::Defaults;
use std::collections::BTreeSet;

/// A `periodic` block with its defaults.
pub(super) fn periodic(
    findings: &mut Findings,
    given: Option<Periodic>,
    job_type: JobType,
    defaults: &Defaults,
) -> Option<Box<Periodic>> {
    let given = given?;
    findings.require(is_batch(job_type), || {
        "Periodic can only be used with \"batch\" or \"sysbatch\" scheduler".into()
    });
    let enabled = given.enabled.unwrap_or(true);
    let spec = given.spec.unwrap_or_default();
    let specs = given.specs.unwrap_or_default();
    if enabled {
        findings.require(spec.is_empty() || specs.is_empty(), || {
            "Only cron or crons may be used".into()
        });
        findings.require(!spec.is_empty() || !specs.is_empty(), || {
            "Must specify a spec".into()
        });
        let single = Some(&spec).filter(|spec| !spec.is_empty());
        for text in single.into_iter().chain(&specs) {
            if let Err(detail) = Cron::parse(text) {
                findings.error(format!("Invalid cron spec {text:?}: {detail}"));
            }
        }
    }
    if !spec.is_empty() {
        findings.warning(
            "cron is deprecated and may be removed in a future release. Use crons instead",
        );
    }
    let zone = given.time_zone.unwrap_or_default();
    findings.require(zone.is_empty() || (defaults.knows_zone)(&zone), || {
        format!("Invalid time zone {zone:?}: unknown time zone")
    });
    Some(Box::new(Periodic {
        enabled: Some(enabled),
        spec: Some(spec),
        specs: Some(specs).filter(|list| !list.is_empty()),
        spec_type: Some("cron".into()),
        prohibit_overlap: Some(given.prohibit_overlap.unwrap_or(false)),
        time_zone: Some(if zone.is_empty() { "UTC".into() } else { zone }),
    }))
}

/// A `parameterized` block with its defaults.
pub(super) fn parameterized(
    findings: &mut Findings,
    given: Option<Parameterized>,
    job_type: JobType,
) -> Option<Box<Parameterized>> {
    let mut given = given?;
    findings.require(is_batch(job_type), || {
        "Parameterized job can only be used with \"batch\" or \"sysbatch\" scheduler".into()
    });
    if given.payload.is_empty() {
        "optional".clone_into(&mut given.payload);
    }
    let known = ["optional", "required", "forbidden"];
    findings.require(known.contains(&given.payload.as_str()), || {
        format!("Unknown payload requirement: {:?}", given.payload)
    });
    let required: BTreeSet<&String> = given.meta_required.iter().flatten().collect();
    let both: Vec<&String> = given
        .meta_optional
        .iter()
        .flatten()
        .filter(|key| required.contains(key))
        .collect();
    findings.require(both.is_empty(), || {
        let both: Vec<&str> = both.iter().map(|key| key.as_str()).collect();
        format!(
            "Required and optional meta keys should be disjoint. Following keys exist in both: [{}]",
            both.join(" ")
        )
    });
    given.meta_required = given.meta_required.filter(|list| !list.is_empty());
    given.meta_optional = given.meta_optional.filter(|list| !list.is_empty());
    Some(Box::new(given))
}

fn is_batch(job_type: JobType) -> bool {
    matches!(job_type, JobType::Batch | JobType::Sysbatch)
}
