//! Input variables: what a file declares, which values they get, and the rules for those. Locals.

mod given;
mod locals;
mod validation;

use super::Variables;
use super::decode::{Decoder, label};
use super::evaluate::Evaluator;
use super::problem::{Problem, nearest};
use super::scope::Scope;
use super::types::Type;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Attribute, Block, Body, Structure};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

pub(super) use locals::locals;

/// What marks an environment variable as the value of an input variable.
const PREFIX: &str = "NOMAD_VAR_";

/// A declared input variable.
struct Declaration<'b> {
    span: Option<Range<usize>>,
    declared_type: Type,
    default: Option<Assigned>,
    validations: Vec<&'b Block>,
}

/// A value that a variable was given.
#[derive(Clone, Debug)]
struct Assigned {
    value: Value,
    /// What gave it, as messages name it: `default`, `env`, `varfile` or `cmd`.
    origin: &'static str,
    /// Where, to be filled with what is wrong about it.
    place: Problem,
}

type Declarations<'b> = BTreeMap<String, Declaration<'b>>;

/// The values of all input variables of a file, and their problems.
pub(super) fn variables(
    decoder: &mut Decoder<'_, '_>,
    body: &Body,
    given: &Variables,
) -> Map<String, Value> {
    let declarations = declarations(decoder, body);
    let mut assigned = given::values(decoder, given, &declarations);
    let mut all = Map::new();
    for (name, declaration) in &declarations {
        match assigned
            .remove(name)
            .or_else(|| declaration.default.clone())
        {
            Some(assigned) => {
                for block in &declaration.validations {
                    validation::apply(decoder, name, block, &assigned);
                }
                all.insert(name.clone(), assigned.value);
            }
            None => {
                decoder.report(
                    declaration.span.clone(),
                    format!("Unset variable \"{name}\"; A used variable must be set or have a default value."),
                    format!("Set it with -var '{name}=…', in a variable file, or as {PREFIX}{name}."),
                );
                all.insert(name.clone(), declaration.declared_type.blank());
            }
        }
    }
    all
}

/// Every variable that a file declares.
fn declarations<'b>(decoder: &mut Decoder<'_, '_>, body: &'b Body) -> Declarations<'b> {
    let mut all = BTreeMap::new();
    for block in body.get_blocks("variable") {
        declare(decoder, block, &mut all);
    }
    for block in body.get_blocks("variables") {
        for attribute in block.body.attributes() {
            let default = default_value(decoder, attribute);
            let declaration = Declaration {
                span: attribute.key.span(),
                declared_type: Type::of(&default.value),
                default: Some(default),
                validations: Vec::new(),
            };
            let name = attribute.key.as_str().to_owned();
            add(decoder, name, declaration, &mut all);
        }
    }
    all
}

fn add<'b>(
    decoder: &mut Decoder<'_, '_>,
    name: String,
    declaration: Declaration<'b>,
    all: &mut Declarations<'b>,
) {
    match all.entry(name) {
        Entry::Vacant(free) => {
            free.insert(declaration);
        }
        Entry::Occupied(taken) => {
            let name = taken.key();
            decoder.report(
                declaration.span,
                format!("Duplicate variable; Duplicate {name} variable definition found."),
                "",
            );
        }
    }
}

/// What the body of a `variable` block says.
#[derive(Default)]
struct Written<'b> {
    declared_type: Option<Type>,
    default: Option<Assigned>,
    validations: Vec<&'b Block>,
}

