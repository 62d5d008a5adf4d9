//! cel-go's lists extension, version 3: `slice`, `flatten`, `sort`, `sortBy`, `distinct`, `reverse`, `lists.range`. Since Kubernetes 1.34.
//!
//! `sortBy` is a macro; what it expands to is `@sortByAssociatedKeys`, which is here.

use std::cmp::Ordering;

use super::args::{int, list};
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, TRAVERSAL};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Operand, Range};
use crate::cel::types::Type;
use crate::cel::value::{List, MAX_LIST, Value};

/// What a call costs, and a new list on top of that.
const NEW_LIST: u64 = 11;
/// The longest list that `lists.range` makes since cel-go 0.29.
const MAX_RANGE: i64 = 1_000_000;

/// Element types that have an order, with the overloads that take them.
const ORDERED: [(&str, &str, Type); 8] = [
    ("list_int_sort", "list_int_sortByAssociatedKeys", Type::Int),
    ("list_uint_sort", "list_uint_sortByAssociatedKeys", Type::Uint),
    ("list_double_sort", "list_double_sortByAssociatedKeys", Type::Double),
    ("list_bool_sort", "list_bool_sortByAssociatedKeys", Type::Bool),
    ("list_google.protobuf.Duration_sort", "list_google.protobuf.Duration_sortByAssociatedKeys", Type::Duration),
    ("list_google.protobuf.Timestamp_sort", "list_google.protobuf.Timestamp_sortByAssociatedKeys", Type::Timestamp),
    ("list_string_sort", "list_string_sortByAssociatedKeys", Type::String),
    ("list_bytes_sort", "list_bytes_sortByAssociatedKeys", Type::Bytes),
];

pub(crate) fn functions() -> Vec<Function> {
    table(Call::Values(range), FLATTEN)
}

/// As cel-go 0.29 has it: Kubernetes since 1.37.
pub(crate) fn functions_bounded() -> Vec<Function> {
    table(Call::Values(range_bounded), FLATTEN_BOUNDED)
}

fn table(range: Call, flattening: CostRule) -> Vec<Function> {
    let any = || Type::list(Type::param("T"));
    let dynamic = || Type::list(Type::Dyn);
    let flatten_overload = |overload: Overload| overload.costs(flattening).estimates(estimate_flatten).unguarded();
    let whole =
        |name, id, call, cost, estimate| Function::new(name, [Overload::member(id, [any()], any(), Call::Values(call)).costs(cost).estimates(estimate)]);
    let by_type = |name, overload: fn(&(&'static str, &'static str, Type)) -> Overload| {
        let overloads = ORDERED.iter().map(overload).collect();
        Function { name, overloads, cost: None, estimate: None }
    };
    vec![
        Function::new(
            "slice",
            [Overload::member("list_slice", [any(), Type::Int, Type::Int], any(), Call::Values(slice)).costs(OUTPUT).estimates(estimate_slice)],
        ),
        Function::new(
            "flatten",
            [
                flatten_overload(Overload::member("list_flatten", [Type::list(any())], any(), Call::Values(flatten))),
                flatten_overload(Overload::member("list_flatten_int", [dynamic(), Type::Int], dynamic(), Call::Values(flatten))),
            ],
        ),
        by_type("sort", |(id, _, element)| {
            let lists = Type::list(element.clone());
            let estimate = if matches!(element, Type::String | Type::Bytes) { estimate_sort_texts } else { estimate_sort };
            Overload::member(id, [lists.clone()], lists, Call::Values(sort)).costs(SORT).estimates(estimate).unguarded()
        }),
        by_type("@sortByAssociatedKeys", |(_, id, element)| {
            let any = Type::list(Type::param("T"));
            let estimate = if matches!(element, Type::String | Type::Bytes) { estimate_sort_by_texts } else { estimate_sort_by };
            Overload::member(id, [any.clone(), Type::list(element.clone())], any, Call::Values(sort_by)).costs(SORT_BY).estimates(estimate).unguarded()
        }),
        Function::new("lists.range", [Overload::global("lists_range", [Type::Int], Type::list(Type::Int), range).costs(RANGE).estimates(estimate_range)]),
        whole("reverse", "list_reverse", reverse, INPUT, estimate_reverse),
        whole("distinct", "list_distinct", distinct, SORT, estimate_distinct),
    ]
}

