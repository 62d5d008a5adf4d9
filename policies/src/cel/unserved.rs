//! What is said when no overload takes the arguments of a call, in cel-go's three ways: operators and a few functions ask the
//! first operand whether it can do this at all, and name themselves if it cannot; if it can, and not with these operands,
//! nothing is named; every other function tells its name with the types that it was given.

use super::error::EvalError;
use super::value::Value;

/// The error of a call of `name` with these arguments.
pub(crate) fn unserved(name: &str, args: &[Value<'_>]) -> EvalError {
    match (able(name), args.first()) {
        (Some(able), Some(first)) if able(first) => EvalError::no_such(),
        (Some(_), _) => EvalError::no_overload(name),
        (None, _) => {
            let types: Vec<&str> = args.iter().map(Value::type_name).collect();
            EvalError::no_overload(format!("{name}({})", types.join(", ")))
        }
    }
}

/// Whether an operand can take part in this operation at all; none for functions that do not ask.
fn able(name: &str) -> Option<fn(&Value<'_>) -> bool> {
    Some(match name {
        "_+_" => |value| compares(value) && !matches!(value, Value::Bool(_)) || matches!(value, Value::List(_)),
        "_-_" => |value| multiplies(value) || matches!(value, Value::Duration(_) | Value::Timestamp(_)),
        "_*_" | "_/_" => multiplies,
        "_%_" => |value| matches!(value, Value::Int(_) | Value::Uint(_)),
        "-_" | "!_" => |value| matches!(value, Value::Int(_) | Value::Double(_) | Value::Bool(_)),
        "_<_" | "_<=_" | "_>_" | "_>=_" => compares,
        "@in" | "startsWith" | "endsWith" | "contains" => |_| true,
        "size" | "matches" => |_| false,
        _ => return None,
    })
}

fn multiplies(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn compares(value: &Value<'_>) -> bool {
    multiplies(value) || matches!(value, Value::Bool(_) | Value::String(_) | Value::Bytes(_) | Value::Duration(_) | Value::Timestamp(_))
}

/// What cel-go's own words call a value: its Go type.
pub(crate) fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Optional(_) => "*types.Optional",
        other => other.type_name(),
    }
}
