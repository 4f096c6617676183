use super::decode::{Decoder, label};
use super::evaluate::{Budget, Evaluator};
use super::problem::{Problem, Source, nearest};
use super::scope::Scope;
use super::syntax::{json_problem, syntax_problem};
use super::types::Type;
use super::{VariableFile, Variables};
use hcl_edit::Span;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::{Block, Body, Structure};
use hcl_edit::visit::{Visit, visit_traversal};
use serde_json::{Map, Value};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What marks an environment variable as the value of an input variable.
const PREFIX: &str = "NOMAD_VAR_";

/// Locals of one file: each pass over them looks at all that are left.
const MOST_LOCALS: usize = 1000;

/// A declared input variable.
struct Declaration<'b> {
    span: Option<Range<usize>>,
    declared_type: Type,
    has_type: bool,
    default: Option<Value>,
    validations: Vec<&'b Block>,
}

/// The values of all input variables of a file, and their problems.
pub(super) fn variables(
    decoder: &mut Decoder<'_, '_>,
    body: &Body,
    given: &Variables,
) -> Map<String, Value> {
    let mut declarations = BTreeMap::new();
    for block in body.get_blocks("variable") {
        declare(decoder, block, &mut declarations);
    }
    for block in body.get_blocks("variables") {
        for attribute in block.body.attributes() {
            let default = constant(decoder, &attribute.value);
            let declaration = Declaration {
                span: attribute.key.span(),
                declared_type: type_of(default.as_ref()),
                has_type: false,
                default,
                validations: Vec::new(),
            };
            add(
                decoder,
                attribute.key.as_str().to_owned(),
                declaration,
                &mut declarations,
            );
        }
    }
    let mut values = given_values(decoder, given, &declarations);
    let mut all = Map::new();
    for (name, declaration) in &declarations {
        match values.remove(name).or_else(|| declaration.default.clone()) {
            Some(value) => {
                all.insert(name.clone(), value);
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
    for (name, declaration) in &declarations {
        for block in &declaration.validations {
            validate(decoder, name, block, declaration, &all);
        }
    }
    all
}

fn add<'b>(
    decoder: &mut Decoder<'_, '_>,
    name: String,
    declaration: Declaration<'b>,
    all: &mut BTreeMap<String, Declaration<'b>>,
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

fn declare<'b>(
    decoder: &mut Decoder<'_, '_>,
    block: &'b Block,
    all: &mut BTreeMap<String, Declaration<'b>>,
) {
    let Some((name, span)) = block.labels.first().map(label) else {
        decoder.report(
            block.ident.span(),
            "Missing name for variable; All variable blocks must have 1 labels (name).",
            "",
        );
        return;
    };
    let mut declaration = Declaration {
        span,
        declared_type: Type::Any,
        has_type: false,
        default: None,
        validations: Vec::new(),
    };
    for structure in block.body.iter() {
        match structure {
            Structure::Attribute(attribute) => match attribute.key.as_str() {
                "type" => match Type::parse(&attribute.value) {
                    Ok(parsed) => {
                        declaration.declared_type = parsed;
                        declaration.has_type = true;
                    }
                    Err(()) => decoder.report(
                        attribute.value.span(),
                        "Invalid type specification; The type must be string, number, bool, any, or list, set, map, object or tuple of types.",
                        "",
                    ),
                },
                "default" => declaration.default = constant(decoder, &attribute.value),
                "description" => {}
                other => {
                    let hint = nearest(other, ["type", "default", "description"])
                        .map(|known| format!("Did you mean \"{known}\"?"));
                    decoder.report(
                        attribute.key.span(),
                        format!("Unsupported argument; An argument named \"{other}\" is not expected here."),
                        hint.unwrap_or_default(),
                    );
                }
            },
            Structure::Block(inner) if inner.ident.as_str() == "validation" => declaration.validations.push(inner),
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
    if !declaration.has_type {
        declaration.declared_type = type_of(declaration.default.as_ref());
    } else if let Some(default) = declaration.default.take() {
        match declaration.declared_type.convert(default) {
            Ok(default) => declaration.default = Some(default),
            Err(detail) => {
                let span = block
                    .body
                    .get_attribute("default")
                    .and_then(|attribute| attribute.value.span());
                decoder.report(
                    span,
                    format!("Invalid default value for variable; This default value is not compatible with the variable's type constraint: {detail}."),
                    "",
                );
                declaration.default = Some(Value::Null);
            }
        }
    }
    add(decoder, name, declaration, all);
}

/// The type of a variable that declares none: that of its default, text without one.
fn type_of(default: Option<&Value>) -> Type {
    match default {
        None | Some(Value::String(_)) => Type::Text,
        Some(Value::Bool(_)) => Type::Flag,
        Some(Value::Number(_)) => Type::Number,
        Some(_) => Type::Any,
    }
}

fn constant(decoder: &mut Decoder<'_, '_>, expr: &Expression) -> Option<Value> {
    let evaluator = Evaluator::constant(decoder.evaluator.source, decoder.evaluator.budget());
    match evaluator.value(expr, &Scope::default()) {
        Ok(value) => Some(value),
        Err(fault) => {
            decoder.report_fault(fault);
            // Declared as null, so that the variable does not count as unset too.
            Some(Value::Null)
        }
    }
}

/// Values from outside, the strongest source last.
fn given_values(
    decoder: &mut Decoder<'_, '_>,
    given: &Variables,
    declarations: &BTreeMap<String, Declaration<'_>>,
) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (key, text) in &given.environment {
        let declared = key
            .strip_prefix(PREFIX)
            .and_then(|name| declarations.get_key_value(name));
        if let Some((name, declaration)) = declared {
            match from_text(text, name, declaration, decoder.evaluator.budget()) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(message) => {
                    decoder.report(None, message, format!("The value comes from {key}."));
                    values.insert(name.clone(), declaration.declared_type.blank());
                }
            }
        }
    }
    for file in &given.files {
        from_file(decoder, file, given, declarations, &mut values);
    }
    for (name, text) in &given.flags {
        match declarations.get(name) {
            Some(declaration) => match from_text(text, name, declaration, decoder.evaluator.budget()) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(message) => {
                    decoder.report(None, message, "");
                    // Given, if badly: it does not count as unset too.
                    values.insert(name.clone(), declaration.declared_type.blank());
                }
            },
            None if given.tolerate_undeclared => {}
            None => decoder.report(
                None,
                format!("Undefined -var variable; A \"{name}\" variable was set but was not found in job file."),
                nearest(name, declarations.keys().map(String::as_str))
                    .map(|known| format!("Did you mean \"{known}\"?"))
                    .unwrap_or_default(),
            ),
        }
    }
    values
}

fn from_text(
    text: &str,
    name: &str,
    declaration: &Declaration<'_>,
    budget: &Budget,
) -> Result<Value, String> {
    let invalid = |detail: String| {
        format!(
            "Invalid argument value for -var variable; The value of \"{name}\" does not fit: {detail}."
        )
    };
    let raw = declaration.declared_type.is_raw_text()
        && (declaration.has_type || !matches!(declaration.declared_type, Type::Number));
    let value = if raw || matches!(declaration.declared_type, Type::Text) {
        Value::from(text)
    } else {
        let source = Source::new("-var", text);
        let expr = hcl_edit::parser::parse_expr(text)
            .map_err(|error| invalid(error.message().to_owned()))?;
        Evaluator::constant(&source, budget)
            .value(&expr, &Scope::default())
            .map_err(|fault| invalid(fault.message))?
    };
    declaration.declared_type.convert(value).map_err(invalid)
}

fn from_file(
    decoder: &mut Decoder<'_, '_>,
    file: &VariableFile,
    given: &Variables,
    declarations: &BTreeMap<String, Declaration<'_>>,
    values: &mut BTreeMap<String, Value>,
) {
    let source = Source::new(&file.name, &file.text);
    let mut problems = Vec::new();
    let mut take = |name: &str,
                    span: Option<Range<usize>>,
                    value: Value,
                    problems: &mut Vec<Problem>| match declarations.get(name) {
        Some(declaration) => match declaration.declared_type.convert(value) {
            Ok(value) => {
                values.insert(name.to_owned(), value);
            }
            Err(detail) => problems.push(source.problem(
                span,
                format!(
                    "Invalid value for variable; The value of \"{name}\" does not fit: {detail}."
                ),
            )),
        },
        None if given.tolerate_undeclared => {}
        None => problems.push(source.problem(
            span,
            format!(
                "Undefined variable; A \"{name}\" variable was set but was not found in job file."
            ),
        )),
    };
    if file.text.trim_start().starts_with('{') {
        match serde_json::from_str::<Map<String, Value>>(&file.text) {
            Ok(map) => {
                for (name, value) in map {
                    take(&name, None, value, &mut problems);
                }
            }
            Err(error) => problems.push(json_problem(&source, &error)),
        }
    } else {
        match hcl_edit::parser::parse_body(&file.text) {
            Ok(body) => {
                let evaluator = Evaluator::constant(&source, decoder.evaluator.budget());
                for structure in body.iter() {
                    match structure {
                        Structure::Attribute(attribute) => match evaluator.value(&attribute.value, &Scope::default()) {
                            Ok(value) => take(attribute.key.as_str(), attribute.key.span(), value, &mut problems),
                            Err(fault) if fault.is_known => {}
                            Err(fault) => problems.push(source.problem(fault.span, fault.message)),
                        },
                        Structure::Block(block) => problems.push(source.problem(
                            block.ident.span(),
                            "Variable declaration in a .var file; A variable file holds only values: name = value.",
                        )),
                    }
                }
            }
            Err(error) => problems.push(syntax_problem(&source, &error)),
        }
    }
    decoder.problems.extend(problems);
}

fn validate(
    decoder: &mut Decoder<'_, '_>,
    name: &str,
    block: &Block,
    declaration: &Declaration<'_>,
    all: &Map<String, Value>,
) {
    let (Some(condition), Some(message)) = (
        block.body.get_attribute("condition"),
        block.body.get_attribute("error_message"),
    ) else {
        decoder.report(
            block.ident.span(),
            "Missing required argument; A validation block needs \"condition\" and \"error_message\".",
            "",
        );
        return;
    };
    let mut own = Map::new();
    own.insert(name.to_owned(), all.get(name).cloned().unwrap_or_default());
    let scope = Scope::root([("var".to_owned(), Value::Object(own))].into());
    let fine = decoder.evaluate(&condition.value, &scope);
    if super::value::flag(&fine) == Some(false) {
        let detail = decoder.evaluate(&message.value, &scope);
        let detail = super::value::text(&detail).unwrap_or_default();
        decoder.report(
            declaration.span.clone(),
            format!("Invalid value for variable; {detail}"),
            "",
        );
    }
}

/// The values of all locals: each is computed once those that it names are known.
pub(super) fn locals(
    decoder: &mut Decoder<'_, '_>,
    body: &Body,
    variables: &Map<String, Value>,
) -> Map<String, Value> {
    let mut pending: BTreeMap<String, (&Expression, Option<Range<usize>>)> = BTreeMap::new();
    for attribute in body
        .get_blocks("locals")
        .flat_map(|block| block.body.attributes())
    {
        let name = attribute.key.as_str().to_owned();
        let entry = (&attribute.value, attribute.key.span());
        if pending.insert(name.clone(), entry).is_some() {
            decoder.report(
                attribute.key.span(),
                format!("Duplicate value in locals; Duplicate {name} definition found."),
                "",
            );
        }
    }
    if pending.len() > MOST_LOCALS {
        decoder.report(
            None,
            format!("Too many locals; A job file may have at most {MOST_LOCALS} locals."),
            "",
        );
        return Map::new();
    }
    let outer = Scope::root([("var".to_owned(), Value::Object(variables.clone()))].into());
    let mut known = Map::new();
    loop {
        let ready: Vec<String> = pending
            .iter()
            .filter(|(_, (expr, _))| {
                named_locals(expr)
                    .iter()
                    .all(|name| !pending.contains_key(name))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if ready.is_empty() {
            break;
        }
        // What is known moves into the scope and out again: copies in each pass would add up.
        let mut scope = outer.inner([("local".to_owned(), Value::Object(known))]);
        let mut fresh = Map::new();
        for name in ready {
            let Some((expr, _)) = pending.remove(&name) else {
                continue;
            };
            let value = decoder.evaluate(expr, &scope);
            fresh.insert(name, value);
        }
        known = match scope.take("local") {
            Some(Value::Object(known)) => known,
            _ => Map::new(),
        };
        known.extend(fresh);
    }
    for (name, (_, span)) in pending {
        decoder.report(
            span,
            format!("Circular reference; The local \"{name}\" refers to itself, directly or through others."),
            "",
        );
        known.insert(name, Value::Null);
    }
    known
}

/// The names `x` of all `local.x` in an expression.
fn named_locals(expr: &Expression) -> BTreeSet<String> {
    #[derive(Default)]
    struct Names(BTreeSet<String>);
    impl Visit for Names {
        fn visit_traversal(&mut self, node: &Traversal) {
            if let (Expression::Variable(root), Some(TraversalOperator::GetAttr(name))) = (
                &node.expr,
                node.operators.first().map(|operator| operator.value()),
            ) && root.as_str() == "local"
            {
                self.0.insert(name.as_str().to_owned());
            }
            visit_traversal(self, node);
        }
    }
    let mut names = Names::default();
    names.visit_expr(expr);
    names.0
}
