//! `semver`, `isSemver` and what can be asked of versions. Since Kubernetes 1.33, with normalisation as an option.

mod version;

use self::version::Semver;
use super::args::{inner, text};
use super::estimates::{TRAVERSE_ARGUMENT, UNIT_ESTIMATE};
use super::{Call, Function, Overload};
use crate::cel::cost::{TRAVERSE, UNIT};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::{Opaque, Value};

const TYPE: &str = "kubernetes.Semver";

pub(crate) fn functions() -> Vec<Function> {
    let semver = || Type::opaque(TYPE);
    let pair = |id, result, call| Overload::member(id, [semver(), semver()], result, Call::Values(call));
    let part = |id, call| Overload::member(id, [semver()], Type::Int, Call::Values(call));
    let unit = |name, overload: Overload| Function::new(name, [overload]).costs(UNIT).estimates(UNIT_ESTIMATE);
    vec![
        Function::new(
            "semver",
            [
                Overload::global("string_to_semver", [Type::String], semver(), Call::Values(parsed)),
                Overload::global("string_bool_to_semver", [Type::String, Type::Bool], semver(), Call::Values(parsed)),
            ],
        )
        .costs(TRAVERSE)
        .estimates(TRAVERSE_ARGUMENT),
        Function::new(
            "isSemver",
            [
                Overload::global("is_semver_string", [Type::String], Type::Bool, Call::Values(is_semver)),
                Overload::global("is_semver_string_bool", [Type::String, Type::Bool], Type::Bool, Call::Values(is_semver)),
            ],
        )
        .costs(TRAVERSE)
        .estimates(TRAVERSE_ARGUMENT),
        unit("isGreaterThan", pair("semver_is_greater_than", Type::Bool, is_greater)),
        unit("isLessThan", pair("semver_is_less_than", Type::Bool, is_less)),
        unit("compareTo", pair("semver_compare_to", Type::Int, compare)),
        unit("major", part("semver_major", major)),
        unit("minor", part("semver_minor", minor)),
        unit("patch", part("semver_patch", patch)),
    ]
}

impl Opaque for Semver {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other.as_any().downcast_ref::<Self>().map(|other| self.compare(other).is_eq())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn read(args: &[Value<'_>], function: &str) -> Result<Result<Semver, version::SemverError>, EvalError> {
    let text = text(args, 0, function)?;
    match args.get(1) {
        Some(Value::Bool(true)) => Ok(Semver::parse_normalized(text)),
        None | Some(Value::Bool(false)) => Ok(Semver::parse(text)),
        Some(_) => Err(EvalError::no_overload(function)),
    }
}

fn parsed<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    read(args, "semver")?.map(Value::opaque).map_err(|e| EvalError::invalid(e.to_string()))
}

fn is_semver<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    read(args, "isSemver").map(|version| Value::Bool(version.is_ok()))
}

fn order(args: &[Value<'_>], function: &str) -> Result<std::cmp::Ordering, EvalError> {
    Ok(inner::<Semver>(args, 0, function)?.compare(inner(args, 1, function)?))
}

fn is_greater<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    order(args, "isGreaterThan").map(|order| Value::Bool(order.is_gt()))
}

fn is_less<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    order(args, "isLessThan").map(|order| Value::Bool(order.is_lt()))
}

fn compare<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    order(args, "compareTo").map(|order| Value::Int(order as i64))
}

/// Numbers beyond the language's integers wrap, as upstream's conversion does.
fn number<'a>(number: u64) -> Value<'a> {
    Value::Int(number.cast_signed())
}

fn major<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Semver>(args, 0, "major").map(|version| number(version.major))
}

fn minor<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Semver>(args, 0, "minor").map(|version| number(version.minor))
}

fn patch<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Semver>(args, 0, "patch").map(|version| number(version.patch))
}
