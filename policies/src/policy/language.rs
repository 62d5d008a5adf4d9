//! The one place that calls the expression language: what is declared to an expression, what it is given, what it costs.
//!
//! Variables are composited as the API server does it: each is evaluated when an expression of a run first asks for it, with
//! a limit of its own, and is paid for once.

mod show;
mod types;

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::cel::library::authorizer::{Authorizer, Resource as Asked, authorizer_value, request_resource_value};
use crate::cel::{Bindings, Environment, EvalError, Field, Issue, Meter, Program, Type, Value, Version};
pub(crate) use show::show;
pub(crate) use types::{VARIABLES, VariableType, kept};

/// Budget of one expression.
pub(crate) const PER_CALL: u64 = 1_000_000;

/// The expression language of a Kubernetes version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(pub Version);

/// What an expression may name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Declared {
    pub(crate) params: bool,
    pub(crate) authorizer: bool,
    pub(crate) variables: Arc<[(String, VariableType)]>,
}

/// What an expression must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    Bool,
    String,
    StringOrNull,
    Anything,
}

/// A compiled expression, or why it is none. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Expression(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: String,
    program: Result<Program, Fault>,
}

/// Why an expression does not compile: in the API server's words, and what was perhaps meant.
#[derive(Debug)]
struct Fault {
    text: String,
    hint: Option<String>,
}

/// What an expression came to, as far as policies look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Bool(bool),
    String(String),
    Null,
    /// The name of its type.
    Other(String),
}

/// What expressions are given.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'r> {
    pub(crate) object: &'r Json,
    pub(crate) old_object: &'r Json,
    /// Absent where the policy has no params.
    pub(crate) params: Option<&'r Json>,
    pub(crate) request: &'r Json,
    pub(crate) namespace: &'r Json,
    /// Who answers, and what `authorizer.requestResource` asks about.
    pub(crate) authorizer: Option<(&'r Arc<dyn Authorizer>, &'r Asked)>,
    pub(crate) deadline: &'r dyn Fn() -> bool,
}

/// Inputs and lazily evaluated variables, for one run of expressions.
pub(crate) struct Activation<'r> {
    inputs: Inputs<'r>,
    variables: &'r [(String, Expression)],
    values: Vec<OnceCell<Result<Value<'r>, EvalError>>>,
    /// What variables cost that nobody has paid for yet.
    owed: Cell<u64>,
    /// Variables of comprehensions that an explanation looks into.
    locals: &'r [(String, Value<'r>)],
}

/// One evaluation.
pub(crate) struct Done<'r> {
    pub(crate) value: Result<Value<'r>, EvalError>,
    pub(crate) cost: u64,
    /// What the variables cost that it was the first to ask for.
    pub(crate) of_variables: u64,
}

impl Default for Language {
    fn default() -> Self {
        Self(Version::V1_34)
    }
}

// === impl Language ===

impl Language {
    /// What an expression may refer to, and the functions there are.
    pub(crate) fn environment(self, declared: &Declared) -> Environment {
        types::declare(Environment::kubernetes(self.0), declared)
    }
}

// === impl Expression ===

impl Expression {
    pub(crate) fn compile(environment: &Environment, source: &str, wanted: Wanted) -> Self {
        let program =
            environment.compile(source).map_err(|issues| Fault { text: words(source, &issues), hint: issues.into_iter().find_map(|issue| issue.suggestion) });
        let program = program.and_then(|program| of_type(program, wanted));
        Self(Arc::new(Inner { source: source.to_owned(), program }))
    }

    pub(crate) fn source(&self) -> &str {
        &self.0.source
    }

    /// Why it does not compile, if it does not.
    pub(crate) fn compiled(&self) -> Result<(), &str> {
        self.0.program.as_ref().map(|_| ()).map_err(|fault| fault.text.as_str())
    }

    /// What was perhaps meant, if it does not compile.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.0.program.as_ref().err()?.hint.as_deref()
    }

    /// The type of a variable that it defines.
    pub(crate) fn variable_type(&self) -> VariableType {
        VariableType::of(self.0.program.as_ref().map_or(&Type::Dyn, Program::output))
    }
}

/// An expression that checks and cannot be made a program has no place in the server's words.
fn words(source: &str, issues: &[Issue]) -> String {
    let instantiation = issues.first().filter(|issue| issue.message.starts_with("program instantiation failed: "));
    instantiation.map_or_else(|| format!("compilation failed: {}", listed(source, issues)), |issue| issue.message.clone())
}

