//! Arithmetic: `+ - * / %`, negation, `!`. Integers overflow into errors; texts, bytes and lists are joined by `+`.

use std::sync::Arc;

use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, TRAVERSAL, scaled};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation};
use crate::cel::types::Type::{self, Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
use crate::cel::value::{Text, Value};

/// Longest text or bytes an evaluation may make at once.
pub(crate) const MAX_TEXT: usize = 16 << 20;

/// Both operands copied.
const JOIN: CostRule = CostRule::Before(|call| scaled(call.inner_size(0).saturating_add(call.inner_size(1)), TRAVERSAL));

pub(crate) fn functions() -> Vec<Function> {
    let binary = |id, a: Type, b: Type, result: Type, call| Overload::global(id, [a, b], result, Call::Values(call));
    let list = Type::list(Type::param("A"));
    vec![
        Function::new(
            "_+_",
            [
                binary("add_bytes", Bytes, Bytes, Bytes, add).costs(JOIN).estimates(estimate_join),
                binary("add_double", Double, Double, Double, add),
                binary("add_duration_duration", Duration, Duration, Duration, add),
                binary("add_duration_timestamp", Duration, Timestamp, Timestamp, add),
                binary("add_timestamp_duration", Timestamp, Duration, Timestamp, add),
                binary("add_int64", Int, Int, Int, add),
                binary("add_list", list.clone(), list.clone(), list, add).estimates(estimate_list),
                binary("add_string", String, String, String, add).costs(JOIN).estimates(estimate_join),
                binary("add_uint64", Uint, Uint, Uint, add),
            ],
        ),
        Function::new(
            "_-_",
            [
                binary("subtract_double", Double, Double, Double, subtract),
                binary("subtract_duration_duration", Duration, Duration, Duration, subtract),
                binary("subtract_int64", Int, Int, Int, subtract),
                binary("subtract_timestamp_duration", Timestamp, Duration, Timestamp, subtract),
                binary("subtract_timestamp_timestamp", Timestamp, Timestamp, Duration, subtract),
                binary("subtract_uint64", Uint, Uint, Uint, subtract),
            ],
        ),
        Function::new(
            "_*_",
            [
                binary("multiply_double", Double, Double, Double, multiply),
                binary("multiply_int64", Int, Int, Int, multiply),
                binary("multiply_uint64", Uint, Uint, Uint, multiply),
            ],
        ),
        Function::new(
            "_/_",
            [
                binary("divide_double", Double, Double, Double, divide),
                binary("divide_int64", Int, Int, Int, divide),
                binary("divide_uint64", Uint, Uint, Uint, divide),
            ],
        ),
        Function::new("_%_", [binary("modulo_int64", Int, Int, Int, modulo), binary("modulo_uint64", Uint, Uint, Uint, modulo)]),
        Function::new(
            "-_",
            [Overload::global("negate_double", [Double], Double, Call::Values(negate)), Overload::global("negate_int64", [Int], Int, Call::Values(negate))],
        ),
        Function::new("!_", [Overload::global("logical_not", [Bool], Bool, Call::Values(not))]),
    ]
}

fn estimate_join(call: &Estimation) -> Option<Estimate> {
    let size = call.size(0).plus(call.size(1));
    Some(Estimate { cost: size.scaled(TRAVERSAL), size: Some(size) })
}

fn estimate_list(call: &Estimation) -> Option<Estimate> {
    Some(Estimate { size: Some(call.size(0).plus(call.size(1))), ..Estimate::UNIT })
}

fn add<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_add(*b).ok_or(EvalError::Overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a.checked_add(*b).ok_or(EvalError::Overflow("unsigned integer"))?),
        [Value::Double(a), Value::Double(b)] => Value::Double(a + b),
        [Value::String(a), Value::String(b)] => Value::String(join_text(a, b)?),
        [Value::Bytes(a), Value::Bytes(b)] => {
            bounded(a.len() + b.len())?;
            Value::Bytes([&**a, &**b].concat().into())
        }
        [Value::List(a), Value::List(b)] => Value::List(a.join(b)?),
        [Value::Duration(a), Value::Duration(b)] => Value::Duration(a.plus(*b)?),
        [Value::Timestamp(moment), Value::Duration(span)] | [Value::Duration(span), Value::Timestamp(moment)] => Value::Timestamp(moment.plus(*span)?),
        _ => return Err(EvalError::no_overload("_+_")),
    })
}

fn join_text<'a>(a: &Text<'a>, b: &Text<'a>) -> Result<Text<'a>, EvalError> {
    bounded(a.len() + b.len())?;
    let mut joined = std::string::String::with_capacity(a.len() + b.len());
    joined.push_str(a);
    joined.push_str(b);
    Ok(Text::Shared(Arc::from(joined)))
}

fn bounded(length: usize) -> Result<(), EvalError> {
    if length > MAX_TEXT { Err(EvalError::Memory) } else { Ok(()) }
}

fn subtract<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_sub(*b).ok_or(EvalError::Overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a.checked_sub(*b).ok_or(EvalError::Overflow("unsigned integer"))?),
        [Value::Double(a), Value::Double(b)] => Value::Double(a - b),
        [Value::Duration(a), Value::Duration(b)] => Value::Duration(a.minus(*b)?),
        [Value::Timestamp(a), Value::Timestamp(b)] => Value::Duration(a.since(*b)?),
        [Value::Timestamp(moment), Value::Duration(span)] => Value::Timestamp(moment.minus(*span)?),
        _ => return Err(EvalError::no_overload("_-_")),
    })
}

fn multiply<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_mul(*b).ok_or(EvalError::Overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a.checked_mul(*b).ok_or(EvalError::Overflow("unsigned integer"))?),
        [Value::Double(a), Value::Double(b)] => Value::Double(a * b),
        _ => return Err(EvalError::no_overload("_*_")),
    })
}

fn divide<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => return Err(EvalError::ByZero("division")),
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_div(*b).ok_or(EvalError::Overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a / b),
        [Value::Double(a), Value::Double(b)] => Value::Double(a / b),
        _ => return Err(EvalError::no_overload("_/_")),
    })
}

fn modulo<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => return Err(EvalError::ByZero("modulus")),
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_rem(*b).ok_or(EvalError::Overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a % b),
        _ => return Err(EvalError::no_overload("_%_")),
    })
}

fn negate<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Int(value)] => value.checked_neg().map(Value::Int).ok_or(EvalError::Overflow("integer")),
        [Value::Double(value)] => Ok(Value::Double(-value)),
        _ => Err(EvalError::no_overload("-_")),
    }
}

fn not<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Bool(value)] => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_overload("!_")),
    }
}
