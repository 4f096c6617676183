//! The values of expressions.

mod budget;
mod call;
mod iteration;
mod literals;
mod operation;
mod template;
mod traversal;

use super::Surroundings;
use super::functions::Outside;
use super::problem::Source;
use super::scope::Scope;
use super::value::{self, from_f64};
pub(super) use budget::Budget;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, Object, ObjectKey};
use hcl_edit::template::{Element, StringTemplate, Template};
use literals::Literals;
use serde_json::{Map, Value};
use std::ops::Range;
use template::Layout;

/// What is said when the budget does not suffice.
pub(super) const TOO_MUCH: &str = "Expression too large; The expressions of this file build more, or deeper, data than a job may hold.";

/// What every expression costs at least, bytes of the budget.
const STEP_BYTES: usize = 64;

/// Why an expression has no value, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) hint: String,
    /// Follows from one that has been reported: nothing to add.
    pub(super) is_known: bool,
    /// The name that nothing has at run time.
    pub(super) unknown: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: String::new(),
            is_known: false,
            unknown: None,
        }
    }

    /// Without a budget there is no value.
    fn spent(span: Option<Range<usize>>) -> Self {
        Self::new(span, TOO_MUCH)
    }
}

/// Computes expressions of one file.
///
/// References whose root name is unknown are not errors: they become the text of the reference in
/// `${…}`, for the client to resolve at run time.
pub(super) struct Evaluator<'a> {
    pub(super) source: &'a Source<'a>,
    outside: Outside<'a>,
    mode: Mode<'a>,
    budget: Budget,
}

/// Where an expression stands.
#[derive(Clone, Copy)]
enum Mode<'a> {
    /// In a job file: what is unknown is left for run time.
    File,
    /// In a variable file or a default, where neither references nor functions may stand.
    Constant,
    /// In what a job file left for run time: names have values, or nothing has.
    RunTime(Names<'a>),
}

/// The names that have a value at run time, dots included.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
}

type Evaluated = Result<Value, Fault>;

