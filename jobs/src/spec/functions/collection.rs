use super::{CallError, Result, bounded, failed, list_at, map_at, number_at, text_at, whole_at};
use crate::spec::value::{self, entries};
use serde_json::{Map, Value};
use std::borrow::Cow;

pub(super) fn chunklist(args: &[Value]) -> Result {
    let size = usize::try_from(whole_at(args, 1)?)
        .map_err(|_| CallError::Argument(1, "the size argument must be positive".into()))?;
    let list = list_at(args, 0)?;
    // Without a size everything is one chunk.
    let size = if size == 0 { list.len().max(1) } else { size };
    Ok(list
        .chunks(size)
        .map(|chunk| Value::Array(chunk.to_vec()))
        .collect())
}

pub(super) fn coalesce(args: &[Value]) -> Result {
    args.iter()
        .find(|value| !value.is_null())
        .cloned()
        .ok_or_else(|| failed("no non-null arguments"))
}

pub(super) fn coalescelist(args: &[Value]) -> Result {
    for at in 0..args.len() {
        let list = list_at(args, at)?;
        if !list.is_empty() {
            return Ok(list.into());
        }
    }
    Err(failed("no non-empty arguments"))
}

pub(super) fn compact(args: &[Value]) -> Result {
    let mut out = Vec::new();
    for item in list_at(args, 0)?.iter().filter(|item| !item.is_null()) {
        let text = value::text(item)
            .ok_or_else(|| CallError::Argument(0, "list of string required".into()))?;
        if !text.is_empty() {
            out.push(text.into());
        }
    }
    Ok(Value::Array(out))
}

pub(super) fn concat(args: &[Value]) -> Result {
    let mut all = Vec::new();
    for at in 0..args.len() {
        all.extend_from_slice(list_at(args, at)?);
    }
    Ok(Value::Array(all))
}

pub(super) fn contains(args: &[Value]) -> Result {
    let wanted = args.get(1).ok_or(CallError::TooFew)?;
    Ok(list_at(args, 0)?.contains(wanted).into())
}

pub(super) fn distinct(args: &[Value]) -> Result {
    Ok(Value::Array(unique(of_one_type(list_at(args, 0)?).iter())))
}

/// The items of a list or set, which has one type: beside a text, numbers and flags are texts too.
fn of_one_type(items: &[Value]) -> Cow<'_, [Value]> {
    let plain = |item: &Value| matches!(item, Value::Bool(_) | Value::Number(_));
    if !items.iter().any(Value::is_string) || !items.iter().any(plain) {
        return Cow::Borrowed(items);
    }
    let texts = items.iter().map(|item| value::text(item).map(Value::from));
    match texts.collect::<Option<Vec<_>>>() {
        Some(texts) => Cow::Owned(texts),
        None => Cow::Borrowed(items),
    }
}

/// The values without repetitions, in order of first appearance.
fn unique<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<Value> {
    let mut seen = std::collections::BTreeSet::new();
    values
        .filter(|value| seen.insert(value.to_string()))
        .cloned()
        .collect()
}

pub(super) fn element(args: &[Value]) -> Result {
    let list = list_at(args, 0)?;
    let at = whole_at(args, 1)?;
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    // A negative index counts from the end.
    at.checked_rem_euclid(length)
        .and_then(|at| list.get(usize::try_from(at).ok()?))
        .cloned()
        .ok_or_else(|| failed("cannot use element function with an empty list"))
}

pub(super) fn flatten(args: &[Value]) -> Result {
    fn add(items: &[Value], out: &mut Vec<Value>) {
        for item in items {
            match item {
                Value::Array(inner) => add(inner, out),
                other => out.push(other.clone()),
            }
        }
    }
    let mut out = Vec::new();
    add(list_at(args, 0)?, &mut out);
    Ok(Value::Array(out))
}

pub(super) fn index(args: &[Value]) -> Result {
    let found = match args.first() {
        Some(Value::Array(items)) => usize::try_from(whole_at(args, 1)?)
            .ok()
            .and_then(|at| items.get(at)),
        Some(Value::Object(map)) => map.get(&text_at(args, 1)?),
        _ => return Err(CallError::Argument(0, "list or map required".into())),
    };
    found
        .cloned()
        .ok_or_else(|| failed("no element with that key"))
}

pub(super) fn keys(args: &[Value]) -> Result {
    Ok(entries(map_at(args, 0)?)
        .into_iter()
        .map(|(key, _)| Value::from(key.as_str()))
        .collect())
}

pub(super) fn values(args: &[Value]) -> Result {
    Ok(entries(map_at(args, 0)?)
        .into_iter()
        .map(|(_, value)| value.clone())
        .collect())
}

pub(super) fn length(args: &[Value]) -> Result {
    match args.first() {
        Some(Value::Array(items)) => Ok(items.len().into()),
        Some(Value::Object(map)) => Ok(map.len().into()),
        _ => Err(CallError::Argument(
            0,
            "collection required; use strlen for text".into(),
        )),
    }
}