fn of_type(program: Program, wanted: Wanted) -> Result<Program, Fault> {
    let got = program.output();
    let (fits, words) = match wanted {
        Wanted::Anything => (true, ""),
        Wanted::Bool => (*got == Type::Bool, "bool"),
        Wanted::String => (*got == Type::String, "string"),
        Wanted::StringOrNull => (matches!(got, Type::String | Type::Null), "one of [string null_type]"),
    };
    if fits { Ok(program) } else { Err(Fault { text: format!("must evaluate to {words} but got {got}"), hint: None }) }
}

/// The issues as cel-go prints them: place, words, the line, and a mark below it.
pub(crate) fn listed(source: &str, issues: &[Issue]) -> String {
    let one = |issue: &Issue| {
        let line = source.lines().nth(issue.line.saturating_sub(1)).unwrap_or_default();
        let dots = ".".repeat(issue.column.saturating_sub(1));
        format!("ERROR: <input>:{}:{}: {}\n | {line}\n | {dots}^", issue.line, issue.column, issue.message)
    };
    issues.iter().map(one).collect::<Vec<_>>().join("\n")
}

// === impl Activation ===

impl<'r> Activation<'r> {
    pub(crate) fn new(variables: &'r [(String, Expression)], inputs: Inputs<'r>) -> Self {
        Self { inputs, variables, values: variables.iter().map(|_| OnceCell::new()).collect(), owed: Cell::new(0), locals: &[] }
    }

    /// With variables of comprehensions.
    pub(crate) fn with_locals(self, locals: &'r [(String, Value<'r>)]) -> Self {
        Self { locals, ..self }
    }

    pub(crate) fn evaluate(&self, expression: &Expression, limit: u64) -> Done<'r> {
        let Ok(program) = &expression.0.program else {
            return Done { value: Err(EvalError::invalid("it does not compile")), cost: 0, of_variables: 0 };
        };
        let mut meter = Meter::new(limit).with_interrupt(self.inputs.deadline);
        let value = program.evaluate(self, &mut meter);
        Done { value, cost: meter.spent(), of_variables: self.owed.take() }
    }

    fn variable(&self, position: usize) -> Option<Result<Value<'r>, EvalError>> {
        let (name, expression) = self.variables.get(position)?;
        let value = self.values.get(position)?.get_or_init(|| {
            let program = match &expression.0.program {
                Ok(program) => program,
                Err(reason) => return Err(EvalError::invalid(format!("composited variable \"{name}\" fails to compile: {}", reason.text))),
            };
            let mut meter = Meter::new(PER_CALL).with_interrupt(self.inputs.deadline);
            let value = program.evaluate(self, &mut meter);
            self.owed.set(self.owed.get().saturating_add(meter.spent()));
            value.map_err(|cause| EvalError::invalid(format!("composited variable \"{name}\" fails to evaluate: {cause}")))
        });
        Some(value.clone())
    }
}

impl<'r> Bindings<'r> for Activation<'r> {
    fn get(&self, name: &str) -> Option<Result<Value<'r>, EvalError>> {
        let json = match name {
            "object" => self.inputs.object,
            "oldObject" => self.inputs.old_object,
            "request" => self.inputs.request,
            "namespaceObject" => self.inputs.namespace,
            "params" => self.inputs.params?,
            "authorizer" => return self.inputs.authorizer.map(|(authorizer, _)| Ok(authorizer_value(Arc::clone(authorizer)))),
            "authorizer.requestResource" => {
                return self.inputs.authorizer.map(|(authorizer, asked)| Ok(request_resource_value(Arc::clone(authorizer), asked.clone())));
            }
            _ => return self.locals.iter().find(|(local, _)| local == name).map(|(_, value)| Ok(value.clone())),
        };
        Some(Ok(Value::from(json)))
    }

    fn field(&self, variable: &str, field: &str) -> Field<'r> {
        if variable != "variables" {
            return Field::NotLazy;
        }
        let position = self.variables.iter().rposition(|(name, _)| name == field);
        position.and_then(|position| self.variable(position)).map_or(Field::Absent, Field::Found)
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::String(text) => Self::String(text.to_string()),
            Value::Null => Self::Null,
            other => Self::Other(other.type_name().to_owned()),
        }
    }
}

#[cfg(test)]
mod cases;
