//! Conversions between types, `type` and `dyn`. What a text must look like is Go's rule, as the server's is.

use super::{Call, Function, Overload, golang, time};
use crate::cel::cost::{CostRule, TRAVERSAL, scaled};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type::{self, Bool, Bytes, Double, Duration, Dyn, Int, String, Timestamp, Uint};
use crate::cel::value::{self, Value};

/// 2 to the 63rd and the 64th.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_64: f64 = TWO_63 * 2.0;

const WALK: CostRule = CostRule::Before(|call| scaled(call.inner_size(0), TRAVERSAL));

type Convert = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

pub(crate) fn functions() -> Vec<Function> {
    let to = |name, result: Type, call: Convert, from: &[(&'static str, Type)]| {
        let overload = |(id, from): &(&'static str, Type)| Overload::global(id, [from.clone()], result.clone(), Call::Values(call));
        Function { overloads: from.iter().map(overload).collect(), ..Function::new(name, []) }
    };
    let any = Type::param("A");
    let mut all = vec![
        to("bool", Bool, to_bool, &[("bool_to_bool", Bool), ("string_to_bool", String)]),
        to("bytes", Bytes, to_bytes, &[("bytes_to_bytes", Bytes), ("string_to_bytes", String)]),
        to("double", Double, to_double, &[("double_to_double", Double), ("int64_to_double", Int), ("string_to_double", String), ("uint64_to_double", Uint)]),
        to("duration", Duration, to_duration, &[("duration_to_duration", Duration), ("int64_to_duration", Int), ("string_to_duration", String)]),
        to("dyn", Dyn, identity, &[("to_dyn", any.clone())]),
        to(
            "int",
            Int,
            to_int,
            &[
                ("int64_to_int64", Int),
                ("double_to_int64", Double),
                ("duration_to_int64", Duration),
                ("string_to_int64", String),
                ("timestamp_to_int64", Timestamp),
                ("uint64_to_int64", Uint),
            ],
        ),
        to(
            "string",
            String,
            to_string,
            &[
                ("string_to_string", String),
                ("bool_to_string", Bool),
                ("bytes_to_string", Bytes),
                ("double_to_string", Double),
                ("duration_to_string", Duration),
                ("int64_to_string", Int),
                ("timestamp_to_string", Timestamp),
                ("uint64_to_string", Uint),
            ],
        ),
        to("timestamp", Timestamp, to_timestamp, &[("timestamp_to_timestamp", Timestamp), ("int64_to_timestamp", Int), ("string_to_timestamp", String)]),
        to("type", Type::type_of(any.clone()), to_type, &[("type", any)]),
        to("uint", Uint, to_uint, &[("uint64_to_uint64", Uint), ("double_to_uint64", Double), ("int64_to_uint64", Int), ("string_to_uint64", String)]),
    ];
    for overload in all.iter_mut().flat_map(|function| &mut function.overloads) {
        match overload.id {
            "string_to_bytes" => *overload = overload.clone().costs(WALK).estimates(estimate_bytes),
            "bytes_to_string" => *overload = overload.clone().costs(WALK).estimates(estimate_string),
            _ => {}
        }
    }
    all
}

/// A character is up to four bytes.
fn estimate_bytes(call: &Estimation) -> Option<Estimate> {
    let size = call.size(0);
    Some(Estimate { cost: size.scaled(TRAVERSAL), size: Some(Range { min: size.min, max: size.max.saturating_mul(4) }) })
}

fn estimate_string(call: &Estimation) -> Option<Estimate> {
    let size = call.size(0);
    Some(Estimate { cost: size.scaled(TRAVERSAL), size: Some(Range { min: size.min / 4, max: size.max }) })
}

fn refused<'a>(args: &[Value<'a>], to: &str) -> EvalError {
    let from = args.first().map_or("nothing", Value::type_name);
    EvalError::invalid(format!("type conversion error from '{from}' to '{to}'"))
}

