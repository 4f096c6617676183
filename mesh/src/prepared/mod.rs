//! Prepared queries: which one a name means, what it asks then, and which instances answer it.
//!
//! [`check`] is asked before a query is stored, [`resolve`] finds and renders one, [`execute`]
//! picks the instances. A query that is asked in one datacenter and finds nothing there fails over
//! to the others that it names; one that is asked in the whole region has no others. Peers are not
//! known here; those that it names are kept.

mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{NAME_PREFIX_MATCH, PreparedQuery, QueryFailover, ServiceQuery, Status};
use crate::view::{Instance, View};

/// What a seed grows by for each number that is drawn from it.
const SEED_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Why a query cannot be stored, or not be asked. The texts are those of the prepared query API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing names it.
    #[error("Invalid prepared query: Must be bound to a session")]
    Unnamed,
    /// It asks for no service.
    #[error("Invalid prepared query: Must provide a Service name to query")]
    NoService,
    /// It counts datacenters below nothing.
    #[error("Invalid prepared query: Bad NearestN '{count}', must be >= 0")]
    Nearest {
        /// As given.
        count: i64,
    },
    /// It names other places in both ways.
    #[error("Invalid prepared query: Targets cannot be populated with NearestN or Datacenters")]
    TwoFailovers,
    /// It asks for metadata that nothing can have.
    #[error("Invalid prepared query: Couldn't load metadata pair ('{key}', '{value}'): {reason}")]
    Meta {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Why.
        reason: &'static str,
    },
    /// It is a template of no known kind.
    #[error("failed compiling template: Bad Template.Type '{kind}'")]
    TemplateType {
        /// As given.
        kind: String,
    },
    /// The name of a template cannot be taken apart so.
    #[error("failed compiling template: Bad Regexp: {reason}")]
    Regexp {
        /// Why.
        reason: String,
    },
    /// A text of a template cannot be read.
    #[error("failed compiling template: Bad format '{text}' in {field}: {reason}")]
    Format {
        /// The text.
        text: String,
        /// Where it stands.
        field: String,
        /// Why.
        reason: String,
    },
    /// A text of a template asks for something unknown.
    #[error("failed compiling template: Bad evaluation for '{text}' in {field}: {reason}")]
    Evaluation {
        /// The text.
        text: String,
        /// Where it stands.
        field: String,
        /// Why.
        reason: String,
    },
    /// A template has no answer without a name.
    #[error("prepared query templates can only be resolved up by name, not by ID")]
    TemplateById,
}

/// Checks what a query says, before it is stored. `has_session` says whether it lives with one.
///
/// # Errors
/// Every way in which it is wrong has its own [`Error`]; the first is told, as the API does.
pub fn check(query: &PreparedQuery, has_session: bool) -> Result<(), Error> {
    let PreparedQuery { name, service, .. } = query;
    if !query.is_template() && name.is_empty() && !has_session {
        return Err(Error::Unnamed);
    }
    if service.service.is_empty() {
        return Err(Error::NoService);
    }
    let failover = &service.failover;
    if failover.nearest_n < 0 {
        let count = failover.nearest_n;
        return Err(Error::Nearest { count });
    }
    let is_set = |list: Option<usize>| list.unwrap_or(0) > 0;
    if is_set(failover.targets.as_ref().map(Vec::len))
        && (failover.nearest_n > 0 || is_set(failover.datacenters.as_ref().map(Vec::len)))
    {
        return Err(Error::TwoFailovers);
    }
    for map in [&service.node_meta, &service.service_meta] {
        map.iter().flatten().try_for_each(check_pair)?;
    }
    match query.template.kind.as_str() {
        "" => Ok(()),
        NAME_PREFIX_MATCH => template::render(query, name, "").map(drop),
        kind => Err(Error::TemplateType {
            kind: kind.to_owned(),
        }),
    }
}

/// Longest key of metadata, bytes.
const META_KEY_BYTES_MAX: usize = 128;
/// Longest value of metadata, bytes.
const META_VALUE_BYTES_MAX: usize = 512;

fn check_pair((key, value): (&String, &String)) -> Result<(), Error> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let reason = if key.is_empty() {
        "Key cannot be blank"
    } else if !key.bytes().all(is_allowed) {
        "Key contains invalid characters"
    } else if key.len() > META_KEY_BYTES_MAX {
        "Key is too long (limit: 128 characters)"
    } else if value.len() > META_VALUE_BYTES_MAX {
        "Value is too long (limit: 512 characters)"
    } else {
        return Ok(());
    };
    Err(Error::Meta {
        key: key.clone(),
        value: value.clone(),
        reason,
    })
}

