//! Operators the evaluator carries out itself because they do not evaluate all operands, or are selections: signatures only.

use super::{Call, Function, Overload};
use crate::cel::types::Type;

pub(crate) fn functions() -> Vec<Function> {
    let (a, b) = (Type::param("A"), Type::param("B"));
    let list = Type::list(a.clone());
    let map = Type::map(a.clone(), b.clone());
    let binary = |name, id, args: [Type; 2], result| Function::new(name, [Overload::global(id, args, result, Call::Special)]);
    vec![
        Function::new("_?_:_", [Overload::global("conditional", [Type::Bool, a.clone(), a.clone()], a.clone(), Call::Special)]),
        binary("_&&_", "logical_and", [Type::Bool, Type::Bool], Type::Bool),
        binary("_||_", "logical_or", [Type::Bool, Type::Bool], Type::Bool),
        binary("_==_", "equals", [a.clone(), a.clone()], Type::Bool),
        binary("_!=_", "not_equals", [a.clone(), a.clone()], Type::Bool),
        Function::new("@not_strictly_false", [Overload::global("not_strictly_false", [Type::Bool], Type::Bool, Call::Special)]),
        Function::new(
            "_[_]",
            [Overload::global("index_list", [list, Type::Int], a.clone(), Call::Special), Overload::global("index_map", [map, a], b, Call::Special)],
        ),
    ]
}