fn identity<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    args.first().cloned().ok_or_else(|| EvalError::no_overload("dyn"))
}

fn to_type<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    args.first().map(|value| Value::Type(value.kind())).ok_or_else(|| EvalError::no_overload("type"))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Bool(value)] => Ok(Value::Bool(*value)),
        [Value::String(text)] => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(refused(args, "bool")),
        },
        _ => Err(refused(args, "bool")),
    }
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Bytes(bytes)] => Ok(Value::Bytes(bytes.clone())),
        [Value::String(text)] => Ok(Value::bytes(text.as_bytes())),
        _ => Err(refused(args, "bytes")),
    }
}

fn to_double<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let number = match args {
        [Value::Double(number)] => Some(*number),
        [Value::Int(number)] => Some(*number as f64),
        [Value::Uint(number)] => Some(*number as f64),
        [Value::String(text)] => parse_double(text),
        _ => None,
    };
    number.map(Value::Double).ok_or_else(|| refused(args, "double"))
}

/// A finite number, or one that is written as not being finite.
fn parse_double(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() || !text.contains(|c: char| c.is_ascii_digit())).then_some(number)
}

fn to_duration<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Duration(span)] => Ok(Value::Duration(*span)),
        [Value::String(text)] => time::parse_duration(text).map(Value::Duration).ok_or_else(|| refused(args, Duration.name())),
        _ => Err(refused(args, Duration.name())),
    }
}

fn to_int<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let overflow = EvalError::Overflow("integer");
    match args {
        [Value::Int(number)] => Ok(Value::Int(*number)),
        [Value::Uint(number)] => i64::try_from(*number).map(Value::Int).map_err(|_| overflow),
        [Value::Double(number)] if *number > -TWO_63 && *number < TWO_63 => Ok(Value::Int(*number as i64)),
        [Value::Double(_)] => Err(overflow),
        [Value::Duration(span)] => Ok(Value::Int(span.nanoseconds())),
        [Value::Timestamp(moment)] => Ok(Value::Int(moment.seconds())),
        [Value::String(text)] => text.parse().map(Value::Int).map_err(|_| refused(args, "int")),
        _ => Err(refused(args, "int")),
    }
}

fn to_uint<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let overflow = EvalError::Overflow("unsigned integer");
    match args {
        [Value::Uint(number)] => Ok(Value::Uint(*number)),
        [Value::Int(number)] => u64::try_from(*number).map(Value::Uint).map_err(|_| overflow),
        [Value::Double(number)] if *number >= 0.0 && *number < TWO_64 => Ok(Value::Uint(*number as u64)),
        [Value::Double(_)] => Err(overflow),
        [Value::String(text)] if !text.starts_with('+') => text.parse().map(Value::Uint).map_err(|_| refused(args, "uint")),
        _ => Err(refused(args, "uint")),
    }
}

fn to_string<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::String(text)] => Value::String(text.clone()),
        [Value::Bool(value)] => Value::string(value.to_string()),
        [Value::Int(number)] => Value::string(number.to_string()),
        [Value::Uint(number)] => Value::string(number.to_string()),
        [Value::Double(number)] => Value::string(golang::float_shortest(*number)),
        [Value::Duration(span)] => Value::string(time::format_duration(*span)),
        [Value::Timestamp(moment)] => Value::string(time::format_timestamp(*moment)),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => Value::string(text),
            Err(_) => return Err(EvalError::invalid("invalid UTF-8 in bytes, cannot convert to string")),
        },
        _ => return Err(refused(args, "string")),
    })
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Timestamp(moment)] => Ok(Value::Timestamp(*moment)),
        [Value::Int(seconds)] => value::Timestamp::new(*seconds, 0).map(Value::Timestamp),
        [Value::String(text)] => time::parse_timestamp(text).unwrap_or_else(|| Err(refused(args, Timestamp.name()))).map(Value::Timestamp),
        _ => Err(refused(args, Timestamp.name())),
    }
}