/// By the length of the result.
const OUTPUT: CostRule = CostRule::After(|call| call.result_size().saturating_add(NEW_LIST));
/// By the length of the argument, which is that of the result.
const INPUT: CostRule = CostRule::Before(|call| call.size(0).saturating_add(NEW_LIST));
/// By the length of the list, so many times as levels are taken away. A negative number of them, which is refused, makes upstream's
/// number wrap.
const FLATTEN: CostRule = CostRule::Before(|call| match call.args.get(1) {
    Some(Value::Int(depth)) if *depth < 0 => ((call.size(0) as f64 * *depth as f64) as i64).cast_unsigned().wrapping_add(NEW_LIST),
    Some(Value::Int(depth)) => flattened(call.size(0), *depth as f64),
    _ => flattened(call.size(0), 1.0),
});
/// As cel-go 0.29 counts it.
const FLATTEN_BOUNDED: CostRule = CostRule::Before(|call| match call.args.get(1) {
    Some(Value::Int(depth)) if *depth >= 0 => flattened(call.size(0), *depth as f64),
    _ => flattened(call.size(0), 1.0),
});

fn flattened(length: u64, depth: f64) -> u64 {
    ((length as f64 * depth) as u64).saturating_add(NEW_LIST)
}

/// By what is asked for, before it is made.
const RANGE: CostRule = CostRule::Before(|call| match call.args.first() {
    Some(Value::Int(length)) => u64::try_from(*length).unwrap_or(0).saturating_add(NEW_LIST),
    _ => NEW_LIST,
});
/// Every element with every other, texts a little more.
const SORT: CostRule = CostRule::Before(|call| compared(call.args.first()));
/// Likewise, of the keys.
const SORT_BY: CostRule = CostRule::Before(|call| compared(call.args.get(1)));

fn compared(list: Option<&Value<'_>>) -> u64 {
    let Some(list) = list.and_then(Value::as_list) else { return NEW_LIST };
    let length = list.len() as u64;
    let texts = matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_)));
    let factor = if texts { 2.0 + TRAVERSAL } else { 2.0 };
    ((length.saturating_mul(length) as f64 * factor) as u64).saturating_add(NEW_LIST)
}

fn allocating(factor: f64, size: Range) -> Option<Estimate> {
    Some(Estimate { cost: size.scaled(factor).plus(Range::exactly(NEW_LIST)), size: Some(size) })
}

/// A literal, negative ones as zero.
fn literal(operand: Option<&Operand>) -> Option<u64> {
    operand.and_then(|operand| operand.literal).map(|value| u64::try_from(value).unwrap_or(0))
}

fn estimate_slice(call: &Estimation) -> Option<Estimate> {
    let start = literal(call.args.first()).unwrap_or(0);
    let end = literal(call.args.get(1)).unwrap_or(call.target_size().max);
    allocating(1.0, Range::exactly(end.wrapping_sub(start)))
}

fn estimate_flatten(call: &Estimation) -> Option<Estimate> {
    let depth = if call.args.is_empty() { 1 } else { literal(call.args.first()).unwrap_or(u64::MAX) };
    allocating(depth as f64, call.target_size())
}

fn estimate_range(call: &Estimation) -> Option<Estimate> {
    allocating(1.0, Range::exactly(literal(call.args.first()).unwrap_or(u64::MAX)))
}

fn estimate_reverse(call: &Estimation) -> Option<Estimate> {
    allocating(1.0, call.target_size())
}

fn estimate_distinct(call: &Estimation) -> Option<Estimate> {
    squared(call.target_size(), 2.0)
}

fn squared(size: Range, factor: f64) -> Option<Estimate> {
    allocating(factor, size.times(size))
}

fn estimate_sort(call: &Estimation) -> Option<Estimate> {
    squared(call.target_size(), 2.0)
}

fn estimate_sort_texts(call: &Estimation) -> Option<Estimate> {
    squared(call.target_size(), 2.0 + TRAVERSAL)
}

fn estimate_sort_by(call: &Estimation) -> Option<Estimate> {
    squared(call.size(0), 2.0)
}

fn estimate_sort_by_texts(call: &Estimation) -> Option<Estimate> {
    squared(call.size(0), 2.0 + TRAVERSAL)
}

