//! What values are, and what stands for those that are empty.

use super::{
    super::{add, argument, failed, text_at, told, yes_or_no},
    list::is_equal,
};
use gotmpl::{FuncMap, Value};

pub(super) fn add_all(map: &mut FuncMap) {
    defaults(map);
    kinds(map);
}

fn defaults(map: &mut FuncMap) {
    add(map, "sprig_default", 1..=2, |args| {
        let given = args.get(1).filter(|own| own.is_truthy());
        given.map_or_else(|| argument(args, 0).cloned(), |own| Ok(own.clone()))
    });
    add(map, "sprig_empty", 1..=1, |args| {
        yes_or_no(!argument(args, 0)?.is_truthy())
    });
    add(map, "sprig_coalesce", 0..=usize::MAX, |args| {
        let mut full = args.iter().filter(|own| own.is_truthy());
        Ok(full.next().cloned().unwrap_or(Value::Nil))
    });
    add(map, "sprig_all", 0..=usize::MAX, |args| {
        yes_or_no(args.iter().all(Value::is_truthy))
    });
    add(map, "sprig_any", 0..=usize::MAX, |args| {
        yes_or_no(args.iter().any(Value::is_truthy))
    });
    add(map, "sprig_ternary", 3..=3, |args| {
        let Value::Bool(is) = argument(args, 2)? else {
            return Err(failed("the last argument must be true or false"));
        };
        argument(args, usize::from(!is)).cloned()
    });
}

fn kinds(map: &mut FuncMap) {
    add(map, "sprig_kindOf", 1..=1, |args| {
        told(kind(argument(args, 0)?))
    });
    add(map, "sprig_kindIs", 2..=2, |args| {
        yes_or_no(kind(argument(args, 1)?) == text_at(args, 0)?)
    });
    add(map, "sprig_typeOf", 1..=1, |args| {
        told(type_of(argument(args, 0)?))
    });
    for name in ["sprig_typeIs", "sprig_typeIsLike"] {
        add(map, name, 2..=2, |args| {
            yes_or_no(type_of(argument(args, 1)?) == text_at(args, 0)?)
        });
    }
    add(map, "sprig_deepEqual", 2..=2, |args| {
        yes_or_no(is_equal(argument(args, 0)?, argument(args, 1)?))
    });
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        _ => "func",
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        other => kind(other),
    }
}
