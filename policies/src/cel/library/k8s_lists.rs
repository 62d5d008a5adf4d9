//! `isSorted`, `sum`, `min`, `max`, `indexOf`, `lastIndexOf` of lists, in every version of Kubernetes; `includes` since 1.37.

use std::cmp::Ordering;

use super::args::list;
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, TRAVERSAL};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::{Duration, Value};

/// One overload a type of element: its id in each function, and the type.
type Ordered = (&'static str, &'static str, &'static str, Type);

const ORDERED: [Ordered; 8] = [
    ("list_int_is_sorted_bool", "list_int_min_int", "list_int_max_int", Type::Int),
    ("list_uint_is_sorted_bool", "list_uint_min_uint", "list_uint_max_uint", Type::Uint),
    ("list_double_is_sorted_bool", "list_double_min_double", "list_double_max_double", Type::Double),
    ("list_bool_is_sorted_bool", "list_bool_min_bool", "list_bool_max_bool", Type::Bool),
    ("list_duration_is_sorted_bool", "list_duration_min_duration", "list_duration_max_duration", Type::Duration),
    ("list_timestamp_is_sorted_bool", "list_timestamp_min_timestamp", "list_timestamp_max_timestamp", Type::Timestamp),
    ("list_string_is_sorted_bool", "list_string_min_string", "list_string_max_string", Type::String),
    ("list_bytes_is_sorted_bool", "list_bytes_min_bytes", "list_bytes_max_bytes", Type::Bytes),
];

pub(crate) fn functions() -> Vec<Function> {
    let ordered = |name, overload: fn(&Ordered) -> Overload| {
        let overloads = ORDERED.iter().map(overload).collect();
        Function { name, overloads, cost: Some(WALK), estimate: Some(estimate) }
    };
    let sum = |id, element: Type, call| over(id, &element, element.clone(), call);
    let index = |name, id, call| {
        let overload = Overload::member(id, [Type::list(Type::param("A")), Type::param("A")], Type::Int, Call::Values(call));
        Function::new(name, [overload]).costs(WALK).estimates(estimate)
    };
    vec![
        ordered("isSorted", |row| over(row.0, &row.3, Type::Bool, is_sorted)),
        ordered("min", |row| over(row.1, &row.3, row.3.clone(), min)),
        ordered("max", |row| over(row.2, &row.3, row.3.clone(), max)),
        Function::new(
            "sum",
            [
                sum("list_int_sum_int", Type::Int, sum_int),
                sum("list_uint_sum_uint", Type::Uint, sum_uint),
                sum("list_double_sum_double", Type::Double, sum_double),
                sum("list_duration_sum_duration", Type::Duration, sum_duration),
            ],
        )
        .costs(WALK)
        .estimates(estimate),
        index("indexOf", "list_a_index_of_int", index_of),
        index("lastIndexOf", "list_a_last_index_of_int", last_index_of),
    ]
}

fn over(id: &'static str, element: &Type, result: Type, call: Implementation) -> Overload {
    Overload::member(id, [Type::list(element.clone())], result, Call::Values(call))
}

/// What Kubernetes 1.37 adds.
pub(crate) fn functions_1_37() -> Vec<Function> {
    let overload = Overload::member("list_includes_dyn_dyn", [Type::Dyn, Type::Dyn], Type::Bool, Call::Values(includes));
    vec![Function::new("includes", [overload]).costs(WALK).estimates(estimate_includes)]
}

type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// One walk through the first argument, down to its leaves. Texts count their bytes, and less than a unit counts nothing.
pub(super) const WALK: CostRule = CostRule::Before(|call| call.args.first().map_or(0, walk));

fn walk(value: &Value<'_>) -> u64 {
    let bytes = |length: usize| (length as f64 * TRAVERSAL) as u64;
    match value {
        Value::String(text) => bytes(text.len()),
        Value::Bytes(content) => bytes(content.len()),
        Value::List(list) => list.iter().fold(0, |cost, element| cost.saturating_add(walk(&element))),
        Value::Map(map) => map.iter().fold(0, |cost, (key, value)| cost.saturating_add(walk(&key)).saturating_add(walk(&value))),
        _ => 1,
    }
}

/// One unit an element, and a walk over it if it is a text. Texts themselves, which two of the functions take, are walked over.
pub(super) fn estimate(call: &Estimation) -> Option<Estimate> {
    let target = call.target.as_ref()?;
    let cost = match (&target.kind, element(call)) {
        (Type::List(_) | Type::Map(_), each) => target.size.times(each),
        _ => target.size.scaled(TRAVERSAL),
    };
    Some(Estimate::cost(cost))
}

fn element(call: &Estimation) -> Range {
    let one = Range::exactly(1);
    let Some(target) = &call.target else { return one };
    match &target.kind {
        Type::List(kind) if matches!(**kind, Type::String | Type::Bytes) => one.plus(target.element.unwrap_or(Range::UNKNOWN).scaled(TRAVERSAL)),
        _ => one,
    }
}

/// What is not known to be a list may be one.
fn estimate_includes(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(call.target_size().times(element(call))))
}

