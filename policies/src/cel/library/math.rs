//! cel-go's math extension, which the API server lacks: for conformance only.
//!
//! `math.least` and `math.greatest` are macros; what they expand to, `math.@min` and `math.@max`, is here.

use std::cmp::Ordering;

use super::args::{int, list};
use super::{Call, Function, Overload};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::Value;

type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// Overloads of `@min` and `@max`: the ids, the types of the arguments, the type of the result.
type Extreme = (&'static str, &'static str, &'static [Type], Type);

pub(crate) fn functions() -> Vec<Function> {
    let mut functions = extremes();
    functions.extend(doubles());
    functions.extend(bits());
    functions
}

fn extremes() -> Vec<Function> {
    const ROWS: [Extreme; 12] = [
        ("math_@min_double", "math_@max_double", &[Type::Double], Type::Double),
        ("math_@min_int", "math_@max_int", &[Type::Int], Type::Int),
        ("math_@min_uint", "math_@max_uint", &[Type::Uint], Type::Uint),
        ("math_@min_double_double", "math_@max_double_double", &[Type::Double, Type::Double], Type::Double),
        ("math_@min_int_int", "math_@max_int_int", &[Type::Int, Type::Int], Type::Int),
        ("math_@min_uint_uint", "math_@max_uint_uint", &[Type::Uint, Type::Uint], Type::Uint),
        ("math_@min_int_uint", "math_@max_int_uint", &[Type::Int, Type::Uint], Type::Dyn),
        ("math_@min_int_double", "math_@max_int_double", &[Type::Int, Type::Double], Type::Dyn),
        ("math_@min_double_int", "math_@max_double_int", &[Type::Double, Type::Int], Type::Dyn),
        ("math_@min_double_uint", "math_@max_double_uint", &[Type::Double, Type::Uint], Type::Dyn),
        ("math_@min_uint_int", "math_@max_uint_int", &[Type::Uint, Type::Int], Type::Dyn),
        ("math_@min_uint_double", "math_@max_uint_double", &[Type::Uint, Type::Double], Type::Dyn),
    ];
    let lists = [
        ("math_@min_list_double", "math_@max_list_double", Type::Double),
        ("math_@min_list_int", "math_@max_list_int", Type::Int),
        ("math_@min_list_uint", "math_@max_list_uint", Type::Uint),
    ];
    let overload = |id, args: Vec<Type>, result, call: Implementation| Overload { args, ..Overload::global(id, [], result, Call::Values(call)) };
    let table = |name, pick: fn(&'static str, &'static str) -> &'static str, call: Implementation| {
        let mut overloads: Vec<Overload> = ROWS.iter().map(|(min, max, args, result)| overload(pick(min, max), args.to_vec(), result.clone(), call)).collect();
        overloads.extend(lists.iter().map(|(min, max, element)| overload(pick(min, max), vec![Type::list(element.clone())], element.clone(), call)));
        Function { name, overloads, cost: None, estimate: None }
    };
    vec![table("math.@min", |min, _| min, min), table("math.@max", |_, max| max, max)]
}

fn doubles() -> Vec<Function> {
    let on = |id, argument, result, call: Implementation| Overload::global(id, [argument], result, Call::Values(call));
    let double = |name, id, result, call| Function::new(name, [on(id, Type::Double, result, call)]);
    vec![
        double("math.ceil", "math_ceil_double", Type::Double, |args| of_double(args, f64::ceil)),
        double("math.floor", "math_floor_double", Type::Double, |args| of_double(args, f64::floor)),
        double("math.round", "math_round_double", Type::Double, |args| of_double(args, f64::round)),
        double("math.trunc", "math_trunc_double", Type::Double, |args| of_double(args, f64::trunc)),
        double("math.isInf", "math_isInf_double", Type::Bool, |args| test(args, f64::is_infinite)),
        double("math.isNaN", "math_isNaN_double", Type::Bool, |args| test(args, f64::is_nan)),
        double("math.isFinite", "math_isFinite_double", Type::Bool, |args| test(args, f64::is_finite)),
        Function::new(
            "math.abs",
            [
                on("math_abs_double", Type::Double, Type::Double, abs),
                on("math_abs_int", Type::Int, Type::Int, abs),
                on("math_abs_uint", Type::Uint, Type::Uint, abs),
            ],
        ),
        Function::new(
            "math.sign",
            [
                on("math_sign_double", Type::Double, Type::Double, sign),
                on("math_sign_int", Type::Int, Type::Int, sign),
                on("math_sign_uint", Type::Uint, Type::Uint, sign),
            ],
        ),
        Function::new(
            "math.sqrt",
            [
                on("math_sqrt_double", Type::Double, Type::Double, sqrt),
                on("math_sqrt_int", Type::Int, Type::Double, sqrt),
                on("math_sqrt_uint", Type::Uint, Type::Double, sqrt),
            ],
        ),
    ]
}

