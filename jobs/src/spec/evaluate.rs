use super::ReadFile;
use super::functions::{self, CallError};
use super::problem::{Source, nearest};
use super::scope::Scope;
use super::types::Type;
use super::value::{self, from_f64};
use hcl_edit::Span;
use hcl_edit::expr::{
    BinaryOp, BinaryOperator, Expression, ForCond, ForExpr, FuncCall, Object, ObjectKey, Traversal,
    TraversalOperator, UnaryOp, UnaryOperator,
};
use hcl_edit::template::{Directive, Element, Strip, Template};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::ops::Range;

/// Bytes that all expressions of one file together may build; a few nested copies of a variable
/// would otherwise fill the memory.
const BUDGET: usize = 64 << 20;

/// Why an expression has no value, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: String::new(),
        }
    }
}

/// Computes expressions of one file.
///
/// References whose root name is unknown are not errors: they become the text of the reference in
/// `${…}`, for the client to resolve at run time.
pub(super) struct Evaluator<'a> {
    pub(super) source: &'a Source<'a>,
    files: Option<&'a dyn ReadFile>,
    /// Set where neither references nor functions may stand: variable files, defaults.
    constant: bool,
    budget: Cell<usize>,
}

type Evaluated = Result<Value, Fault>;

impl<'a> Evaluator<'a> {
    pub(super) fn new(source: &'a Source<'a>, files: Option<&'a dyn ReadFile>) -> Self {
        Self {
            source,
            files,
            constant: false,
            budget: Cell::new(BUDGET),
        }
    }

    pub(super) fn constant(source: &'a Source<'a>) -> Self {
        Self {
            constant: true,
            ..Self::new(source, None)
        }
    }

    /// Takes the size of a value from the budget.
    pub(super) fn charge(&self, value: Value, span: Option<Range<usize>>) -> Evaluated {
        let left = value::size(&value).and_then(|size| self.budget.get().checked_sub(size));
        match left {
            Some(left) => {
                self.budget.set(left);
                Ok(value)
            }
            None => Err(Fault::new(
                span,
                "Expression too large; The expressions of this file build more, or deeper, data than a job may hold.",
            )),
        }
    }

