//! Lists.

use super::{
    super::{add, argument, failed, integer_at, list_at, same, size_at, yes_or_no},
    items,
};
use crate::values;
use gotmpl::{FuncMap, TemplateError, Value};

pub(super) fn add_all(map: &mut FuncMap) {
    for name in ["sprig_list", "sprig_tuple"] {
        add(map, name, 0..=usize::MAX, |args| {
            Ok(values::list(args.iter().cloned()))
        });
    }
    add(map, "sprig_concat", 0..=usize::MAX, |args| {
        Ok(values::list(args.iter().flat_map(items)))
    });
    ends(map);
    longer(map);
    chosen(map);
}

/// A function and its name for those who want problems told: they are told anyway.
fn both(
    map: &mut FuncMap,
    names: [&'static str; 2],
    arguments: std::ops::RangeInclusive<usize>,
    f: fn(&[Value]) -> Result<Value, TemplateError>,
) {
    for name in names {
        add(map, name, arguments.clone(), f);
    }
}

fn ends(map: &mut FuncMap) {
    both(map, ["sprig_first", "sprig_mustFirst"], 1..=1, |args| {
        Ok(list_at(args, 0)?.first().cloned().unwrap_or(Value::Nil))
    });
    both(map, ["sprig_last", "sprig_mustLast"], 1..=1, |args| {
        Ok(list_at(args, 0)?.last().cloned().unwrap_or(Value::Nil))
    });
    both(map, ["sprig_rest", "sprig_mustRest"], 1..=1, |args| {
        let rest = list_at(args, 0)?.get(1..).unwrap_or_default();
        Ok(values::list(rest.iter().cloned()))
    });
    both(map, ["sprig_initial", "sprig_mustInitial"], 1..=1, |args| {
        let all = list_at(args, 0)?;
        let kept = all.len().saturating_sub(1);
        Ok(values::list(all.iter().take(kept).cloned()))
    });
    both(map, ["sprig_slice", "sprig_mustSlice"], 1..=3, |args| {
        let all = list_at(args, 0)?;
        let from = if args.len() > 1 { size_at(args, 1)? } else { 0 };
        let end = if args.len() > 2 {
            size_at(args, 2)?
        } else {
            all.len()
        };
        let part = all.get(from..end);
        let part = part.ok_or_else(|| failed(format!("no items {from} to {end}")))?;
        Ok(values::list(part.iter().cloned()))
    });
}

fn longer(map: &mut FuncMap) {
    for names in [
        ["sprig_append", "sprig_mustAppend"],
        ["sprig_push", "sprig_mustPush"],
    ] {
        both(map, names, 2..=2, |args| {
            let all = list_at(args, 0)?.iter().chain(args.get(1));
            Ok(values::list(all.cloned()))
        });
    }
    both(map, ["sprig_prepend", "sprig_mustPrepend"], 2..=2, |args| {
        let all = args.get(1).into_iter().chain(list_at(args, 0)?);
        Ok(values::list(all.cloned()))
    });
    both(map, ["sprig_chunk", "sprig_mustChunk"], 2..=2, |args| {
        let size = usize::try_from(integer_at(args, 0)?).unwrap_or(0);
        if size == 0 {
            return Err(failed("a part needs at least one item"));
        }
        let parts = list_at(args, 1)?.chunks(size);
        Ok(values::list(
            parts.map(|part| values::list(part.iter().cloned())),
        ))
    });
}

fn chosen(map: &mut FuncMap) {
    both(map, ["sprig_reverse", "sprig_mustReverse"], 1..=1, |args| {
        Ok(values::list(list_at(args, 0)?.iter().rev().cloned()))
    });
    both(map, ["sprig_uniq", "sprig_mustUniq"], 1..=1, |args| {
        let mut kept: Vec<Value> = Vec::new();
        for own in list_at(args, 0)? {
            if !kept.iter().any(|known| is_equal(known, own)) {
                kept.push(own.clone());
            }
        }
        Ok(values::list(kept))
    });
    both(map, ["sprig_compact", "sprig_mustCompact"], 1..=1, |args| {
        let kept = list_at(args, 0)?.iter().filter(|own| own.is_truthy());
        Ok(values::list(kept.cloned()))
    });
    both(
        map,
        ["sprig_without", "sprig_mustWithout"],
        1..=usize::MAX,
        |args| {
            let left_out = args.get(1..).unwrap_or_default();
            let is_kept = |own: &&Value| !left_out.iter().any(|one| is_equal(one, own));
            let kept = list_at(args, 0)?.iter().filter(is_kept);
            Ok(values::list(kept.cloned()))
        },
    );
    both(map, ["sprig_has", "sprig_mustHas"], 2..=2, |args| {
        let wanted = argument(args, 0)?;
        yes_or_no(list_at(args, 1)?.iter().any(|own| is_equal(own, wanted)))
    });
}

/// The same kind and the same value.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    one.type_name() == other.type_name() && same(one, other)
}
