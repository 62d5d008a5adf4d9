//! `size` and `in`. Selection from lists and maps is the evaluator's.

use super::{Call, Function, Overload};
use crate::cel::cost::CostRule;
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation};
use crate::cel::types::Type;
use crate::cel::value::Value;

pub(crate) fn functions() -> Vec<Function> {
    let element = Type::param("A");
    let list = Type::list(element.clone());
    let map = Type::map(element.clone(), Type::param("B"));
    let global = |id, of: Type| Overload::global(id, [of], Type::Int, Call::Values(size));
    let member = |id, of: Type| Overload::member(id, [of], Type::Int, Call::Values(size));
    vec![
        Function::new(
            "@in",
            [
                Overload::global("in_list", [element.clone(), list.clone()], Type::Bool, Call::Values(contains)).costs(EVERY).estimates(estimate_every),
                Overload::global("in_map", [element, map.clone()], Type::Bool, Call::Values(contains)),
            ],
        ),
        Function::new(
            "size",
            [
                global("size_bytes", Type::Bytes),
                member("bytes_size", Type::Bytes),
                global("size_list", list.clone()),
                member("list_size", list),
                global("size_map", map.clone()),
                member("map_size", map),
                global("size_string", Type::String),
                member("string_size", Type::String),
            ],
        ),
    ]
}

/// Every element is looked at.
const EVERY: CostRule = CostRule::Before(|call| call.inner_size(1));

fn estimate_every(call: &Estimation) -> Option<Estimate> {
    Some(Estimate::cost(call.size(1)))
}

fn contains<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [value, Value::List(list)] => {
            for element in list.iter() {
                match value.equal(&element) {
                    Ok(true) => return Ok(Value::Bool(true)),
                    Err(error) if error.aborts() => return Err(error),
                    // What cannot be compared is another.
                    Ok(false) | Err(_) => {}
                }
            }
            Ok(Value::Bool(false))
        }
        [key, Value::Map(map)] => Ok(Value::Bool(map.get(key).is_some())),
        _ => Err(EvalError::no_overload("@in")),
    }
}

fn size<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let size = args.first().and_then(Value::size).and_then(|size| i64::try_from(size).ok());
    size.map(Value::Int).ok_or_else(|| EvalError::no_overload("size"))
}