    /// The value of an expression.
    pub(super) fn value(&self, expr: &Expression, scope: &Scope<'_>) -> Evaluated {
        let value = match expr {
            Expression::Null(_) => Value::Null,
            Expression::Bool(flag) => Value::Bool(*flag.value()),
            Expression::Number(number) => {
                let number = number.value();
                return match number.as_i64().map(Value::from) {
                    Some(whole) => Ok(whole),
                    None => number.as_f64().and_then(from_f64).ok_or_else(|| {
                        Fault::new(
                            expr.span(),
                            "Invalid number literal; The number is out of range.",
                        )
                    }),
                };
            }
            Expression::String(text) => Value::String(text.value().clone()),
            Expression::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.value(item, scope))
                    .collect::<Result<_, _>>()?,
            ),
            Expression::Object(object) => self.object(object, scope)?,
            Expression::StringTemplate(template) => {
                let mut text = String::new();
                self.template(template, scope, &mut text)?;
                Value::String(text)
            }
            Expression::HeredocTemplate(heredoc) => {
                let mut text = String::new();
                self.template(&heredoc.template, scope, &mut text)?;
                Value::String(text)
            }
            Expression::Parenthesis(inner) => return self.value(inner.inner(), scope),
            Expression::Variable(name) => match scope.get(name.as_str()) {
                Some(value) => value.clone(),
                None => self.verbatim(expr)?,
            },
            Expression::Conditional(cond) => {
                let test = self.value(&cond.cond_expr, scope)?;
                return match value::flag(&test) {
                    Some(true) => self.value(&cond.true_expr, scope),
                    Some(false) => self.value(&cond.false_expr, scope),
                    None => Err(Fault::new(
                        cond.cond_expr.span(),
                        "Incorrect condition type; The condition expression must be of type bool.",
                    )),
                };
            }
            Expression::FuncCall(call) => self.call(call, expr.span(), scope)?,
            Expression::Traversal(traversal) => {
                if self.is_run_time(expr, scope) {
                    self.verbatim(expr)?
                } else {
                    self.traversal(traversal, scope)?
                }
            }
            Expression::UnaryOp(op) => self.unary(op, scope)?,
            Expression::BinaryOp(op) => self.binary(op, expr.span(), scope)?,
            Expression::ForExpr(for_expr) => self.for_expr(for_expr, scope)?,
        };
        self.charge(value, expr.span())
    }

    /// True for a reference that only the client can resolve.
    fn is_run_time(&self, expr: &Expression, scope: &Scope<'_>) -> bool {
        match expr {
            Expression::Variable(name) => scope.get(name.as_str()).is_none(),
            Expression::Traversal(traversal) => {
                matches!(&traversal.expr, Expression::Variable(name) if scope.get(name.as_str()).is_none())
            }
            _ => false,
        }
    }

    /// A reference as text that the client will see.
    fn verbatim(&self, expr: &Expression) -> Evaluated {
        if self.constant {
            return Err(Fault::new(
                expr.span(),
                "Variables not allowed; Variables may not be used here.",
            ));
        }
        let text = self.source.slice(expr.span().unwrap_or_default()).trim();
        Ok(Value::String(format!("${{{text}}}")))
    }

    fn object(&self, object: &Object, scope: &Scope<'_>) -> Evaluated {
        let mut map = Map::new();
        for (key, value) in object.iter() {
            let key = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                // A bare reference as a key is its name; parentheses make it a reference.
                ObjectKey::Expression(Expression::Variable(name)) => name.as_str().to_owned(),
                ObjectKey::Expression(expr) => {
                    value::text(&self.value(expr, scope)?).ok_or_else(|| {
                        Fault::new(
                            expr.span(),
                            "Incorrect key type; Can't use this value as a key: string required.",
                        )
                    })?
                }
            };
            let value = self.value(value.expr(), scope)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn template(
        &self,
        template: &Template,
        scope: &Scope<'_>,
        out: &mut String,
    ) -> Result<(), Fault> {
        let elements: Vec<&Element> = template.iter().collect();
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    let mut text = text.value().as_str();
                    let before = index.checked_sub(1).and_then(|at| elements.get(at));
                    if before.is_some_and(|element| strips(element).1) {
                        text = text.trim_start();
                    }
                    if elements
                        .get(index + 1)
                        .is_some_and(|element| strips(element).0)
                    {
                        text = text.trim_end();
                    }
                    out.push_str(text);
                }
                Element::Interpolation(part)
                    if !self.constant && self.is_run_time(&part.expr, scope) =>
                {
                    out.push_str(self.source.slice(part.span().unwrap_or_default()));
                }
                Element::Interpolation(part) => {
                    let value = self.value(&part.expr, scope)?;
                    let text = value::text(&value).ok_or_else(|| {
                        let detail = if value.is_null() {
                            "The expression result is null. Cannot include a null value in a string template."
                        } else {
                            "Cannot include the given value in a string template: string required."
                        };
                        Fault::new(part.expr.span(), format!("Invalid template interpolation value; {detail}"))
                    })?;
                    out.push_str(&text);
                }
                Element::Directive(directive) => self.directive(directive, scope, out)?,
            }
        }
        Ok(())
    }

    fn directive(
        &self,
        directive: &Directive,
        scope: &Scope<'_>,
        out: &mut String,
    ) -> Result<(), Fault> {
        match directive {
            Directive::If(choice) => {
                let cond = &choice.if_expr.cond_expr;
                let test = self.value(cond, scope)?;
                let (trim_start, template, trim_end) = match (value::flag(&test), &choice.else_expr)
                {
                    (Some(true), other) => (
                        choice.if_expr.strip.strip_end(),
                        &choice.if_expr.template,
                        match other {
                            Some(other) => other.strip.strip_start(),
                            None => choice.endif_expr.strip.strip_start(),
                        },
                    ),
                    (Some(false), Some(other)) => (
                        other.strip.strip_end(),
                        &other.template,
                        choice.endif_expr.strip.strip_start(),
                    ),
                    (Some(false), None) => return Ok(()),
                    (None, _) => {
                        return Err(Fault::new(
                            cond.span(),
                            "Incorrect condition type; The condition expression must be of type bool.",
                        ));
                    }
                };
                let mut text = String::new();
                self.template(template, scope, &mut text)?;
                out.push_str(trimmed(&text, trim_start, trim_end));
                Ok(())
            }
            Directive::For(directive) => {
                let intro = &directive.for_expr;
                let pairs = self.pairs(&intro.collection_expr, scope)?;
                for (key, value) in pairs {
                    let mut names = vec![(intro.value_var.as_str().to_owned(), value)];
                    if let Some(name) = &intro.key_var {
                        names.push((name.as_str().to_owned(), key));
                    }
                    let mut text = String::new();
                    self.template(&intro.template, &scope.inner(names), &mut text)?;
                    self.charge(Value::from(text.as_str()), intro.collection_expr.span())?;
                    out.push_str(trimmed(
                        &text,
                        intro.strip.strip_end(),
                        directive.endfor_expr.strip.strip_start(),
                    ));
                }
                Ok(())
            }
        }
    }

    /// The pairs of the collection that a `for` walks.
    fn pairs(&self, expr: &Expression, scope: &Scope<'_>) -> Result<Vec<(Value, Value)>, Fault> {
        let collection = self.value(expr, scope)?;
        value::pairs(&collection).ok_or_else(|| {
            Fault::new(
                expr.span(),
                format!(
                    "Iteration over non-iterable value; A value of type {} cannot be used as the collection in a 'for' expression.",
                    value::type_name(&collection)
                ),
            )
        })
    }

    fn for_expr(&self, expr: &ForExpr, scope: &Scope<'_>) -> Evaluated {
        let mut list = Vec::new();
        let mut map: Map<String, Value> = Map::new();
        for (key, value) in self.pairs(&expr.intro.collection_expr, scope)? {
            let mut names = vec![(expr.intro.value_var.as_str().to_owned(), value)];
            if let Some(name) = &expr.intro.key_var {
                names.push((name.as_str().to_owned(), key));
            }
            let inner = scope.inner(names);
            if !self.passes(expr.cond.as_ref(), &inner)? {
                continue;
            }
            let value = self.value(&expr.value_expr, &inner)?;
            let Some(key_expr) = &expr.key_expr else {
                list.push(value);
                continue;
            };
            let key = value::text(&self.value(key_expr, &inner)?).ok_or_else(|| {
                Fault::new(
                    key_expr.span(),
                    "Invalid object key; The key expression must be a string.",
                )
            })?;
            if expr.grouping {
                let group = map.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(items) = group {
                    items.push(value);
                }
            } else if map.insert(key.clone(), value).is_some() {
                return Err(Fault::new(
                    key_expr.span(),
                    format!(
                        "Duplicate object key; Two different items produced the key {key:?} in this 'for' expression."
                    ),
                ));
            }
        }
        Ok(if expr.key_expr.is_some() {
            Value::Object(map)
        } else {
            Value::Array(list)
        })
    }

    fn passes(&self, cond: Option<&ForCond>, scope: &Scope<'_>) -> Result<bool, Fault> {
        let Some(cond) = cond else {
            return Ok(true);
        };
        let test = self.value(&cond.expr, scope)?;
        value::flag(&test).ok_or_else(|| {
            Fault::new(
                cond.expr.span(),
                "Invalid 'for' condition; The 'if' clause value must be of type bool.",
            )
        })
    }

    fn traversal(&self, traversal: &Traversal, scope: &Scope<'_>) -> Evaluated {
        let root = match &traversal.expr {
            // Only the part below the root is copied.
            Expression::Variable(name) => scope.get(name.as_str()),
            _ => None,
        };
        let computed;
        let root = match root {
            Some(root) => root,
            None => {
                computed = self.value(&traversal.expr, scope)?;
                &computed
            }
        };
        let operators: Vec<(&TraversalOperator, Option<Range<usize>>)> = traversal
            .operators
            .iter()
            .map(|operator| (operator.value(), operator.span()))
            .collect();
        self.walk(root, &operators, scope)
    }

    fn walk(
        &self,
        value: &Value,
        operators: &[(&TraversalOperator, Option<Range<usize>>)],
        scope: &Scope<'_>,
    ) -> Evaluated {
        let Some(((operator, span), rest)) = operators.split_first() else {
            return Ok(value.clone());
        };
        match operator {
            TraversalOperator::GetAttr(name) => {
                let next = match value {
                    Value::Object(map) => map.get(name.as_str()),
                    _ => None,
                };
                let next = next.ok_or_else(|| {
                    Fault::new(
                        span.clone(),
                        match value {
                            Value::Object(_) => format!(
                                "Unsupported attribute; This object does not have an attribute named \"{}\".",
                                name.as_str()
                            ),
                            _ => format!(
                                "Unsupported attribute; Can't access attributes on a value of type {}.",
                                value::type_name(value)
                            ),
                        },
                    )
                })?;
                self.walk(next, rest, scope)
            }
            TraversalOperator::Index(expr) => {
                let key = self.value(expr, scope)?;
                let next = index(value, &key).ok_or_else(|| {
                    Fault::new(
                        expr.span(),
                        "Invalid index; The given key does not identify an element in this collection value.",
                    )
                })?;
                self.walk(next, rest, scope)
            }
            TraversalOperator::LegacyIndex(number) => {
                let next = index(value, &Value::from(*number.value())).ok_or_else(|| {
                    Fault::new(
                        span.clone(),
                        "Invalid index; The given key does not identify an element in this collection value.",
                    )
                })?;
                self.walk(next, rest, scope)
            }
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                let single;
                let items: &[Value] = match value {
                    Value::Array(items) => items,
                    Value::Null => &[],
                    other => {
                        single = [other.clone()];
                        &single
                    }
                };
                items
                    .iter()
                    .map(|item| self.walk(item, rest, scope))
                    .collect::<Result<_, _>>()
                    .map(Value::Array)
            }
        }
    }

    fn unary(&self, op: &UnaryOp, scope: &Scope<'_>) -> Evaluated {
        let operand = self.value(&op.expr, scope)?;
        let result = match op.operator.value() {
            UnaryOperator::Neg => match whole_number(&operand) {
                Some(number) => number.checked_neg().map(Value::from),
                None => value::number(&operand).and_then(|number| from_f64(-number)),
            },
            UnaryOperator::Not => value::flag(&operand).map(|flag| Value::Bool(!flag)),
        };
        result.ok_or_else(|| {
            let wanted = match op.operator.value() {
                UnaryOperator::Neg => "a number",
                UnaryOperator::Not => "a bool",
            };
            Fault::new(
                op.expr.span(),
                format!(
                    "Invalid operand; Unsuitable value for unary operand: {wanted} is required."
                ),
            )
        })
    }

    fn binary(&self, op: &BinaryOp, span: Option<Range<usize>>, scope: &Scope<'_>) -> Evaluated {
        let operator = *op.operator.value();
        let left = self.value(&op.lhs_expr, scope)?;
        let right = self.value(&op.rhs_expr, scope)?;
        let unsuitable = |side: &str, expr: &Expression, wanted: &str| {
            Fault::new(
                expr.span(),
                format!(
                    "Invalid operand; Unsuitable value for {side} operand: {wanted} is required."
                ),
            )
        };
        match operator {
            BinaryOperator::Eq => return Ok(Value::Bool(left == right)),
            BinaryOperator::NotEq => return Ok(Value::Bool(left != right)),
            BinaryOperator::And | BinaryOperator::Or => {
                let a =
                    value::flag(&left).ok_or_else(|| unsuitable("left", &op.lhs_expr, "a bool"))?;
                let b = value::flag(&right)
                    .ok_or_else(|| unsuitable("right", &op.rhs_expr, "a bool"))?;
                return Ok(Value::Bool(if operator == BinaryOperator::And {
                    a && b
                } else {
                    a || b
                }));
            }
            _ => {}
        }
        let a = value::number(&left).ok_or_else(|| unsuitable("left", &op.lhs_expr, "a number"))?;
        let b =
            value::number(&right).ok_or_else(|| unsuitable("right", &op.rhs_expr, "a number"))?;
        let whole = whole_number(&left).zip(whole_number(&right));
        let result = match operator {
            BinaryOperator::Less => Some(Value::Bool(a < b)),
            BinaryOperator::LessEq => Some(Value::Bool(a <= b)),
            BinaryOperator::Greater => Some(Value::Bool(a > b)),
            BinaryOperator::GreaterEq => Some(Value::Bool(a >= b)),
            BinaryOperator::Div | BinaryOperator::Mod if b == 0.0 => {
                return Err(Fault::new(span, "Division by zero; Cannot divide by zero."));
            }
            BinaryOperator::Plus => exact(whole, i64::checked_add).or_else(|| from_f64(a + b)),
            BinaryOperator::Minus => exact(whole, i64::checked_sub).or_else(|| from_f64(a - b)),
            BinaryOperator::Mul => exact(whole, i64::checked_mul).or_else(|| from_f64(a * b)),
            BinaryOperator::Mod => exact(whole, i64::checked_rem).or_else(|| from_f64(a % b)),
            _ => from_f64(a / b),
        };
        result.ok_or_else(|| {
            Fault::new(
                span,
                "Operation failed; Error during operation: the result is out of range.",
            )
        })
    }

    fn call(&self, call: &FuncCall, span: Option<Range<usize>>, scope: &Scope<'_>) -> Evaluated {
        let name = call.name.name.as_str();
        let name_span = call.name.name.span();
        if self.constant {
            return Err(Fault::new(
                name_span,
                "Function calls not allowed; Functions may not be called here.",
            ));
        }
        let args: Vec<&Expression> = call.args.iter().collect();
        match (name, args.as_slice()) {
            ("can", [arg]) => return Ok(Value::Bool(self.value(arg, scope).is_ok())),
            ("try", [_, ..]) => {
                let mut last = None;
                for arg in args {
                    match self.value(arg, scope) {
                        Ok(value) => return Ok(value),
                        Err(fault) => last = Some(fault),
                    }
                }
                return last.map_or(Ok(Value::Null), Err);
            }
            ("convert", [arg, wanted]) => {
                let wanted_type = Type::parse(wanted).map_err(|()| {
                    Fault::new(
                        wanted.span(),
                        "Invalid type specification; A type is expected here.",
                    )
                })?;
                return wanted_type.convert(self.value(arg, scope)?).map_err(|detail| {
                    Fault::new(arg.span(), format!("Error in function call; Call to function \"convert\" failed: {detail}."))
                });
            }
            _ => {}
        }
        let mut values = args
            .iter()
            .map(|arg| self.value(arg, scope))
            .collect::<Result<Vec<_>, _>>()?;
        if call.args.expand_final() {
            match values.pop() {
                Some(Value::Array(items)) => values.extend(items),
                _ => {
                    return Err(Fault::new(
                        args.last().and_then(|arg| arg.span()),
                        "Invalid expanding argument value; The expanding argument (indicated by ...) must be of a tuple, list, or set type.",
                    ));
                }
            }
        }
        functions::call(name, &values, self.files).map_err(|error| {
            let (at, message) = match error {
                CallError::Unknown => {
                    let mut fault = Fault::new(
                        name_span.clone(),
                        format!("Call to unknown function; There is no function named \"{name}\"."),
                    );
                    if let Some(known) = nearest(name, functions::names()) {
                        fault.hint = format!("Did you mean \"{known}\"?");
                    }
                    return fault;
                }
                CallError::Unsupported => (
                    name_span.clone(),
                    format!("Function not supported; The function \"{name}\" is not supported yet by this version."),
                ),
                CallError::TooFew => (
                    span.clone(),
                    format!("Not enough function arguments; Function \"{name}\" expects more arguments."),
                ),
                CallError::TooMany => (
                    span.clone(),
                    format!("Too many function arguments; Function \"{name}\" expects fewer arguments."),
                ),
                CallError::Argument(index, detail) => (
                    args.get(index).or(args.last()).and_then(|arg| arg.span()),
                    format!("Invalid function argument; Invalid value for argument {} of \"{name}\": {detail}.", index + 1),
                ),
                CallError::Failed(detail) => (
                    span.clone(),
                    format!("Error in function call; Call to function \"{name}\" failed: {detail}."),
                ),
            };
            Fault::new(at, message)
        })
    }
}

fn exact(pair: Option<(i64, i64)>, f: fn(i64, i64) -> Option<i64>) -> Option<Value> {
    pair.and_then(|(a, b)| f(a, b)).map(Value::from)
}

fn whole_number(value: &Value) -> Option<i64> {
    value::whole(value)
}

/// The element of a list or object.
fn index<'v>(value: &'v Value, key: &Value) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.get(usize::try_from(value::whole(key)?).ok()?),
        Value::Object(map) => map.get(&value::text(key)?),
        _ => None,
    }
}

/// Whether an element eats the white space before and after it.
fn strips(element: &Element) -> (bool, bool) {
    let both = |strip: Strip| (strip.strip_start(), strip.strip_end());
    match element {
        Element::Literal(_) => (false, false),
        Element::Interpolation(part) => both(part.strip),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(part) => (
                part.if_expr.strip.strip_start(),
                part.endif_expr.strip.strip_end(),
            ),
            Directive::For(part) => (
                part.for_expr.strip.strip_start(),
                part.endfor_expr.strip.strip_end(),
            ),
        },
    }
}

fn trimmed(text: &str, start: bool, end: bool) -> &str {
    let text = if start { text.trim_start() } else { text };
    if end { text.trim_end() } else { text }
}
