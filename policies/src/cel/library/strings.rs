//! cel-go's strings extension: version 2 in Kubernetes since 1.29, the newest for conformance.

mod localized;
mod texts;
pub(crate) mod verbs;

use self::texts::PastEnd;
use self::verbs::Dialect;
use super::args::{MAX_TEXT, cut, cut_all, int, list, made, text};
use super::estimates::TRAVERSE_TARGET_KEEPING;
use super::k8s_lists::{WALK, estimate as estimate_walk};
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, REBUILD, TRAVERSAL, TRAVERSE, scaled};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::Value;

/// Version 2 as Kubernetes has it until 1.32.
pub(crate) fn functions_spaced() -> Vec<Function> {
    table(index_of, last_index_of, format_spaced)
}

/// Version 2 as Kubernetes has it until 1.36.
pub(crate) fn functions() -> Vec<Function> {
    table(index_of, last_index_of, format_localized)
}

/// Version 2 as cel-go 0.29 has it: Kubernetes since 1.37.
pub(crate) fn functions_clamped() -> Vec<Function> {
    table(index_of_clamped, last_index_of_clamped, format_localized)
}

/// The newest version, as the specification has it.
pub(crate) fn functions_newest() -> Vec<Function> {
    let mut functions = table(index_of_refused, last_index_of_refused, format_plain);
    functions.push(Function::new("reverse", [Overload::member("string_reverse", [Type::String], Type::String, Call::Values(reverse))]));
    functions
}

type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

fn table(index_of: Implementation, last_index_of: Implementation, format: Implementation) -> Vec<Function> {
    let mut functions = common();
    functions.extend(searches(index_of, last_index_of));
    functions.push(format_function(format));
    functions
}

fn common() -> Vec<Function> {
    let on = |id, result, call: Implementation| Overload::member(id, [Type::String], result, Call::Values(call));
    let texts = || Type::list(Type::String);
    let shorter = |function: Function| function.costs(TRAVERSE).estimates(TRAVERSE_TARGET_KEEPING);
    let member = |id, args: &[Type], result, call: Implementation| Overload { args: args.to_vec(), ..on(id, result, call) };
    let s = Type::String;
    let n = Type::Int;
    vec![
        Function::new("charAt", [member("string_char_at_int", &[s.clone(), n.clone()], Type::String, char_at)]),
        shorter(Function::new("lowerAscii", [on("string_lower_ascii", Type::String, lower)])),
        shorter(Function::new("upperAscii", [on("string_upper_ascii", Type::String, upper)])),
        shorter(Function::new("trim", [on("string_trim", Type::String, trim)])),
        shorter(Function::new(
            "substring",
            [
                member("string_substring_int", &[s.clone(), n.clone()], Type::String, substring),
                member("string_substring_int_int", &[s.clone(), n.clone(), n.clone()], Type::String, substring),
            ],
        )),
        Function::new(
            "replace",
            [
                member("string_replace_string_string", &[s.clone(), s.clone(), s.clone()], Type::String, replace),
                member("string_replace_string_string_int", &[s.clone(), s.clone(), s.clone(), n.clone()], Type::String, replace),
            ],
        )
        .costs(REBUILD)
        .estimates(estimate_replace),
        Function::new(
            "split",
            [
                member("string_split_string", &[s.clone(), s.clone()], texts(), split),
                member("string_split_string_int", &[s.clone(), s.clone(), n], texts(), split),
            ],
        )
        .costs(REBUILD)
        .estimates(estimate_split),
        Function::new("join", [member("list_join", &[texts()], Type::String, join), member("list_join_string", &[texts(), s], Type::String, join)])
            .costs(CostRule::After(|call| scaled(call.result_size(), 2.0 * TRAVERSAL)))
            .estimates(estimate_join),
        Function::new(
            "strings.quote",
            [Overload::global("strings_quote", [Type::String], Type::String, Call::Values(quote)).costs(TRAVERSE).estimates(estimate_quote)],
        ),
    ]
}

/// Shares its names with the lists of Kubernetes, and its prices.
fn searches(index_of: Implementation, last_index_of: Implementation) -> Vec<Function> {
    let table = |name, ids: [&'static str; 2], call: Implementation| {
        let plain = Overload::member(ids[0], [Type::String, Type::String], Type::Int, Call::Values(call));
        let from = Overload::member(ids[1], [Type::String, Type::String, Type::Int], Type::Int, Call::Values(call));
        Function::new(name, [plain, from]).costs(WALK).estimates(estimate_walk)
    };
    vec![
        table("indexOf", ["string_index_of_string", "string_index_of_string_int"], index_of),
        table("lastIndexOf", ["string_last_index_of_string", "string_last_index_of_string_int"], last_index_of),
    ]
}

fn format_function(call: Implementation) -> Function {
    let overload = Overload::member("string_format", [Type::String, Type::list(Type::Dyn)], Type::String, Call::Values(call));
    Function::new("format", [overload.costs(TRAVERSE).estimates(|call| Some(Estimate::cost(call.target_size().scaled(TRAVERSAL))))])
}

/// How often what is replaced may occur decides how long the result may be.
fn estimate_replace(call: &Estimation) -> Option<Estimate> {
    let (text, old, new) = (call.target_size(), call.size(0), call.size(1));
    let (count_max, kept_max) = match old.min {
        0 => (text.max.saturating_add(1), text.max),
        least if new.max <= least => (0, text.max),
        least => (quotient(text.max, least), 0),
    };
    let (count_min, kept_min) = match old.max {
        0 => (text.min.saturating_add(1), text.min),
        most if most <= new.min => (0, text.min),
        most => (quotient(text.min, most), 0),
    };
    let size = Range { min: count_min, max: count_max }.times(new).plus(Range { min: kept_min, max: kept_max });
    Some(Estimate { cost: text.scaled(2.0 * TRAVERSAL), size: Some(size) })
}