/// The query that an id or a name means, with the texts of a template filled in for that name; none
/// if there is none. `segment` is the network segment of whoever asks.
///
/// # Errors
/// [`Error::TemplateById`], and what rendering can fail with.
pub fn resolve(
    view: &View,
    id_or_name: &str,
    segment: &str,
) -> Result<Option<Arc<PreparedQuery>>, Error> {
    if let Some(row) = view.prepared_query(id_or_name) {
        return if row.is_template() {
            Err(Error::TemplateById)
        } else {
            Ok(Some(Arc::clone(row)))
        };
    }
    let queries = &view.prepared_queries;
    let exact = queries.named(id_or_name).filter(|_| !id_or_name.is_empty());
    let Some(row) = exact.or_else(|| queries.template_for(id_or_name)) else {
        return Ok(None);
    };
    if !row.is_template() {
        return Ok(Some(Arc::clone(row)));
    }
    template::render(row, id_or_name, segment).map(|row| Some(Arc::new(row)))
}

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// Name of the node whose neighbors come first; none for any order.
    pub near: Option<&'a str>,
    /// Datacenter in which is asked, in any case; none for the whole region.
    pub datacenter: Option<&'a str>,
    /// Decides the order; any number, a new one each time.
    pub seed: u64,
}

/// What answers a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The instances: shuffled, then the nearest first if that is asked for.
    pub instances: Vec<Instance>,
    /// The other datacenter that was asked last; none when it was the one that was meant.
    pub failed_over_to: Option<String>,
    /// How many other datacenters were asked.
    pub failovers: u32,
}

/// What answers a rendered query.
#[must_use]
pub fn execute(view: &View, query: &PreparedQuery, asker: Asker<'_>) -> Found {
    let of = &query.service;
    let mut wanted = view.instances(&of.service);
    wanted.retain(|instance| is_wanted(of, instance));
    let Some(asked) = asker.datacenter else {
        return Found {
            instances: in_order(view, wanted, asker),
            ..Found::default()
        };
    };
    let there = |datacenter: &str| -> Vec<Instance> {
        let is_there = |row: &&Instance| row.node.datacenter.eq_ignore_ascii_case(datacenter);
        wanted.iter().filter(is_there).cloned().collect()
    };
    let mut found = Found {
        instances: there(asked),
        ..Found::default()
    };
    for other in others(view, &of.failover, asked) {
        if !found.instances.is_empty() {
            break;
        }
        found.instances = there(other);
        found.failed_over_to = Some(other.to_owned());
        found.failovers += 1;
    }
    Found {
        instances: in_order(view, found.instances, asker),
        ..found
    }
}

fn in_order(view: &View, mut instances: Vec<Instance>, asker: Asker<'_>) -> Vec<Instance> {
    shuffle(&mut instances, asker.seed);
    if let Some(near) = asker.near {
        instances.sort_by_key(|instance| view.nearness(near, &instance.node.name));
    }
    instances
}

/// The datacenters that a query is asked in when there is nothing in `asked`, each once: so many of
/// the nearest, then those that it names. No distances are measured, so the nearest are the first
/// by name. One that the region does not have is passed over.
fn others<'a>(view: &'a View, failover: &'a QueryFailover, asked: &str) -> Vec<&'a str> {
    let nearest = usize::try_from(failover.nearest_n).unwrap_or(0);
    let by_name = view.datacenters();
    let by_name = by_name.filter(|name| !name.eq_ignore_ascii_case(asked));
    let mut others: Vec<&str> = by_name.take(nearest).collect();
    let named = failover.datacenters.iter().flatten().map(String::as_str);
    let targets = failover.targets.iter().flatten();
    let targets = targets.map(|target| target.datacenter.as_str());
    for name in named.chain(targets) {
        let is_new = !name.eq_ignore_ascii_case(asked) && !others.contains(&name);
        if is_new && view.has_datacenter(name) {
            others.push(name);
        }
    }
    others
}

fn is_wanted(of: &ServiceQuery, instance: &Instance) -> bool {
    let ignored = of.ignore_check_ids.as_deref().unwrap_or_default();
    let counted = instance
        .checks
        .iter()
        .filter(|check| !ignored.iter().any(|id| *id == check.id));
    let worst = counted.map(|check| check.status).max();
    let is_well = match worst.unwrap_or(Status::Passing) {
        Status::Passing => true,
        Status::Warning => !of.only_passing,
        Status::Critical => false,
    };
    is_well
        && has_all(of.node_meta.as_ref(), &instance.node.meta)
        && has_all(of.service_meta.as_ref(), &instance.service.meta)
        && has_tags(of.tags.as_deref().unwrap_or_default(), instance)
}

fn has_all(wanted: Option<&BTreeMap<String, String>>, has: &BTreeMap<String, String>) -> bool {
    let mut wanted = wanted.into_iter().flatten();
    wanted.all(|(key, value)| has.get(key) == Some(value))
}

fn has_tags(wanted: &[String], instance: &Instance) -> bool {
    let has = |tag: &str| {
        let tag = tag.to_lowercase();
        let own = instance.service.tags.iter();
        own.map(|own| own.to_lowercase()).any(|own| own == tag)
    };
    wanted.iter().all(|tag| match tag.strip_prefix('!') {
        Some(unwanted) => !has(unwanted),
        None => tag.is_empty() || has(tag),
    })
}

/// Brings rows into an order that the seed decides.
fn shuffle<T>(rows: &mut [T], mut seed: u64) {
    for last in (1..rows.len()).rev() {
        seed = seed.wrapping_add(SEED_STEP);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let among = last as u64 + 1;
        let at = usize::try_from(mixed % among).unwrap_or(0);
        rows.swap(last, at);
    }
}
