//! `sets.contains`, `sets.equivalent`, `sets.intersects`: lists as sets. Since Kubernetes 1.29.

use super::args::list;
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, Observed};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::{List, Value};

pub(crate) fn functions() -> Vec<Function> {
    let lists = || Type::list(Type::param("T"));
    let test = |name, id, call, cost, estimate| {
        let overload = Overload::global(id, [lists(), lists()], Type::Bool, Call::Values(call));
        Function::new(name, [overload.costs(cost).estimates(estimate)])
    };
    vec![
        test("sets.contains", "list_sets_contains_list", contains, ONCE, estimate_once),
        test("sets.equivalent", "list_sets_equivalent_list", equivalent, TWICE, estimate_twice),
        test("sets.intersects", "list_sets_intersects_list", intersects, ONCE, estimate_once),
    ]
}

fn product(call: &Observed<'_, '_>) -> u64 {
    call.size(0).saturating_mul(call.size(1))
}

/// Every element of one list with every one of the other.
const ONCE: CostRule = CostRule::Before(|call| product(call).saturating_add(1));
/// Both ways.
const TWICE: CostRule = CostRule::Before(|call| product(call).saturating_mul(2).saturating_add(1));

fn estimate(call: &Estimation, factor: f64) -> Option<Estimate> {
    Some(Estimate::cost(call.size(0).times(call.size(1)).scaled(factor).plus(Range::exactly(1))))
}

fn estimate_once(call: &Estimation) -> Option<Estimate> {
    estimate(call, 1.0)
}

fn estimate_twice(call: &Estimation) -> Option<Estimate> {
    estimate(call, 2.0)
}

/// Whether the list has an equal element; one that cannot be compared is another.
fn has<'a>(list: &List<'a>, sought: &Value<'a>) -> Result<bool, EvalError> {
    for element in list.iter() {
        match sought.equal(&element) {
            Ok(true) => return Ok(true),
            Err(error) if error.aborts() => return Err(error),
            Ok(false) | Err(_) => {}
        }
    }
    Ok(false)
}

fn has_all<'a>(list: &List<'a>, sought: &List<'a>) -> Result<bool, EvalError> {
    for element in sought.iter() {
        if !has(list, &element)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    has_all(list(args, 0, "sets.contains")?, list(args, 1, "sets.contains")?).map(Value::Bool)
}

fn equivalent<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (a, b) = (list(args, 0, "sets.equivalent")?, list(args, 1, "sets.equivalent")?);
    Ok(Value::Bool(has_all(a, b)? && has_all(b, a)?))
}

fn intersects<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (a, b) = (list(args, 0, "sets.intersects")?, list(args, 1, "sets.intersects")?);
    for element in a.iter() {
        if has(b, &element)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
