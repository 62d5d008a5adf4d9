//! Text functions of the standard library: `contains`, `startsWith`, `endsWith`, `matches`. The rest is the strings extension.

use regex::Regex;

use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, PATTERN, TRAVERSAL, scaled, search};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::Value;

pub(crate) fn functions() -> Vec<Function> {
    let test = |id, call| Overload::member(id, [Type::String, Type::String], Type::Bool, call);
    vec![
        Function::new("contains", [test("contains_string", Call::Values(contains)).costs(PRODUCT).estimates(estimate_product)]),
        Function::new("startsWith", [test("starts_with_string", Call::Values(starts_with)).costs(WALK).estimates(estimate_affix)]),
        Function::new("endsWith", [test("ends_with_string", Call::Values(ends_with)).costs(WALK).estimates(estimate_affix)]),
        Function::new(
            "matches",
            [
                Overload::global("matches", [Type::String, Type::String], Type::Bool, Call::Pattern(matches)),
                test("matches_string", Call::Pattern(matches)).costs(MATCH).estimates(estimate_match),
            ],
        ),
    ]
}

/// One walk over the text.
const WALK: CostRule = CostRule::Before(|call| scaled(call.inner_size(0), TRAVERSAL));
/// One walk over the text for every walk over what is sought.
const PRODUCT: CostRule = CostRule::Before(|call| scaled(call.inner_size(0), TRAVERSAL).saturating_mul(scaled(call.inner_size(1), TRAVERSAL)));
/// The pattern over the text.
const MATCH: CostRule = CostRule::Before(|call| search(call.inner_size(0), call.inner_size(1)));

fn estimate_affix(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(call.size(0).scaled(TRAVERSAL)))
}

fn estimate_product(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(call.target_size().scaled(TRAVERSAL).times(call.size(0).scaled(TRAVERSAL))))
}

fn estimate_match(call: &Estimation) -> Option<Estimate> {
    let text = call.target_size().plus(Range::exactly(1)).scaled(TRAVERSAL);
    Some(Estimate::cost(text.times(call.size(0).scaled(PATTERN))))
}

fn contains<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    two_texts("contains", args, |text, sought| text.contains(sought))
}

fn starts_with<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    two_texts("startsWith", args, |text, prefix| text.starts_with(prefix))
}

fn ends_with<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    two_texts("endsWith", args, |text, suffix| text.ends_with(suffix))
}

fn two_texts<'a>(name: &str, args: &[Value<'a>], test: fn(&str, &str) -> bool) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::String(text), Value::String(other)] => Ok(Value::Bool(test(text, other))),
        _ => Err(EvalError::no_overload(name)),
    }
}

fn matches<'a>(pattern: &Regex, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args.first() {
        Some(Value::String(text)) => Ok(Value::Bool(pattern.is_match(text))),
        _ => Err(EvalError::no_overload("matches")),
    }
}
