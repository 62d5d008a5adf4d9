//! Arguments of functions, unpacked. Callers have checked their types; a mismatch is still an error and never a panic.

use std::borrow::Cow;

use crate::cel::error::EvalError;
use crate::cel::value::{List, Text, Value};

/// Longest text a function may make.
pub(crate) const MAX_TEXT: usize = 16 << 20;

pub(crate) fn text<'v>(args: &'v [Value<'_>], index: usize, function: &str) -> Result<&'v str, EvalError> {
    args.get(index).and_then(Value::as_str).ok_or_else(|| EvalError::no_overload(function))
}

pub(crate) fn int(args: &[Value<'_>], index: usize, function: &str) -> Result<i64, EvalError> {
    match args.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(EvalError::no_overload(function)),
    }
}

pub(crate) fn list<'v, 'a>(args: &'v [Value<'a>], index: usize, function: &str) -> Result<&'v List<'a>, EvalError> {
    args.get(index).and_then(Value::as_list).ok_or_else(|| EvalError::no_overload(function))
}

/// The inside of an opaque argument.
pub(crate) fn inner<'v, T: 'static>(args: &'v [Value<'_>], index: usize, function: &str) -> Result<&'v T, EvalError> {
    args.get(index).and_then(Value::downcast).ok_or_else(|| EvalError::no_overload(function))
}

/// Applies a function that cuts a text to the text that is an argument; what is cut from the request stays borrowed.
pub(crate) fn cut<'a, E>(args: &[Value<'a>], function: &str, cut: impl for<'t> Fn(&'t str) -> Result<&'t str, E>) -> Result<Value<'a>, EvalError>
where
    E: AsRef<str>,
{
    match args.first() {
        Some(Value::String(Text::Borrowed(text))) => cut(text).map(|part| Value::String(Text::Borrowed(part))).map_err(EvalError::invalid),
        Some(Value::String(Text::Shared(text))) => cut(text).map(Value::string).map_err(EvalError::invalid),
        _ => Err(EvalError::no_overload(function)),
    }
}

/// As [`cut`], into a list.
pub(crate) fn cut_all<'a>(args: &[Value<'a>], function: &str, cut: impl for<'t> Fn(&'t str) -> Vec<&'t str>) -> Result<Value<'a>, EvalError> {
    match args.first() {
        Some(Value::String(Text::Borrowed(text))) => Ok(Value::list(cut(text).into_iter().map(|part| Value::String(Text::Borrowed(part))).collect())),
        Some(Value::String(Text::Shared(text))) => Ok(Value::list(cut(text).into_iter().map(Value::string).collect())),
        _ => Err(EvalError::no_overload(function)),
    }
}

/// A text that a function made, unless it is too long.
pub(crate) fn made<'a>(text: impl Into<Cow<'a, str>>) -> Result<Value<'a>, EvalError> {
    let text = text.into();
    if text.len() > MAX_TEXT { Err(EvalError::Memory) } else { Ok(Value::string(text)) }
}