fn bits() -> Vec<Function> {
    let pair = |name, int_id, uint_id, call: Implementation| {
        Function::new(
            name,
            [
                Overload::global(int_id, [Type::Int, Type::Int], Type::Int, Call::Values(call)),
                Overload::global(uint_id, [Type::Uint, Type::Uint], Type::Uint, Call::Values(call)),
            ],
        )
    };
    let shift = |name, int_id, uint_id, call: Implementation| {
        Function::new(
            name,
            [
                Overload::global(int_id, [Type::Int, Type::Int], Type::Int, Call::Values(call)),
                Overload::global(uint_id, [Type::Uint, Type::Int], Type::Uint, Call::Values(call)),
            ],
        )
    };
    vec![
        pair("math.bitAnd", "math_bitAnd_int_int", "math_bitAnd_uint_uint", |args| bitwise(args, |a, b| a & b)),
        pair("math.bitOr", "math_bitOr_int_int", "math_bitOr_uint_uint", |args| bitwise(args, |a, b| a | b)),
        pair("math.bitXor", "math_bitXor_int_int", "math_bitXor_uint_uint", |args| bitwise(args, |a, b| a ^ b)),
        Function::new(
            "math.bitNot",
            [
                Overload::global("math_bitNot_int_int", [Type::Int], Type::Int, Call::Values(bit_not)),
                Overload::global("math_bitNot_uint_uint", [Type::Uint], Type::Uint, Call::Values(bit_not)),
            ],
        ),
        shift("math.bitShiftLeft", "math_bitShiftLeft_int_int", "math_bitShiftLeft_uint_int", |args| {
            shifted(args, "math.bitShiftLeft", |word, by| word.checked_shl(by).unwrap_or(0))
        }),
        shift("math.bitShiftRight", "math_bitShiftRight_int_int", "math_bitShiftRight_uint_int", |args| {
            shifted(args, "math.bitShiftRight", |word, by| word.checked_shr(by).unwrap_or(0))
        }),
    ]
}

fn of_double<'a>(args: &[Value<'a>], apply: fn(f64) -> f64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Double(x)] => Ok(Value::Double(apply(*x))),
        _ => Err(EvalError::no_overload("math")),
    }
}

fn test<'a>(args: &[Value<'a>], test: fn(f64) -> bool) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Double(x)] => Ok(Value::Bool(test(*x))),
        _ => Err(EvalError::no_overload("math")),
    }
}

fn abs<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Double(x)] => Ok(Value::Double(x.abs())),
        [Value::Int(x)] => x.checked_abs().map(Value::Int).ok_or(EvalError::Overflow("integer")),
        [Value::Uint(x)] => Ok(Value::Uint(*x)),
        _ => Err(EvalError::no_overload("math.abs")),
    }
}

fn sign<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Double(x)] if x.is_nan() => Ok(Value::Double(*x)),
        [Value::Double(x)] => Ok(Value::Double(if *x == 0.0 { 0.0 } else { x.signum() })),
        [Value::Int(x)] => Ok(Value::Int(x.signum())),
        [Value::Uint(x)] => Ok(Value::Uint((*x).min(1))),
        _ => Err(EvalError::no_overload("math.sign")),
    }
}

fn sqrt<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let x = match args {
        [Value::Double(x)] => *x,
        [Value::Int(x)] => *x as f64,
        [Value::Uint(x)] => *x as f64,
        _ => return Err(EvalError::no_overload("math.sqrt")),
    };
    Ok(Value::Double(x.sqrt()))
}

/// Both kinds of integer are words of 64 bits.
fn bitwise<'a>(args: &[Value<'a>], apply: fn(u64, u64) -> u64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Int(a), Value::Int(b)] => Ok(Value::Int(apply(a.cast_unsigned(), b.cast_unsigned()).cast_signed())),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(apply(*a, *b))),
        _ => Err(EvalError::no_overload("math")),
    }
}

fn bit_not<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Int(x)] => Ok(Value::Int(!x)),
        [Value::Uint(x)] => Ok(Value::Uint(!x)),
        _ => Err(EvalError::no_overload("math.bitNot")),
    }
}

/// Shifting to the right moves in zeros, of negative integers too.
fn shifted<'a>(args: &[Value<'a>], name: &str, apply: fn(u64, u32) -> u64) -> Result<Value<'a>, EvalError> {
    let by = int(args, 1, name)?;
    if by < 0 {
        return Err(EvalError::invalid(format!("{name}() negative offset: {by}")));
    }
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    match args.first() {
        Some(Value::Int(x)) => Ok(Value::Int(apply(x.cast_unsigned(), by).cast_signed())),
        Some(Value::Uint(x)) => Ok(Value::Uint(apply(*x, by))),
        _ => Err(EvalError::no_overload(name)),
    }
}

fn min<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    extreme(args, "math.@min", Ordering::Greater)
}

fn max<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    extreme(args, "math.@max", Ordering::Less)
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replace: Ordering) -> Result<Value<'a>, EvalError> {
    let numbers: Vec<Value<'a>> = match args {
        [Value::List(_)] => list(args, 0, name)?.iter().collect(),
        _ => args.to_vec(),
    };
    let mut numbers = numbers.into_iter();
    let Some(mut best) = numbers.next() else { return Err(EvalError::invalid(format!("{name}(list) argument must not be empty"))) };
    for next in numbers {
        match best.order(&next) {
            Some(order) if order == replace => best = next,
            Some(_) => {}
            None if matches!((&best, &next), (Value::Double(_), _) | (_, Value::Double(_))) => return Err(EvalError::invalid("NaN values cannot be ordered")),
            None => return Err(EvalError::no_overload(name)),
        }
    }
    if matches!(best, Value::Int(_) | Value::Uint(_) | Value::Double(_)) { Ok(best) } else { Err(EvalError::no_overload(name)) }
}