/// The fault of a condition that is neither true nor false.
fn no_condition(value: &Value, span: Option<Range<usize>>) -> Fault {
    let text = if value.is_null() {
        "Null condition; The condition value is null. Conditions must either be true or false."
    } else {
        "Incorrect condition type; The condition expression must be of type bool."
    };
    Fault::new(span, text)
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(source: &'a Source<'a>, surroundings: &Surroundings<'a>) -> Self {
        Self {
            source,
            outside: Outside::new(surroundings),
            mode: Mode::File,
            budget: Budget::new(),
        }
    }

    /// For what was left for run time, on a budget for all of it.
    pub(super) fn at_run_time(source: &'a Source<'a>, names: Names<'a>, budget: &Budget) -> Self {
        Self {
            mode: Mode::RunTime(names),
            ..Self::constant(source, budget)
        }
    }

    /// For expressions without references and functions, on the budget of their file.
    pub(super) fn constant(source: &'a Source<'a>, budget: &Budget) -> Self {
        Self {
            source,
            outside: Outside::new(&Surroundings::default()),
            mode: Mode::Constant,
            budget: budget.clone(),
        }
    }

    /// What the expressions of the file may still allocate.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes a number of bytes from the budget.
    pub(super) fn charge(&self, bytes: usize, span: Option<Range<usize>>) -> Result<(), Fault> {
        self.budget.take(bytes).map_err(|_| Fault::spent(span))
    }

    /// Takes the size of a value from the budget, before it is copied or when it has been made.
    pub(super) fn charge_for(
        &self,
        value: &Value,
        span: Option<Range<usize>>,
    ) -> Result<(), Fault> {
        self.budget.take_copy(value).map_err(|_| Fault::spent(span))
    }

    /// A copy of a value that is kept elsewhere too.
    fn copy(&self, value: &Value, span: Option<Range<usize>>) -> Evaluated {
        self.charge_for(value, span)?;
        Ok(value.clone())
    }

    /// The value of an expression.
    pub(super) fn value(&self, expr: &Expression, scope: &Scope<'_>) -> Evaluated {
        if self.budget.is_spent() {
            return Err(Fault {
                is_known: true,
                ..Fault::spent(expr.span())
            });
        }
        self.charge(STEP_BYTES, expr.span())?;
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
                if let Some(expr) = alone(template)
                    && !self.is_run_time(expr, scope)
                {
                    return self.value(expr, scope);
                }
                let mut text = String::new();
                self.template(template, scope, Layout::quoted(), &mut text)?;
                Value::String(text)
            }
            Expression::HeredocTemplate(heredoc) => {
                let mut text = String::new();
                let literals =
                    (heredoc.indent()).map(|_| Literals::of(&heredoc.template, self.source));
                let layout = literals.as_ref().map(Layout::indented).unwrap_or_default();
                self.template(&heredoc.template, scope, layout, &mut text)?;
                Value::String(text)
            }
            Expression::Parenthesis(inner) => return self.value(inner.inner(), scope),
            Expression::Variable(name) => match scope.get(name.as_str()) {
                Some(value) => return self.copy(value, expr.span()),
                None => self.unknown(expr, scope)?,
            },
            Expression::Conditional(cond) => {
                let test = self.value(&cond.cond_expr, scope)?;
                let (chosen, other) = match value::flag(&test) {
                    Some(true) => (&cond.true_expr, &cond.false_expr),
                    Some(false) => (&cond.false_expr, &cond.true_expr),
                    None => return Err(no_condition(&test, cond.cond_expr.span())),
                };
                let value = self.value(chosen, scope)?;
                // Both have one type: beside a text, numbers and flags are texts too.
                if matches!(value, Value::Number(_) | Value::Bool(_)) {
                    let is_text = matches!(self.value(other, scope), Ok(Value::String(_)));
                    if let Some(text) = value::text(&value).filter(|_| is_text) {
                        return Ok(text.into());
                    }
                }
                return Ok(value);
            }
            Expression::FuncCall(call) => self.call(call, expr.span(), scope)?,
            Expression::Traversal(traversal) => {
                if self.is_run_time(expr, scope) {
                    self.unknown(expr, scope)?
                } else {
                    return self.traversal(traversal, scope);
                }
            }
            Expression::UnaryOp(op) => self.unary(op, scope)?,
            Expression::BinaryOp(op) => self.binary(op, expr.span(), scope)?,
            Expression::ForExpr(for_expr) => self.for_expr(for_expr, scope)?,
        };
        self.charge_for(&value, expr.span())?;
        Ok(value)
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

    /// The value of a reference whose root name is unknown.
    fn unknown(&self, expr: &Expression, scope: &Scope<'_>) -> Evaluated {
        match self.mode {
            Mode::File => self.verbatim(expr),
            Mode::Constant => Err(Fault::new(
                expr.span(),
                "Variables not allowed; Variables may not be used here.",
            )),
            Mode::RunTime(names) => self.named(names, expr, scope),
        }
    }

    /// True where unknown references stay as they are.
    fn is_file(&self) -> bool {
        matches!(self.mode, Mode::File)
    }

    /// The text of a template.
    pub(super) fn text(&self, template: &Template, scope: &Scope<'_>) -> Result<String, Fault> {
        let mut text = String::new();
        self.template(template, scope, Layout::default(), &mut text)?;
        Ok(text)
    }

    /// A reference as text that the client will see.
    fn verbatim(&self, expr: &Expression) -> Evaluated {
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
                    let key = self.value(expr, scope)?;
                    value::text(&key).ok_or_else(|| {
                        let text = if key.is_null() {
                            "Null value as key; Can't use a null value as a key."
                        } else {
                            "Incorrect key type; Can't use this value as a key: string required."
                        };
                        Fault::new(expr.span(), text)
                    })?
                }
            };
            let value = self.value(value.expr(), scope)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The expression of `"${…}"`, which has the value of the expression, whatever its type.
fn alone(template: &StringTemplate) -> Option<&Expression> {
    let mut elements = template.iter();
    match (elements.next(), elements.next()) {
        (Some(Element::Interpolation(part)), None) => Some(&part.expr),
        _ => None,
    }
}
