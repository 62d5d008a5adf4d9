//! `quantity`, `isQuantity` and what can be asked of amounts. Since Kubernetes 1.28.

mod amount;
mod decimal;

pub(crate) use self::amount::Quantity;
pub(crate) use self::decimal::TooLong;
use super::args::{inner, int, text};
use super::estimates::{TRAVERSE_ARGUMENT, UNIT_ESTIMATE};
use super::{Call, Function, Overload};
use crate::cel::cost::{TRAVERSE, UNIT};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::{Opaque, Value};

const TYPE: &str = "kubernetes.Quantity";

pub(crate) fn functions() -> Vec<Function> {
    let quantity = || Type::opaque(TYPE);
    let unit = |name, overload: Overload| Function::new(name, [overload]).costs(UNIT).estimates(UNIT_ESTIMATE);
    let parse = |name, overload: Overload| Function::new(name, [overload]).costs(TRAVERSE).estimates(TRAVERSE_ARGUMENT);
    let pair = |id, result, call| Overload::member(id, [quantity(), quantity()], result, Call::Values(call));
    let with_int = |id, call| Overload::member(id, [quantity(), Type::Int], quantity(), Call::Values(call));
    let of_one = |id, result, call| Overload::member(id, [quantity()], result, Call::Values(call));
    vec![
        parse("quantity", Overload::global("string_to_quantity", [Type::String], quantity(), Call::Values(parsed))),
        parse("isQuantity", Overload::global("is_quantity_string", [Type::String], Type::Bool, Call::Values(is_quantity))),
        // Upstream declares this one without a receiver.
        unit("sign", Overload::global("quantity_sign", [quantity()], Type::Int, Call::Values(sign))),
        unit("isGreaterThan", pair("quantity_is_greater_than", Type::Bool, is_greater)),
        unit("isLessThan", pair("quantity_is_less_than", Type::Bool, is_less)),
        unit("compareTo", pair("quantity_compare_to", Type::Int, compare)),
        unit("asApproximateFloat", of_one("quantity_get_float", Type::Double, as_float)),
        unit("asInteger", of_one("quantity_get_int", Type::Int, as_integer)),
        unit("isInteger", of_one("quantity_is_integer", Type::Bool, is_integer)),
        Function::new("add", [pair("quantity_add", quantity(), add), with_int("quantity_add_int", add_int)]).costs(UNIT).estimates(UNIT_ESTIMATE),
        Function::new("sub", [pair("quantity_sub", quantity(), sub), with_int("quantity_sub_int", sub_int)]).costs(UNIT).estimates(UNIT_ESTIMATE),
    ]
}

/// An amount as a value of the language.
#[derive(Debug)]
struct Amount {
    quantity: Quantity,
    /// Whether arithmetic made it. Upstream returns such amounts by reference, and finds no overload to compare anything to one.
    computed: bool,
}

impl Opaque for Amount {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        let other = other.as_any().downcast_ref::<Self>().filter(|other| !other.computed)?;
        Some(self.quantity == other.quantity)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn two<'v>(args: &'v [Value<'_>], function: &str) -> Result<(&'v Quantity, &'v Quantity), EvalError> {
    Ok((&inner::<Amount>(args, 0, function)?.quantity, &inner::<Amount>(args, 1, function)?.quantity))
}

fn one<'v>(args: &'v [Value<'_>], function: &str) -> Result<&'v Quantity, EvalError> {
    Ok(&inner::<Amount>(args, 0, function)?.quantity)
}

fn parsed<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let quantity = Quantity::parse(text(args, 0, "quantity")?).map_err(|e| EvalError::invalid(e.to_string()))?;
    Ok(Value::opaque(Amount { quantity, computed: false }))
}

fn is_quantity<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(Quantity::parse(text(args, 0, "isQuantity")?).is_ok()))
}

fn sign<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    one(args, "sign").map(|q| Value::Int(q.signum()))
}

fn is_greater<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    two(args, "isGreaterThan").map(|(a, b)| Value::Bool(a.compare(b).is_gt()))
}

fn is_less<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    two(args, "isLessThan").map(|(a, b)| Value::Bool(a.compare(b).is_lt()))
}

fn compare<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    two(args, "compareTo").map(|(a, b)| Value::Int(a.compare(b) as i64))
}

fn as_float<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    one(args, "asApproximateFloat").map(|q| Value::Double(q.as_approximate_float()))
}

fn as_integer<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    one(args, "asInteger")?.as_integer().map(Value::Int).ok_or_else(|| EvalError::invalid("cannot convert value to integer"))
}

fn is_integer<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    one(args, "isInteger").map(|q| Value::Bool(q.as_integer().is_some()))
}

fn computed<'a>(result: Result<Quantity, TooLong>) -> Result<Value<'a>, EvalError> {
    let quantity = result.map_err(|e| EvalError::invalid(e.to_string()))?;
    Ok(Value::opaque(Amount { quantity, computed: true }))
}

fn add<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (a, b) = two(args, "add")?;
    computed(a.add(b))
}

fn sub<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (a, b) = two(args, "sub")?;
    computed(a.sub(b))
}

fn add_int<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    computed(one(args, "add")?.add(&Quantity::from_int(int(args, 1, "add")?)))
}

fn sub_int<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    computed(one(args, "sub")?.sub(&Quantity::from_int(int(args, 1, "sub")?)))
}
