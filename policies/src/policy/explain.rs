//! What a failed validation saw: the part of it that is not true, and the values that it looked at.
//!
//! The source is taken apart by its tokens (the first conjunct that is not true, the branch that was taken, the first element
//! that breaks an `all`) and the parts are evaluated again, within a budget of their own. An explanation decides nothing; where
//! it gets stuck it says less.

mod masks;
mod parts;

use serde::{Deserialize, Serialize};

use super::compile::Policy;
use super::language::{Activation, Expression, Inputs, Wanted, show};
use super::message::bounded;
use crate::cel::{Environment, Value};
pub(crate) use masks::{MASK, is_hidden_field, is_hidden_pair, is_secret};
use parts::{Part, Source};

/// Budget of one explanation.
const BUDGET: u64 = 1_000_000;
/// Most expressions that are compiled for one explanation.
const MAX_COMPILED: usize = 48;
/// Most values that are shown.
const MAX_SEEN: usize = 8;
/// Longest value that is shown, in bytes.
const MAX_VALUE: usize = 256;
/// Longest expression that is shown, in bytes.
const MAX_EXPRESSION: usize = 1024;
/// How far an expression is taken apart.
const MAX_DEPTH: usize = 8;

/// Why a validation is not true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The part of the expression that is not true.
    pub expression: String,
    /// What it looked at, in order.
    pub seen: Vec<Seen>,
}

/// Something that an expression looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// As the expression names it.
    pub what: String,
    /// Its value, or why it has none; a mark in place of what is secret.
    pub value: String,
}

// === impl Explanation ===

impl Explanation {
    /// What would have passed, in words.
    #[must_use]
    pub fn would_pass(&self) -> String {
        let seen: Vec<String> = self.seen.iter().map(|seen| format!("`{}` is {}", seen.what, seen.value)).collect();
        let tail = if seen.is_empty() { String::new() } else { format!("; now {}", seen.join(", ")) };
        format!("a request for which `{}` is true{tail}", self.expression)
    }
}

/// Explains a validation that is not true.
pub(crate) fn explain(expression: &Expression, policy: &Policy, inputs: Inputs<'_>) -> Option<Explanation> {
    let mut search = Search { policy, left: BUDGET, compiled: 0, environments: Vec::new() };
    let (part, seen) = search.narrow(expression.source(), inputs, &[], 0)?;
    Some(Explanation { expression: bounded(part.trim(), MAX_EXPRESSION), seen })
}

struct Search<'p> {
    policy: &'p Policy,
    left: u64,
    compiled: usize,
    /// By how many comprehensions they are in; those of one search are within each other.
    environments: Vec<Environment>,
}

/// Variables of the comprehensions that the search is in.
type Locals<'v> = [(String, Value<'v>)];

// === impl Search ===

