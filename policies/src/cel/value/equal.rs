//! Equality and order of the language: numbers compare by value across types, `NaN` equals nothing, unlike types are unequal.

use std::cmp::Ordering;

use super::{List, Map, Value};
use crate::cel::error::EvalError;

/// Most elements one comparison looks at. The server charges a comparison by its outermost size alone, so cost does not bound it.
const MAX_COMPARED: u32 = 1 << 24;

impl Value<'_> {
    /// Whether two values are equal.
    pub fn equal(&self, other: &Value<'_>) -> Result<bool, EvalError> {
        equal(self, other, &mut MAX_COMPARED.clone())
    }

    /// The order of two values; `None` if they have none.
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Some((**a).cmp(&**b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            _ => numeric(self, other),
        }
    }
}

fn equal(a: &Value<'_>, b: &Value<'_>, fuel: &mut u32) -> Result<bool, EvalError> {
    *fuel = fuel.checked_sub(1).ok_or(EvalError::Memory)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a.name() == b.name(),
        (Value::List(a), Value::List(b)) => return lists(a, b, fuel),
        (Value::Map(a), Value::Map(b)) => return maps(a, b, fuel),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => return equal(a, b, fuel),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Opaque(_), Value::Null) => false,
        // The server's values of this kind know their own type only; on the right of another value they are just unequal.
        (Value::Opaque(a), other) => {
            let known = if let Value::Opaque(b) = other { a.equals(b.as_ref()) } else { None };
            return known.ok_or_else(EvalError::no_such);
        }
        _ => numeric(a, b) == Some(Ordering::Equal),
    })
}

fn lists(a: &List<'_>, b: &List<'_>, fuel: &mut u32) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !element(equal(&a, &b, fuel))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Inside lists and maps, the server takes what cannot be compared for equal.
fn element(equal: Result<bool, EvalError>) -> Result<bool, EvalError> {
    match equal {
        Err(error) if !error.aborts() => Ok(true),
        other => other,
    }
}

fn maps(a: &Map<'_>, b: &Map<'_>, fuel: &mut u32) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, value) in a.iter() {
        match b.get(&key) {
            Some(other) if element(equal(&value, &other, fuel))? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Two numbers by value. An integer beside a double is converted, as the server does, so large ones compare rounded.
fn numeric(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Double(a), Value::Int(b)) => double_int(*a, *b),
        (Value::Int(a), Value::Double(b)) => double_int(*b, *a).map(Ordering::reverse),
        (Value::Double(a), Value::Uint(b)) => double_uint(*a, *b),
        (Value::Uint(a), Value::Double(b)) => double_uint(*b, *a).map(Ordering::reverse),
        _ => None,
    }
}

fn double_int(a: f64, b: i64) -> Option<Ordering> {
    a.partial_cmp(&(b as f64))
}

fn double_uint(a: f64, b: u64) -> Option<Ordering> {
    a.partial_cmp(&(b as f64))
}
