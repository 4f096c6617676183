//! Texts with `${…}` in them, filled in for the name that is asked.
//!
//! Of the interpolation language there are the names `name.full`, `name.prefix`, `name.suffix` and
//! `agent.segment`, and the call `match(N)`; `$${` stands for `${`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::model::{FailoverTarget, PreparedQuery};

use super::Error;

/// Largest compiled expression, bytes.
const REGEXP_BYTES_MAX: usize = 1 << 20;

/// What the texts of one template may name.
struct Names<'a> {
    full: &'a str,
    prefix: &'a str,
    suffix: &'a str,
    segment: &'a str,
    /// What the expression matched, and its groups; empty without an expression or a match.
    matches: Vec<&'a str>,
}

/// The query that a template means when it is asked by `name`.
pub(super) fn render(
    query: &PreparedQuery,
    name: &str,
    segment: &str,
) -> Result<PreparedQuery, Error> {
    let regexp = regexp(&query.template.regexp)?;
    let captures = regexp.as_ref().and_then(|regexp| regexp.captures(name));
    let groups = captures.iter().flat_map(regex::Captures::iter);
    let matches = groups.map(|group| group.map_or("", |group| group.as_str()));
    let suffix = name.get(query.name.len()..).unwrap_or_default();
    let names = Names {
        full: name,
        prefix: &query.name,
        suffix,
        segment,
        matches: matches.collect(),
    };
    let mut rendered = query.clone();
    let service = &mut rendered.service;
    names.fill("Service.Service", &mut service.service)?;
    names.fill("Service.Near", &mut service.near)?;
    names.fill_all("Service.IgnoreCheckIDs", &mut service.ignore_check_ids)?;
    names.fill_all("Service.Tags", &mut service.tags)?;
    names.fill_map("Service.NodeMeta", &mut service.node_meta)?;
    names.fill_map("Service.ServiceMeta", &mut service.service_meta)?;
    let failover = &mut service.failover;
    names.fill_all("Service.Failover.Datacenters", &mut failover.datacenters)?;
    for (ordinal, target) in failover.targets.iter_mut().flatten().enumerate() {
        let FailoverTarget { peer, datacenter } = target;
        let at = format!("Service.Failover.Targets[{ordinal}]");
        names.fill(&format!("{at}.Peer"), peer)?;
        names.fill(&format!("{at}.Datacenter"), datacenter)?;
    }
    if query.template.remove_empty_tags {
        service
            .tags
            .iter_mut()
            .for_each(|tags| tags.retain(|tag| !tag.is_empty()));
    }
    Ok(rendered)
}

fn regexp(text: &str) -> Result<Option<Regex>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let built = RegexBuilder::new(text).size_limit(REGEXP_BYTES_MAX).build();
    built.map(Some).map_err(|error| Error::Regexp {
        reason: error.to_string(),
    })
}

impl Names<'_> {
    fn fill_all(&self, field: &str, texts: &mut Option<Vec<String>>) -> Result<(), Error> {
        for (ordinal, text) in texts.iter_mut().flatten().enumerate() {
            self.fill(&format!("{field}[{ordinal}]"), text)?;
        }
        Ok(())
    }

    fn fill_map(
        &self,
        field: &str,
        map: &mut Option<BTreeMap<String, String>>,
    ) -> Result<(), Error> {
        for (key, text) in map.iter_mut().flatten() {
            self.fill(&format!("{field}[{key}]"), text)?;
        }
        Ok(())
    }

    fn fill(&self, field: &str, text: &mut String) -> Result<(), Error> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once("${") {
            if let Some(literal) = before.strip_suffix('$') {
                filled.push_str(literal);
                filled.push_str("${");
                rest = behind;
                continue;
            }
            filled.push_str(before);
            let Some((expression, behind)) = behind.split_once('}') else {
                return Err(Error::Format {
                    text: text.clone(),
                    field: field.to_owned(),
                    reason: "expected expression or `}`, but the text ends".to_owned(),
                });
            };
            let at = text.len() - rest.len() + before.len() + 3;
            let value = self.value(expression.trim());
            filled.push_str(value.map_err(|reason| Error::Evaluation {
                text: text.clone(),
                field: field.to_owned(),
                reason: format!("1:{at}: {reason}"),
            })?);
            rest = behind;
        }
        filled.push_str(rest);
        *text = filled;
        Ok(())
    }

    fn value(&self, expression: &str) -> Result<&str, String> {
        match expression {
            "name.full" => return Ok(self.full),
            "name.prefix" => return Ok(self.prefix),
            "name.suffix" => return Ok(self.suffix),
            "agent.segment" => return Ok(self.segment),
            _ => {}
        }
        let Some((function, argument)) = expression.split_once('(') else {
            return Err(format!("unknown variable accessed: {expression}"));
        };
        let function = function.trim();
        if function != "match" {
            return Err(format!("unknown function called: {function}"));
        }
        let number = argument.strip_suffix(')').map(str::trim);
        let number: i64 = number
            .and_then(|number| number.parse().ok())
            .ok_or("argument 1 of match should be type int")?;
        let of = usize::try_from(number)
            .ok()
            .and_then(|at| self.matches.get(at));
        Ok(of.copied().unwrap_or_default())
    }
}
