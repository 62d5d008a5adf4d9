//! What `transformMap` and `transformMapEntry` expand to: a map with an entry more. The evaluator adds it in place.

use super::{Call, Function, Overload};
use crate::cel::error::EvalError;
use crate::cel::evaluate::shown;
use crate::cel::types::Type;
use crate::cel::value::{Key, Map, Value};

pub(crate) fn functions() -> Vec<Function> {
    let (key, value) = (Type::param("K"), Type::param("V"));
    let map = Type::map(key.clone(), value.clone());
    vec![Function::new(
        "cel.@mapInsert",
        [
            Overload::global("@mapInsert_map_key_value", [map.clone(), key, value], map.clone(), Call::Special),
            Overload::global("@mapInsert_map_map", [map.clone(), map.clone()], map, Call::Special),
        ],
    )]
}

/// A map with more entries; in place if nobody else holds it.
pub(crate) fn insert<'a>(mut map: Map<'a>, entries: impl Iterator<Item = (Value<'a>, Value<'a>)>) -> Result<Value<'a>, EvalError> {
    for (key, value) in entries {
        let made = Key::of(&key).ok_or_else(|| EvalError::invalid(format!("unsupported key type: {}", key.type_name())))?;
        if !map.insert(made, value) {
            return Err(EvalError::invalid(format!("insert failed: key {} already exists", shown(&key))));
        }
    }
    Ok(Value::Map(map))
}
