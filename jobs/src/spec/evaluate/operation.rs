use super::{Evaluated, Evaluator, Fault};
use crate::spec::scope::Scope;
use crate::spec::value::{self, Arithmetic, from_f64};
use hcl_edit::Span;
use hcl_edit::expr::{BinaryOp, BinaryOperator, Expression, UnaryOp, UnaryOperator};
use serde_json::Value;
use std::ops::Range;

impl Evaluator<'_> {
    pub(super) fn unary(&self, op: &UnaryOp, scope: &Scope<'_>) -> Evaluated {
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

    pub(super) fn binary(
        &self,
        op: &BinaryOp,
        span: Option<Range<usize>>,
        scope: &Scope<'_>,
    ) -> Evaluated {
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
        let float = |operation, rough| from_f64(value::on_paper(a, b, operation).unwrap_or(rough));
        let whole = whole_number(&left).zip(whole_number(&right));
        let result = match operator {
            BinaryOperator::Less => Some(Value::Bool(a < b)),
            BinaryOperator::LessEq => Some(Value::Bool(a <= b)),
            BinaryOperator::Greater => Some(Value::Bool(a > b)),
            BinaryOperator::GreaterEq => Some(Value::Bool(a >= b)),
            BinaryOperator::Div | BinaryOperator::Mod if b == 0.0 => {
                return Err(Fault::new(span, "Division by zero; Cannot divide by zero."));
            }
            BinaryOperator::Plus => {
                exact(whole, i64::checked_add).or_else(|| float(Arithmetic::Add, a + b))
            }
            BinaryOperator::Minus => {
                exact(whole, i64::checked_sub).or_else(|| float(Arithmetic::Subtract, a - b))
            }
            BinaryOperator::Mul => {
                exact(whole, i64::checked_mul).or_else(|| float(Arithmetic::Multiply, a * b))
            }
            BinaryOperator::Mod => {
                exact(whole, i64::checked_rem).or_else(|| float(Arithmetic::Remainder, a % b))
            }
            _ => float(Arithmetic::Divide, a / b),
        };
        result.ok_or_else(|| {
            Fault::new(
                span,
                "Operation failed; Error during operation: the result is out of range.",
            )
        })
    }
}

fn exact(pair: Option<(i64, i64)>, f: fn(i64, i64) -> Option<i64>) -> Option<Value> {
    pair.and_then(|(a, b)| f(a, b)).map(Value::from)
}

fn whole_number(value: &Value) -> Option<i64> {
    value::whole(value)
}
