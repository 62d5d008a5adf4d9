//! A compiled expression: checked and planned once, shared between threads, evaluated against borrowed requests.

use super::check;
use super::cost::Meter;
use super::environment::Environment;
use super::error::EvalError;
use super::estimate::{self, Range};
use super::evaluate::{Bindings, Evaluation};
use super::issue::Issue;
use super::parse;
use super::plan::{self, Node};
use super::stack;
use super::types::Type;
use super::value::Value;

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Node,
    output: Type,
    estimate: Range,
    slots: usize,
    strict_presence: bool,
}

impl Program {
    pub(crate) fn compile(environment: &Environment, source: &str) -> Result<Self, Vec<Issue>> {
        let parsed = parse::parse(source, environment.features).map_err(|issue| vec![issue])?;
        let height = parsed.root.height;
        let compiled = stack::grown(height, || {
            let checked = check::check(environment, source, &parsed.root, parsed.size)?;
            let root = plan::plan(environment, &checked, source, &parsed.root).map_err(|issue| vec![issue])?;
            let output = checked.types.get(parsed.root.id as usize).cloned().unwrap_or(Type::Dyn);
            let estimate = estimate::estimate(environment, &checked, &parsed.root);
            Ok(Self { root, output, estimate, slots: checked.slot_count, strict_presence: environment.strict_presence })
        });
        compiled.unwrap_or_else(|| Err(vec![Issue::at(source, 0, "no memory to check the expression")]))
    }

    /// The type of its value, as far as it is known before it is evaluated.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// What it is estimated to cost, nothing being known of the sizes of variables.
    pub fn estimate(&self) -> Range {
        self.estimate
    }

    /// Its value. The meter is charged with what it costs, also if it has no value.
    pub fn evaluate<'a>(&self, bindings: &dyn Bindings<'a>, meter: &mut Meter<'_>) -> Result<Value<'a>, EvalError> {
        Evaluation::new(bindings, meter, self.slots, self.strict_presence).node(&self.root)
    }
}
