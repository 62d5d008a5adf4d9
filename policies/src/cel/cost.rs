//! What an evaluation costs, in the API server's unit and to the unit, and when it must end.
//!
//! Rules of single functions are declared in their tables (`library/*.rs`); here are the shapes those rules share and the meter.
//! The facts are cel-go's `interpreter/runtimecost.go` and apiserver's `pkg/cel/library/cost.go`.

use std::fmt;

use super::error::EvalError;
use super::value::Value;

/// An identifier or a selected field.
pub(crate) const SELECT: u64 = 1;
/// A list that is not a constant.
pub(crate) const LIST: u64 = 10;
/// A map that is not a constant.
pub(crate) const MAP: u64 = 30;
/// An object that is not a constant.
pub(crate) const OBJECT: u64 = 40;
/// For every character that is walked over.
pub const TRAVERSAL: f64 = 0.1;
/// For every character of a regular expression.
pub const PATTERN: f64 = 0.25;
/// How many iterations pass between two looks at the interrupt.
const INTERRUPT_EVERY: u32 = 100;

/// How the cost of a call is found. Nothing declared means one unit.
#[derive(Clone, Copy, Debug)]
pub enum CostRule {
    /// From the arguments alone: charged before the call, so that what cannot be paid for is not done.
    Before(fn(&Observed<'_, '_>) -> u64),
    /// From the result too.
    After(fn(&Observed<'_, '_>) -> u64),
}

/// A call as its cost rule sees it. An argument that is an error is seen as null.
#[derive(Debug)]
pub struct Observed<'v, 'a> {
    /// The arguments; the receiver is the first.
    pub args: &'v [Value<'a>],
    /// The result, for [`CostRule::After`] and unless it is an error.
    pub result: Option<&'v Value<'a>>,
}

impl Observed<'_, '_> {
    /// The size of an argument, 1 if it has none, as apiserver's rules count it.
    pub fn size(&self, index: usize) -> u64 {
        self.args.get(index).and_then(Value::size).unwrap_or(1)
    }

    /// The size of an argument, looking into an optional, as cel-go's own rules count it.
    pub(crate) fn inner_size(&self, index: usize) -> u64 {
        self.args.get(index).map_or(1, size_of)
    }

    /// The size of the result, 1 if it has none or is an error.
    pub fn result_size(&self) -> u64 {
        self.result.and_then(Value::size).unwrap_or(1)
    }
}

fn size_of(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(inner)) => size_of(inner),
        other => other.size().unwrap_or(1),
    }
}

/// `size` times `factor`, rounded up.
pub fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// One walk over the first argument.
pub const TRAVERSE: CostRule = CostRule::Before(|call| scaled(call.size(0), TRAVERSAL));
/// One walk over the first argument and one to build the result.
pub const REBUILD: CostRule = CostRule::Before(|call| scaled(call.size(0), 2.0 * TRAVERSAL));
/// A fixed price of one, where a rule of the function would say otherwise.
pub const UNIT: CostRule = CostRule::Before(|_| 1);
/// A regular expression, the second argument, over the first.
pub const SEARCH: CostRule = CostRule::Before(|call| search(call.size(0), call.size(1)));

/// A regular expression of so many characters over a text of so many.
pub fn search(text: u64, pattern: u64) -> u64 {
    scaled(text.saturating_add(1), TRAVERSAL).saturating_mul(scaled(pattern, PATTERN))
}

/// What an evaluation may still spend, and whether it must stop.
pub struct Meter<'m> {
    limit: u64,
    spent: u64,
    memory: u64,
    until_look: u32,
    interrupted: Option<&'m dyn Fn() -> bool>,
}

/// Bytes of text and list slots an evaluation may make, dropped ones included. The server has no such limit; we are not killed for memory.
const MEMORY: u64 = 64 << 20;

impl<'m> Meter<'m> {
    /// So many units, as often as an evaluation is given this meter.
    pub fn new(limit: u64) -> Self {
        Self { limit, spent: 0, memory: MEMORY, until_look: INTERRUPT_EVERY, interrupted: None }
    }

    /// Asks every hundred iterations whether to give up.
    pub fn with_interrupt(mut self, interrupted: &'m dyn Fn() -> bool) -> Self {
        self.interrupted = Some(interrupted);
        self
    }

    /// What has been spent, in the server's unit.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.spent)
    }

    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.spent = self.spent.saturating_add(cost);
        if self.spent > self.limit { Err(EvalError::Budget) } else { Ok(()) }
    }

    pub(crate) fn refund(&mut self, cost: u64) {
        self.spent = self.spent.saturating_sub(cost);
    }

    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), EvalError> {
        self.memory = self.memory.checked_sub(bytes).ok_or(EvalError::Memory)?;
        Ok(())
    }

    pub(crate) fn iterated(&mut self) -> Result<(), EvalError> {
        self.until_look -= 1;
        if self.until_look > 0 {
            return Ok(());
        }
        self.until_look = INTERRUPT_EVERY;
        if self.interrupted.is_some_and(|interrupted| interrupted()) { Err(EvalError::Interrupted) } else { Ok(()) }
    }
}

impl fmt::Debug for Meter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("limit", &self.limit).field("spent", &self.spent).finish_non_exhaustive()
    }
}
