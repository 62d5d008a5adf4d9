//! Optional values, version 2 of the library. `or`, `orValue` and the selections are the evaluator's: signatures only.

use super::{Call, Function, Overload};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::{List, Value};

pub(crate) fn functions() -> Vec<Function> {
    let (key, value) = (Type::param("K"), Type::param("V"));
    let optional = Type::optional(value.clone());
    let list = Type::list(value.clone());
    let map = Type::map(key.clone(), value.clone());
    let optionals = Type::list(optional.clone());
    let one = |name, overload| Function::new(name, [overload]);
    let index = |id, of: Type, by: Type| Overload::global(id, [of, by], optional.clone(), Call::Special);
    vec![
        one("optional.of", Overload::global("optional_of", [value.clone()], optional.clone(), Call::Values(of))),
        one("optional.ofNonZeroValue", Overload::global("optional_ofNonZeroValue", [value.clone()], optional.clone(), Call::Values(of_non_zero))),
        one("optional.none", Overload::global("optional_none", [], optional.clone(), Call::Values(|_| Ok(Value::Optional(None))))),
        one("value", Overload::member("optional_value", [optional.clone()], value.clone(), Call::Values(inner))),
        one("hasValue", Overload::member("optional_hasValue", [optional.clone()], Type::Bool, Call::Values(has_value))),
        one("or", Overload::member("optional_or_optional", [optional.clone(), optional.clone()], optional.clone(), Call::Special)),
        one("orValue", Overload::member("optional_orValue_value", [optional.clone(), value.clone()], value, Call::Special)),
        one("_?._", Overload::global("select_optional_field", [Type::Dyn, Type::String], optional.clone(), Call::Special)),
        Function::new(
            "_[?_]",
            [
                index("list_optindex_optional_int", list.clone(), Type::Int),
                index("optional_list_optindex_optional_int", Type::optional(list.clone()), Type::Int),
                index("map_optindex_optional_value", map.clone(), key.clone()),
                index("optional_map_optindex_optional_value", Type::optional(map.clone()), key.clone()),
            ],
        ),
        Function::new(
            "_[_]",
            [index("optional_list_index_int", Type::optional(list.clone()), Type::Int), index("optional_map_index_value", Type::optional(map), key)],
        ),
        one("last", Overload::member("list_last", [list.clone()], optional.clone(), Call::Values(last))),
        one("first", Overload::member("list_first", [list.clone()], optional, Call::Values(first))),
        one("optional.unwrap", Overload::global("optional_unwrap", [optionals.clone()], list.clone(), Call::Values(unwrap))),
        one("unwrapOpt", Overload::member("optional_unwrapOpt", [optionals], list, Call::Values(unwrap))),
    ]
}

fn of<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    args.first().cloned().map(|value| Value::optional(Some(value))).ok_or_else(|| EvalError::no_overload("optional.of"))
}

fn of_non_zero<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::optional(args.first().filter(|value| !value.is_zero()).cloned()))
}

fn inner<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Optional(Some(value))] => Ok((**value).clone()),
        [Value::Optional(None)] => Err(EvalError::invalid("optional.none() dereference")),
        _ => Err(EvalError::no_overload("value")),
    }
}

fn has_value<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
        _ => Err(EvalError::no_overload("hasValue")),
    }
}

fn first<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    element("first", args, |_| Some(0))
}

fn last<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    element("last", args, |list| list.len().checked_sub(1))
}

fn element<'a>(name: &str, args: &[Value<'a>], which: fn(&List<'a>) -> Option<usize>) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::List(list)] => Ok(Value::optional(which(list).and_then(|index| list.get(index)))),
        _ => Err(EvalError::no_overload(name)),
    }
}

fn unwrap<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let [Value::List(list)] = args else { return Err(EvalError::no_overload("unwrapOpt")) };
    let mut values = Vec::new();
    for element in list.iter() {
        match element {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            _ => return Err(EvalError::invalid("value is not optional")),
        }
    }
    Ok(Value::list(values))
}