impl<'p> Search<'p> {
    /// The smallest part of `source` found to be at fault, and what it saw.
    fn narrow<'s, 'v>(&mut self, source: &'s str, inputs: Inputs<'v>, locals: &'v Locals<'v>, depth: usize) -> Option<(&'s str, Vec<Seen>)>
    where
        'p: 'v,
    {
        let read = Source::read(source)?;
        let part = if depth < MAX_DEPTH { read.part() } else { Part::Other };
        match part {
            Part::Parentheses(inside) => return self.narrow(inside, inputs, locals, depth + 1),
            Part::And(conjuncts) => {
                if let Some(fault) = conjuncts.into_iter().find(|conjunct| !self.holds(conjunct, inputs, locals)) {
                    return self.narrow(fault, inputs, locals, depth + 1);
                }
            }
            Part::Conditional { condition, then, otherwise } => {
                let taken = if self.holds(condition, inputs, locals) { then } else { otherwise };
                let (part, mut seen) = self.narrow(taken, inputs, locals, depth + 1)?;
                add(&mut seen, self.seen(condition, inputs, locals));
                return Some((part, seen));
            }
            Part::All { range, variable, body } => {
                let breaking = format!("({range}).filter({variable}, !({body}))");
                let element = self.value(&breaking, inputs, locals).and_then(Result::ok).and_then(|found| found.as_list().and_then(|list| list.get(0)));
                if let Some(element) = element {
                    let value = if masks::hides(variable, &inputs) { MASK.to_owned() } else { show(&element, MAX_VALUE) };
                    let shown = Seen { what: variable.to_owned(), value };
                    let mut inner = locals.to_vec();
                    inner.push((variable.to_owned(), element));
                    let (part, mut seen) = self.narrow(body, inputs, &inner, depth + 1)?;
                    add(&mut seen, vec![shown]);
                    return Some((part, seen));
                }
            }
            Part::Other => {}
        }
        Some((source, self.seen(source, inputs, locals)))
    }

    /// Every path that the expression names, with its value.
    fn seen<'v>(&mut self, source: &str, inputs: Inputs<'v>, locals: &'v Locals<'v>) -> Vec<Seen>
    where
        'p: 'v,
    {
        let mut seen: Vec<Seen> = Vec::new();
        let Some(read) = Source::read(source) else { return seen };
        for path in read.paths(locals.iter().map(|(name, _)| name.as_str())) {
            if seen.len() >= MAX_SEEN {
                break;
            }
            if seen.iter().any(|known| known.what == path) {
                continue;
            }
            let value = match self.value(path, inputs, locals) {
                Some(Ok(_)) if masks::hides(path, &inputs) || self.is_of_hidden_pair(path, inputs, locals) => MASK.to_owned(),
                Some(Ok(value)) => show(&value, MAX_VALUE),
                Some(Err(reason)) => format!("not there ({reason})"),
                None => break,
            };
            seen.push(Seen { what: path.to_owned(), value });
        }
        seen
    }

    /// Whether the path is the value of a name that a credential has.
    fn is_of_hidden_pair<'v>(&mut self, path: &str, inputs: Inputs<'v>, locals: &'v Locals<'v>) -> bool
    where
        'p: 'v,
    {
        let Some(pair) = masks::pair_of(path) else { return false };
        // What cannot be looked at any more is not shown.
        self.value(pair, inputs, locals).is_none_or(|pair| matches!(pair, Ok(Value::Map(map)) if is_hidden_pair(&map)))
    }

    fn holds<'v>(&mut self, source: &str, inputs: Inputs<'v>, locals: &'v Locals<'v>) -> bool
    where
        'p: 'v,
    {
        matches!(self.value(source, inputs, locals), Some(Ok(Value::Bool(true))))
    }

    /// The value of a part; `None` when the budget is gone.
    fn value<'v>(&mut self, source: &str, inputs: Inputs<'v>, locals: &'v Locals<'v>) -> Option<Result<Value<'v>, String>>
    where
        'p: 'v,
    {
        if self.compiled >= MAX_COMPILED || self.left == 0 {
            return None;
        }
        self.compiled += 1;
        // One environment for each depth of comprehensions: they are large, and the search comes back to the same few.
        while self.environments.len() <= locals.len() {
            let known = locals.iter().take(self.environments.len()).map(|(name, _)| name.as_str());
            self.environments.push(self.policy.environment(known));
        }
        let expression = Expression::compile(self.environments.get(locals.len())?, source, Wanted::Anything);
        let done = Activation::new(&self.policy.variables, inputs).with_locals(locals).evaluate(&expression, self.left);
        self.left = self.left.saturating_sub(done.cost).saturating_sub(done.of_variables);
        Some(done.value.map_err(|reason| bounded(&reason.to_string(), MAX_VALUE)))
    }
}

/// Adds what is not known yet.
fn add(seen: &mut Vec<Seen>, more: Vec<Seen>) {
    for one in more {
        if seen.len() < MAX_SEEN && !seen.iter().any(|known| known.what == one.what) {
            seen.push(one);
        }
    }
}

#[cfg(test)]
mod cases;