/// By way of doubles, as upstream.
fn quotient(a: u64, b: u64) -> u64 {
    (a as f64 / b as f64).ceil() as u64
}

fn estimate_split(call: &Estimation) -> Option<Estimate> {
    let limit = call.args.get(1).and_then(|limit| limit.literal).map(i64::cast_unsigned);
    let size = Range { min: 0, max: limit.unwrap_or(call.target_size().max) };
    Some(Estimate { cost: call.target_size().scaled(2.0 * TRAVERSAL), size: Some(size) })
}

fn estimate_join(call: &Estimation) -> Option<Estimate> {
    let target = call.target.as_ref()?;
    let mut size = match target.kind {
        Type::List(_) => target.size.times(target.element.unwrap_or(Range::UNKNOWN)),
        _ => Range::exactly(0),
    };
    if !call.args.is_empty() {
        size = size.plus(call.size(0).times(Range { min: target.size.min.saturating_sub(1), max: target.size.max.saturating_sub(1) }));
    }
    Some(Estimate { cost: size.scaled(TRAVERSAL), size: Some(size) })
}

fn estimate_quote(call: &Estimation) -> Option<Estimate> {
    let size = call.size(0);
    let quoted = Range { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
    Some(Estimate { cost: size.scaled(TRAVERSAL), size: Some(quoted) })
}

fn char_at<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let index = int(args, 1, "charAt")?;
    texts::char_at(text(args, 0, "charAt")?, index).map(Value::string).map_err(EvalError::invalid)
}

fn lower<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(text(args, 0, "lowerAscii")?.to_ascii_lowercase())
}

fn upper<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(text(args, 0, "upperAscii")?.to_ascii_uppercase())
}

fn trim<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    cut(args, "trim", |text| Ok::<_, String>(texts::trim(text)))
}

fn substring<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let start = int(args, 1, "substring")?;
    match args.get(2) {
        None => cut(args, "substring", |text| texts::substring(text, start)),
        Some(_) => {
            let end = int(args, 2, "substring")?;
            cut(args, "substring", |text| texts::substring_range(text, start, end))
        }
    }
}

fn replace<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (original, old, new) = (text(args, 0, "replace")?, text(args, 1, "replace")?, text(args, 2, "replace")?);
    let limit = if args.len() > 3 { int(args, 3, "replace")? } else { -1 };
    let times = usize::try_from(limit).unwrap_or(usize::MAX).min(original.matches(old).count());
    if original.len().saturating_add(times.saturating_mul(new.len().saturating_sub(old.len()))) > MAX_TEXT {
        return Err(EvalError::Memory);
    }
    made(texts::replace(original, old, new, limit))
}

fn split<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let separator = text(args, 1, "split")?;
    let limit = if args.len() > 2 { int(args, 2, "split")? } else { -1 };
    cut_all(args, "split", |text| texts::split(text, separator, limit))
}

fn join<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let separator = if args.len() > 1 { text(args, 1, "join")? } else { "" };
    let mut out = String::new();
    for (index, element) in list(args, 0, "join")?.iter().enumerate() {
        let Value::String(element) = &element else { return Err(EvalError::invalid(format!("join: invalid input: {}", shown(&element)))) };
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(element);
        if out.len() > MAX_TEXT {
            return Err(EvalError::Memory);
        }
    }
    made(out)
}

/// An element that is no text, in a message.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Int(x) => x.to_string(),
        Value::Uint(x) => x.to_string(),
        Value::Bool(x) => x.to_string(),
        Value::Double(x) => super::golang::float_shortest(*x),
        other => other.type_name().to_owned(),
    }
}

fn quote<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(texts::quote(text(args, 0, "strings.quote")?))
}

fn reverse<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(texts::reverse(text(args, 0, "reverse")?))
}

fn find<'a>(args: &[Value<'a>], rule: PastEnd) -> Result<Value<'a>, EvalError> {
    let offset = if args.len() > 2 { int(args, 2, "indexOf")? } else { 0 };
    texts::index_of(text(args, 0, "indexOf")?, text(args, 1, "indexOf")?, offset, rule).map(Value::Int).map_err(EvalError::invalid)
}

fn find_last<'a>(args: &[Value<'a>], rule: PastEnd) -> Result<Value<'a>, EvalError> {
    let offset = if args.len() > 2 { Some(int(args, 2, "lastIndexOf")?) } else { None };
    texts::last_index_of(text(args, 0, "lastIndexOf")?, text(args, 1, "lastIndexOf")?, offset, rule).map(Value::Int).map_err(EvalError::invalid)
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    find(args, PastEnd::Unchecked)
}

fn index_of_clamped<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    find(args, PastEnd::Clamped)
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    find_last(args, PastEnd::Unchecked)
}

fn last_index_of_clamped<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    find_last(args, PastEnd::Clamped)
}

fn index_of_refused<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    find(args, PastEnd::Refused)
}

fn last_index_of_refused<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    find_last(args, PastEnd::Refused)
}

fn format_spaced<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(verbs::format(text(args, 0, "format")?, list(args, 1, "format")?, Dialect::Spaced)?)
}

fn format_localized<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(verbs::format(text(args, 0, "format")?, list(args, 1, "format")?, Dialect::Localized)?)
}

fn format_plain<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(verbs::format(text(args, 0, "format")?, list(args, 1, "format")?, Dialect::Plain)?)
}