pub(super) fn lookup(args: &[Value]) -> Result {
    let key = text_at(args, 1)?;
    map_at(args, 0)?
        .get(&key)
        .or_else(|| args.get(2))
        .cloned()
        .ok_or_else(|| failed(format!("lookup failed to find key {key:?}")))
}

pub(super) fn merge(args: &[Value]) -> Result {
    let mut all = Map::new();
    for (at, arg) in args.iter().enumerate() {
        if !arg.is_null() {
            all.extend(
                map_at(args, at)?
                    .iter()
                    .map(|(k, v)| (k.clone(), v.clone())),
            );
        }
    }
    Ok(Value::Object(all))
}

pub(super) fn range(args: &[Value]) -> Result {
    // The language's own bound.
    const MOST: usize = 1024;
    let (start, end) = match args.len() {
        1 => (0.0, number_at(args, 0)?),
        _ => (number_at(args, 0)?, number_at(args, 1)?),
    };
    let step = match args.len() {
        3 => number_at(args, 2)?,
        _ if end < start => -1.0,
        _ => 1.0,
    };
    if step == 0.0 || (step > 0.0) != (end >= start) {
        return Err(failed("the step must lead from the start to the end"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while if step > 0.0 { at < end } else { at > end } {
        if out.len() >= MOST {
            return Err(failed(format!(
                "more than {MOST} values were generated; either decrease the difference between start and end or use a smaller step"
            )));
        }
        out.push(super::from_number(at)?);
        at += step;
    }
    Ok(Value::Array(out))
}

pub(super) fn setunion(args: &[Value]) -> Result {
    let all = concat(args)?;
    Ok(sorted(unique(of_one_type(list_at(&[all], 0)?).iter())))
}

pub(super) fn setintersection(args: &[Value]) -> Result {
    let mut common = unique(list_at(args, 0)?.iter());
    for at in 1..args.len() {
        let other: std::collections::BTreeSet<String> =
            list_at(args, at)?.iter().map(Value::to_string).collect();
        common.retain(|value| other.contains(&value.to_string()));
    }
    Ok(sorted(common))
}

pub(super) fn setproduct(args: &[Value]) -> Result {
    let mut total: usize = 1;
    for at in 0..args.len() {
        total = total.saturating_mul(list_at(args, at)?.len());
        bounded(total.saturating_mul(super::elements(args.len() + 1)))?;
    }
    let mut rows = vec![Vec::new()];
    for at in 0..args.len() {
        let mut longer = Vec::with_capacity(rows.len());
        for row in &rows {
            for item in of_one_type(list_at(args, at)?).iter() {
                let mut row: Vec<Value> = row.clone();
                row.push(item.clone());
                longer.push(row);
            }
        }
        rows = longer;
    }
    Ok(rows.into_iter().map(Value::Array).collect())
}

pub(super) fn slice(args: &[Value]) -> Result {
    let range = usize::try_from(whole_at(args, 1)?)
        .ok()
        .zip(usize::try_from(whole_at(args, 2)?).ok());
    let list = list_at(args, 0)?;
    range
        .and_then(|(from, to)| list.get(from..to))
        .map(Value::from)
        .ok_or_else(|| failed("the indexes do not lie inside the list"))
}

pub(super) fn sort(args: &[Value]) -> Result {
    let list = list_at(args, 0)?;
    let mut texts = list
        .iter()
        .map(|item| {
            value::text(item)
                .ok_or_else(|| CallError::Argument(0, "list of string required".into()))
        })
        .collect::<Result<Vec<_>>>()?;
    texts.sort();
    Ok(texts.into_iter().map(Value::from).collect())
}

fn sorted(mut values: Vec<Value>) -> Value {
    values.sort_by_key(|value| value::text(value).unwrap_or_else(|| value.to_string()));
    Value::Array(values)
}

pub(super) fn zipmap(args: &[Value]) -> Result {
    let (keys, values) = (list_at(args, 0)?, list_at(args, 1)?);
    if keys.len() != values.len() {
        return Err(failed("the number of keys and values differ"));
    }
    keys.iter()
        .zip(values)
        .map(|(key, value)| match value::text(key) {
            Some(key) => Ok((key, value.clone())),
            None => Err(CallError::Argument(0, "list of string required".into())),
        })
        .collect::<Result<Map<_, _>>>()
        .map(Value::Object)
}

/// True when a collection has an element at an index or under a key.
pub(super) fn hasindex(args: &[Value]) -> Result {
    let found = match (args.first(), args.get(1)) {
        (Some(Value::Array(items)), Some(key)) => value::whole(key)
            .and_then(|at| usize::try_from(at).ok())
            .is_some_and(|at| at < items.len()),
        (Some(Value::Object(map)), Some(key)) => {
            value::text(key).is_some_and(|key| map.contains_key(&key))
        }
        _ => return Err(CallError::Argument(0, "list or map required".into())),
    };
    Ok(Value::Bool(found))
}
