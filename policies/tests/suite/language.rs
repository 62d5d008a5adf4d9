//! cel-spec's cases. Those that need protobuf messages, or parts of CEL that Kubernetes leaves out, are left out.

use assent_policies::cel::{Environment, Meter, Type, Value};
use serde_json::Value as Json;

use super::Verdict;
use super::value::{decode, same, show};

/// `cel.block` and `cel.bind`, which Kubernetes does not have.
const LEFT_OUT: [&str; 2] = ["block_ext", "bindings_ext"];

pub(super) fn judge(case: &Json) -> Verdict {
    let text = |field: &str| case.get(field).and_then(Json::as_str).unwrap_or_default();
    let flag = |field: &str| case.get(field).and_then(Json::as_bool).unwrap_or_default();
    let unsupported = case.get("unsup").is_some_and(|unsupported| !unsupported.is_null());
    if flag("proto") || unsupported || LEFT_OUT.contains(&text("file")) {
        return None;
    }
    let name = format!("{}/{}/{}: {}", text("file"), text("section"), text("name"), text("expr"));
    let bindings = case.get("bindings").and_then(Json::as_object).into_iter().flatten();
    let bindings: Option<Vec<(String, Value<'_>)>> = bindings.map(|(name, value)| Some((name.clone(), decode(value)?))).collect();
    let Some(bindings) = bindings else { return Some(Err(format!("{name}: bindings cannot be read"))) };

    let mut environment = Environment::conformance().with_container(text("container"));
    environment = environment.with_variables(bindings.iter().map(|(name, _)| (name.as_str(), Type::Dyn)));
    if flag("disable_check") {
        environment = environment.unchecked();
    }
    let program = match environment.compile(text("expr")) {
        Ok(program) => program,
        Err(issues) => {
            let issues: Vec<String> = issues.iter().map(ToString::to_string).collect();
            return Some(agree(case, &name, Err(issues.join("; "))));
        }
    };
    if flag("check_only") {
        return Some(Ok(None));
    }
    let answer = program.evaluate(&bindings, &mut Meter::new(u64::MAX)).map_err(|error| error.to_string());
    Some(agree(case, &name, answer))
}

fn agree(case: &Json, name: &str, answer: Result<Value<'_>, String>) -> Result<Option<String>, String> {
    let got = answer.as_ref().map_or_else(|error| format!("error ({error})"), show);
    match case.get("want") {
        None if answer.is_err() => Ok(None),
        None => Err(format!("{name}\n  wanted an error\n  got    {got}")),
        Some(want) => match (decode(want), answer) {
            (Some(want), Ok(value)) if same(&want, &value) => Ok(None),
            (Some(want), Ok(value)) if same(&without_escape(&want, case), &value) => {
                Ok(Some(format!("{name}\n  the data wants {} with a backslash that its source does not have; got {got}", show(&want))))
            }
            _ => Err(format!("{name}\n  wanted {want}\n  got    {got}")),
        },
    }
}

/// Protobuf's text format may write `?` as `\?`, and the conversion to JSON kept the backslash in bytes. Where the expression has no
/// backslash its value cannot have one either.
fn without_escape<'a>(want: &Value<'a>, case: &Json) -> Value<'a> {
    let expression = case.get("expr").and_then(Json::as_str).unwrap_or_default();
    match want {
        Value::Bytes(bytes) if !expression.contains('\\') => {
            let kept = bytes.iter().enumerate().filter(|(at, byte)| !(**byte == b'\\' && bytes.get(at + 1) == Some(&b'?')));
            Value::bytes(kept.map(|(_, byte)| *byte).collect::<Vec<u8>>())
        }
        other => other.clone(),
    }
}