fn declare<'b>(decoder: &mut Decoder<'_, '_>, block: &'b Block, all: &mut Declarations<'b>) {
    let Some((name, span)) = block.labels.first().map(label) else {
        decoder.report(
            block.ident.span(),
            "Missing name for variable; All variable blocks must have 1 labels (name).",
            "",
        );
        return;
    };
    if !is_identifier(&name) {
        decoder.report(
            span.clone(),
            "Invalid variable name; A name must start with a letter or underscore and may contain only letters, digits, underscores, and dashes.",
            "",
        );
    }
    let mut written = Written::default();
    for structure in block.body.iter() {
        match structure {
            Structure::Attribute(attribute) => written_attribute(decoder, attribute, &mut written),
            Structure::Block(inner) if inner.ident.as_str() == "validation" => {
                validation::check(decoder, &name, inner);
                written.validations.push(inner);
            }
            Structure::Block(inner) => decoder.report(
                inner.ident.span(),
                format!(
                    "Unsupported block type; Blocks of type \"{}\" are not expected here.",
                    inner.ident.as_str()
                ),
                "",
            ),
        }
    }
    let declaration = settle(decoder, span, written);
    add(decoder, name, declaration, all);
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || "_-".contains(letter))
}

fn written_attribute<'b>(
    decoder: &mut Decoder<'_, '_>,
    attribute: &'b Attribute,
    written: &mut Written<'b>,
) {
    match attribute.key.as_str() {
        "type" => match Type::parse(&attribute.value) {
            Ok(parsed) => written.declared_type = Some(parsed),
            Err(fault) => {
                decoder.report(
                    fault.span,
                    format!("Invalid type specification; {}", fault.detail),
                    "",
                );
                // Its values are not looked at, so that the slip is told once.
                written.declared_type = Some(Type::Any);
                written.default.get_or_insert_with(|| Assigned {
                    value: Value::Null,
                    origin: "default",
                    place: Problem::default(),
                });
            }
        },
        "default" => written.default = Some(default_value(decoder, attribute)),
        "description" => {
            let value = decoder.evaluate(&attribute.value, &Scope::default());
            if !value.is_null() && super::value::text(&value).is_none() {
                decoder.report(
                    attribute.value.span(),
                    "Unsuitable value type; Unsuitable value: string required",
                    "",
                );
            }
        }
        other => {
            let hint = nearest(other, ["type", "default", "description"])
                .map(|known| format!("Did you mean \"{known}\"?"));
            decoder.report(
                attribute.key.span(),
                format!(
                    "Unsupported argument; An argument named \"{other}\" is not expected here."
                ),
                hint.unwrap_or_default(),
            );
        }
    }
}

/// The value of an attribute that declares a default; null after a problem, so that the variable
/// does not count as unset too.
fn default_value(decoder: &mut Decoder<'_, '_>, attribute: &Attribute) -> Assigned {
    let source = decoder.evaluator.source;
    Assigned {
        value: constant(decoder, &attribute.value),
        origin: "default",
        place: source.problem(attribute.value.span(), ""),
    }
}

fn constant(decoder: &mut Decoder<'_, '_>, expr: &Expression) -> Value {
    let evaluator = Evaluator::constant(decoder.evaluator.source, decoder.evaluator.budget());
    match evaluator.value(expr, &Scope::default()) {
        Ok(value) => value,
        Err(fault) => {
            decoder.report_fault(fault);
            Value::Null
        }
    }
}

/// The default as the declared type; without one, the type of the default.
fn settle<'b>(
    decoder: &mut Decoder<'_, '_>,
    span: Option<Range<usize>>,
    written: Written<'b>,
) -> Declaration<'b> {
    let (declared_type, default) = match (written.declared_type, written.default) {
        (None, None) => (Type::Text, None),
        (None, Some(default)) => (Type::of(&default.value), Some(default)),
        (Some(declared), None) => (declared, None),
        (Some(declared), Some(mut default)) => {
            default.value = declared.convert(default.value).unwrap_or_else(|detail| {
                let message = format!("Invalid default value for variable; This default value is not compatible with the variable's type constraint: {detail}.");
                decoder.add(Problem {
                    message,
                    ..default.place.clone()
                });
                Value::Null
            });
            (declared, Some(default))
        }
    };
    Declaration {
        span,
        declared_type,
        default,
        validations: written.validations,
    }
}
