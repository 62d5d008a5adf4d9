//! Order: `< <= > >=`, of one type or of numbers of two.

use std::cmp::Ordering;

use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, TRAVERSAL, scaled};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation};
use crate::cel::types::Type::{self, Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
use crate::cel::value::Value;

type Operator = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// Names of operands in overload ids, in cel-go's order.
const PAIRS: [(&str, Type, Type); 14] = [
    ("bool", Bool, Bool),
    ("int64", Int, Int),
    ("int64_double", Int, Double),
    ("int64_uint64", Int, Uint),
    ("uint64", Uint, Uint),
    ("uint64_double", Uint, Double),
    ("uint64_int64", Uint, Int),
    ("double", Double, Double),
    ("double_int64", Double, Int),
    ("double_uint64", Double, Uint),
    ("string", String, String),
    ("bytes", Bytes, Bytes),
    ("timestamp", Timestamp, Timestamp),
    ("duration", Duration, Duration),
];

/// Ids of an operator's overloads, in the order of [`PAIRS`].
macro_rules! ids {
    ($name:literal) => {
        [
            concat!($name, "_bool"),
            concat!($name, "_int64"),
            concat!($name, "_int64_double"),
            concat!($name, "_int64_uint64"),
            concat!($name, "_uint64"),
            concat!($name, "_uint64_double"),
            concat!($name, "_uint64_int64"),
            concat!($name, "_double"),
            concat!($name, "_double_int64"),
            concat!($name, "_double_uint64"),
            concat!($name, "_string"),
            concat!($name, "_bytes"),
            concat!($name, "_timestamp"),
            concat!($name, "_duration"),
        ]
    };
}

pub(crate) fn functions() -> Vec<Function> {
    vec![
        operator("_<_", ids!("less"), |args| compare("_<_", args, Ordering::is_lt)),
        operator("_<=_", ids!("less_equals"), |args| compare("_<=_", args, Ordering::is_le)),
        operator("_>_", ids!("greater"), |args| compare("_>_", args, Ordering::is_gt)),
        operator("_>=_", ids!("greater_equals"), |args| compare("_>=_", args, Ordering::is_ge)),
    ]
}

fn operator(name: &'static str, ids: [&'static str; 14], call: Operator) -> Function {
    let overloads = ids.into_iter().zip(PAIRS).map(|(id, (pair, a, b))| {
        let overload = Overload::global(id, [a, b], Bool, Call::Values(call));
        if matches!(pair, "string" | "bytes") { overload.costs(SHORTER).estimates(estimate_shorter) } else { overload }
    });
    Function { overloads: overloads.collect(), ..Function::new(name, []) }
}

/// One walk over the shorter operand.
const SHORTER: CostRule = CostRule::Before(|call| scaled(call.inner_size(0).min(call.inner_size(1)), TRAVERSAL));

/// As cel-go: at least one character is looked at, at most the shorter operand.
pub(crate) fn estimate_shorter(call: &Estimation) -> Option<Estimate> {
    let max = call.size(0).max.min(call.size(1).max);
    Some(Estimate::cost(crate::cel::estimate::Range { min: max.min(1), max }.scaled(TRAVERSAL)))
}

fn compare<'a>(name: &str, args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<Value<'a>, EvalError> {
    let [a, b] = args else { return Err(EvalError::no_overload(name)) };
    let nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
    match a.order(b) {
        Some(order) => Ok(Value::Bool(holds(order))),
        None if nan(a) || nan(b) => Err(EvalError::invalid("NaN values cannot be ordered")),
        None => Err(EvalError::no_overload(name)),
    }
}
