//! Expressions with what the API server makes of them: value or error, and cost to the unit.

use assent_policies::cel::{Environment, Meter, Type, Value, Version};
use serde_json::Value as Json;

use super::Verdict;
use super::value::{decode, same, show};

/// Budget of one expression, and what it reads once it is overdrawn.
const PER_CALL: u64 = 1_000_000;
const INPUTS: [&str; 5] = ["object", "oldObject", "params", "request", "namespaceObject"];

pub(super) fn judge(case: &Json) -> Verdict {
    let needs_more = ["variables", "authorizer", "budget", "strict", "noAuthorizer"].iter().any(|field| case.get(*field).is_some());
    let text = |field: &str| case.get(field).and_then(Json::as_str).unwrap_or_default();
    let typed = ["authorizer", "request", "namespaceObject", "kubernetes."].iter().any(|name| text("expr").contains(name));
    if needs_more || typed {
        return None;
    }
    let name = format!("{}: {}", text("id"), text("expr"));
    let want = case.get("want").unwrap_or(&Json::Null);
    let bindings: Vec<(&str, Value<'_>)> = INPUTS.iter().map(|name| (*name, case.get(*name).map_or(Value::Null, Value::from))).collect();
    let version = Version::parse(text("compat")).unwrap_or(Version::V1_34);
    let declared = INPUTS.into_iter().filter(|name| *name != "params" || case.get("params").is_some());
    let environment = Environment::kubernetes(version).with_variables(declared.map(|name| (name, Type::Dyn)));
    let program = match environment.compile(text("expr")) {
        Ok(program) => program,
        Err(issues) => {
            let refused = want.get("compile_error").is_some();
            let issues: Vec<String> = issues.iter().map(ToString::to_string).collect();
            return Some(if refused { Ok(None) } else { Err(format!("{name}\n  wanted {want}\n  got    issues ({})", issues.join("; "))) });
        }
    };
    if let Some(estimate) = want.get("estimate") {
        let part = |field: &str| estimate.get(field).and_then(Json::as_u64);
        let got = program.estimate();
        if (part("min"), part("max")) != (Some(got.min), Some(got.max)) {
            return Some(Err(format!("{name}\n  wanted {estimate}\n  got    {got:?}")));
        }
    }
    let mut meter = Meter::new(PER_CALL);
    let answer = program.evaluate(&bindings, &mut meter);
    let got = answer.as_ref().map_or_else(|error| format!("error ({error})"), show);
    let value_agrees = match (want.get("value"), &answer) {
        (None, Err(_)) => want.get("error").is_some(),
        // What has no text here is judged by its cost alone.
        (Some(want), Ok(value)) => decode(want).is_none_or(|want| same(&want, value)),
        _ => false,
    };
    let cost_agrees = want.get("cost").and_then(Json::as_u64).is_none_or(|cost| cost == meter.spent() || cost > PER_CALL);
    Some(if value_agrees && cost_agrees { Ok(None) } else { Err(format!("{name}\n  wanted {want}\n  got    {got}, cost {}", meter.spent())) })
}