fn comparable(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_) | Value::Bytes(_) | Value::Duration(_) | Value::Timestamp(_)
    )
}

/// Elements that cannot be compared with each other count as in order.
fn is_sorted<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut previous: Option<Value<'a>> = None;
    for next in list(args, 0, "isSorted")?.iter() {
        if !comparable(&next) {
            return Err(EvalError::no_overload("isSorted"));
        }
        if previous.is_some_and(|previous| previous.order(&next) == Some(Ordering::Greater)) {
            return Ok(Value::Bool(false));
        }
        previous = Some(next);
    }
    Ok(Value::Bool(true))
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replace: Ordering) -> Result<Value<'a>, EvalError> {
    let mut best: Option<Value<'a>> = None;
    for next in list(args, 0, name)?.iter() {
        if !comparable(&next) {
            return Err(EvalError::no_overload(name));
        }
        if best.as_ref().is_none_or(|best| best.order(&next) == Some(replace)) {
            best = Some(next);
        }
    }
    best.ok_or_else(|| EvalError::invalid(format!("{name} called on empty list")))
}

fn min<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    extreme(args, "min", Ordering::Greater)
}

fn max<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    extreme(args, "max", Ordering::Less)
}

fn sum_int<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    list(args, 0, "sum")?
        .iter()
        .try_fold(0_i64, |sum, next| match next {
            Value::Int(next) => sum.checked_add(next).ok_or(EvalError::Overflow("integer")),
            _ => Err(EvalError::no_overload("sum")),
        })
        .map(Value::Int)
}

fn sum_uint<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    list(args, 0, "sum")?
        .iter()
        .try_fold(0_u64, |sum, next| match next {
            Value::Uint(next) => sum.checked_add(next).ok_or(EvalError::Overflow("unsigned integer")),
            _ => Err(EvalError::no_overload("sum")),
        })
        .map(Value::Uint)
}

fn sum_double<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    list(args, 0, "sum")?
        .iter()
        .try_fold(0.0, |sum, next| match next {
            Value::Double(next) => Ok(sum + next),
            _ => Err(EvalError::no_overload("sum")),
        })
        .map(Value::Double)
}

fn sum_duration<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    list(args, 0, "sum")?
        .iter()
        .try_fold(Duration::from_nanoseconds(0), |sum, next| match next {
            Value::Duration(next) => sum.plus(next),
            _ => Err(EvalError::no_overload("sum")),
        })
        .map(Value::Duration)
}

fn position<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1))
}

fn equal(a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
    match a.equal(b) {
        Err(error) if error.aborts() => Err(error),
        other => Ok(other.unwrap_or(false)),
    }
}

fn sought<'v, 'a>(args: &'v [Value<'a>], name: &str) -> Result<&'v Value<'a>, EvalError> {
    args.get(1).ok_or_else(|| EvalError::no_overload(name))
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let sought = sought(args, "indexOf")?;
    for (index, element) in list(args, 0, "indexOf")?.iter().enumerate() {
        if equal(&element, sought)? {
            return Ok(position(Some(index)));
        }
    }
    Ok(position(None))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let sought = sought(args, "lastIndexOf")?;
    let list = list(args, 0, "lastIndexOf")?;
    for index in (0..list.len()).rev() {
        if let Some(element) = list.get(index)
            && equal(&element, sought)?
        {
            return Ok(position(Some(index)));
        }
    }
    Ok(position(None))
}

/// Of a list, whether it has the element; of anything else, whether it is it.
fn includes<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let sought = sought(args, "includes")?;
    match args.first() {
        Some(Value::List(list)) => {
            for element in list.iter() {
                if equal(&element, sought)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Some(other) => equal(other, sought).map(Value::Bool),
        None => Err(EvalError::no_overload("includes")),
    }
}
