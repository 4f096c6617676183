use super::{Evaluated, Evaluator, Fault, Mode};
use crate::spec::functions::{self, CallError};
use crate::spec::problem::nearest;
use crate::spec::scope::Scope;
use crate::spec::types::Type;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, FuncCall};
use serde_json::Value;
use std::ops::Range;

impl Evaluator<'_> {
    pub(super) fn call(
        &self,
        call: &FuncCall,
        span: Option<Range<usize>>,
        scope: &Scope<'_>,
    ) -> Evaluated {
        let name = call.name.name.as_str();
        let name_span = call.name.name.span();
        if matches!(self.mode, Mode::Constant) {
            return Err(Fault::new(
                name_span,
                "Function calls not allowed; Functions may not be called here.",
            ));
        }
        if matches!(self.mode, Mode::RunTime(_)) && !functions::RUN_TIME.contains(&name) {
            return Err(Fault::new(
                name_span,
                format!(
                    "Call to unknown function; There is no function named \"{name}\" at run time."
                ),
            ));
        }
        if let Some(space) = call.name.namespace.first() {
            return Err(Fault::new(
                space.span(),
                format!(
                    "Call to unknown function; There are no functions in namespace \"{space}::\"."
                ),
            ));
        }
        let args: Vec<&Expression> = call.args.iter().collect();
        match (name, args.as_slice()) {
            ("can", [arg]) => {
                return match self.value(arg, scope) {
                    Err(fault) if self.budget.is_spent() => Err(fault),
                    tried => Ok(Value::Bool(tried.is_ok())),
                };
            }
            ("try", [_, ..]) => {
                let mut last = None;
                for arg in args {
                    match self.value(arg, scope) {
                        Ok(value) => return Ok(value),
                        Err(fault) if self.budget.is_spent() => return Err(fault),
                        Err(fault) => last = Some(fault),
                    }
                }
                return last.map_or(Ok(Value::Null), Err);
            }
            ("convert", [arg, wanted]) => {
                let wanted_type = Type::parse_wanted(wanted).map_err(|fault| {
                    Fault::new(
                        fault.span,
                        format!("Invalid type specification; {}", fault.detail),
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
        self.charge(functions::cost(name, &values), span.clone())?;
        let result = match self.mode {
            Mode::RunTime(_) => functions::call_at_run_time(name, &values),
            Mode::File | Mode::Constant => None,
        };
        let result = result.unwrap_or_else(|| functions::call(name, &values, &self.outside));
        result.map_err(|error| {
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
                CallError::TooFew => (
                    span.clone(),
                    format!("Not enough function arguments; Function \"{name}\" expects more arguments."),
                ),
                CallError::TooMany => (
                    span.clone(),
                    format!("Too many function arguments; Function \"{name}\" expects fewer arguments."),
                ),
                CallError::Argument(index, detail) => (
                    args.get(index).or_else(|| args.last()).and_then(|arg| arg.span()),
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