fn slice<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (list, start, end) = (list(args, 0, "slice")?, int(args, 1, "slice")?, int(args, 2, "slice")?);
    let refuse = |why: String| Err(EvalError::invalid(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else { return refuse("negative indexes not supported".to_owned()) };
    if from > to {
        return refuse("start index must be less than or equal to end index".to_owned());
    }
    if to > list.len() {
        return refuse(format!("list is length {}", list.len()));
    }
    Ok(Value::list(list.iter().skip(from).take(to - from).collect()))
}

fn flatten<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let depth = if args.len() > 1 { int(args, 1, "flatten")? } else { 1 };
    let Ok(depth) = u64::try_from(depth) else { return Err(EvalError::invalid("level must be non-negative")) };
    let mut out = Vec::new();
    flatten_into(&mut out, list(args, 0, "flatten")?, depth)?;
    Ok(Value::list(out))
}

fn flatten_into<'a>(out: &mut Vec<Value<'a>>, list: &List<'a>, depth: u64) -> Result<(), EvalError> {
    for element in list.iter() {
        match element {
            Value::List(inner) if depth > 0 => flatten_into(out, &inner, depth - 1)?,
            element if out.len() < MAX_LIST => out.push(element),
            _ => return Err(EvalError::Memory),
        }
    }
    Ok(())
}

fn range<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let length = int(args, 0, "lists.range")?;
    if usize::try_from(length).is_ok_and(|length| length > MAX_LIST) {
        return Err(EvalError::Memory);
    }
    Ok(Value::list((0..length).map(Value::Int).collect()))
}

fn range_bounded<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let length = int(args, 0, "lists.range")?;
    if length < 0 {
        return Err(EvalError::invalid(format!("lists.range: size must be non-negative, got {length}")));
    }
    if length > MAX_RANGE {
        return Err(EvalError::invalid(format!("lists.range: size {length} exceeds maximum allowed ({MAX_RANGE})")));
    }
    range(args)
}

fn reverse<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut elements: Vec<Value<'a>> = list(args, 0, "reverse")?.iter().collect();
    elements.reverse();
    Ok(Value::list(elements))
}

fn distinct<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    'elements: for element in list(args, 0, "distinct")?.iter() {
        for other in &kept {
            match element.equal(other) {
                Ok(true) => continue 'elements,
                Err(error) if error.aborts() => return Err(error),
                Ok(false) | Err(_) => {}
            }
        }
        kept.push(element);
    }
    Ok(Value::list(kept))
}

fn sort<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let list = list(args, 0, "sort")?;
    sorted(list, list)
}

fn sort_by<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    sorted(list(args, 0, "@sortByAssociatedKeys")?, list(args, 1, "@sortByAssociatedKeys")?)
}

fn sorted<'a>(list: &List<'a>, keys: &List<'a>) -> Result<Value<'a>, EvalError> {
    if list.len() != keys.len() {
        return Err(EvalError::invalid(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    let Some(first) = keys.get(0) else { return Ok(Value::List(list.clone())) };
    if first.order(&first).is_none() && !matches!(first, Value::Double(_)) {
        return Err(EvalError::invalid("list elements must be comparable"));
    }
    let keys: Vec<Value<'a>> = keys.iter().collect();
    if keys.iter().any(|key| key.type_name() != first.type_name()) {
        return Err(EvalError::invalid("list elements must have the same type"));
    }
    let elements: Vec<Value<'a>> = list.iter().collect();
    let order = merge_sort((0..keys.len()).collect(), &|a: usize, b: usize| keys[a].order(&keys[b]) == Some(Ordering::Less));
    Ok(Value::list(order.into_iter().filter_map(|index| elements.get(index).cloned()).collect()))
}

/// Sorts stably. The standard library's sort may panic on an order that is none, which `NaN` makes of it. Upstream inserts up to
/// twelve elements one by one, and so does this; beyond that upstream does not keep the order of equal elements, and this does.
fn merge_sort(mut items: Vec<usize>, less: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    if items.len() <= 12 {
        for end in 1..items.len() {
            let mut at = end;
            while at > 0 && less(items[at], items[at - 1]) {
                items.swap(at, at - 1);
                at -= 1;
            }
        }
        return items;
    }
    let right = items.split_off(items.len() / 2);
    let (left, right) = (merge_sort(items, less), merge_sort(right, less));
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if less(*b, *a) => out.extend(right.next()),
            (Some(_), _) => out.extend(left.next()),
            (None, _) => {
                out.extend(right);
                return out;
            }
        }
    }
}

#[cfg(test)]
mod tests;
