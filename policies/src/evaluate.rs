//! One policy on one request, in the order of the API server: constraints, conditions, variables, validations.

use assent_core::refusal::{Refusal, Rule};
use cel::{Context, Env, Program, Value as Cel};
use serde_json::{Value, json};

use crate::set::Compiled;

/// What a guardrail may look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// Sub-resource or empty.
    pub subresource: &'a str,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub operation: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// The requesting user.
    pub username: &'a str,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The object after; null for a deletion.
    pub object: &'a Value,
    /// The object before; null for a creation.
    pub old_object: &'a Value,
}

/// The refusal of one guardrail, if it refuses.
pub(crate) fn judge(rule: &Compiled, request: &Request<'_>) -> Option<Refusal> {
    if !rule.policy.match_constraints.as_ref().is_some_and(|constraints| constraints.covers(request)) {
        return None;
    }
    match verdict(rule, request) {
        Ok(None) => None,
        Ok(Some(denied)) => Some(denied),
        Err(_) if rule.policy.failure_policy.as_deref() == Some("Ignore") => None,
        Err(reason) => Some(refuse(rule, format!("could not be evaluated: {reason}"), "a request that the guardrail can judge".into())),
    }
}

fn verdict(rule: &Compiled, request: &Request<'_>) -> Result<Option<Refusal>, String> {
    let mut context = Context::with_env(std::sync::Arc::new(Env::stdlib().with_optional_support(true)));
    bind(&mut context, "object", request.object)?;
    bind(&mut context, "oldObject", request.old_object)?;
    bind(&mut context, "request", &request_value(request))?;
    if !conditions_hold(rule, &context)? {
        return Ok(None);
    }
    let mut values = serde_json::Map::new();
    for (name, program) in &rule.variables {
        let value = run(program, &context)?.json().map_err(|error| format!("variable `{name}`: {error}"))?;
        values.insert(name.clone(), value);
        bind(&mut context, "variables", &Value::Object(values.clone()))?;
    }
    for (index, (program, message)) in rule.validations.iter().enumerate() {
        if run(program, &context).map_err(|error| format!("validation {index}: {error}"))? == Cel::Bool(true) {
            continue;
        }
        let spec = rule.policy.validations.get(index);
        let computed = message.as_ref().and_then(|message| match run(message, &context) {
            Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') && text.len() <= 5 * 1024 => Some(text.to_string()),
            _ => None,
        });
        let expression = spec.map(|s| s.expression.clone()).unwrap_or_default();
        let text = computed.or_else(|| spec.and_then(|s| s.message.clone())).unwrap_or_else(|| format!("failed expression: {expression}"));
        return Ok(Some(refuse(rule, text, format!("a request for which `{expression}` is true"))));
    }
    Ok(None)
}

/// Any false condition skips, even when another could not be evaluated; otherwise an error is an error.
fn conditions_hold(rule: &Compiled, context: &Context<'_, '_>) -> Result<bool, String> {
    let mut error = None;
    for (index, program) in rule.conditions.iter().enumerate() {
        match run(program, context) {
            Ok(Cel::Bool(false)) => return Ok(false),
            Ok(Cel::Bool(true)) => {}
            Ok(_) => error = error.or(Some(format!("match condition {index} is not a boolean"))),
            Err(reason) => error = error.or(Some(format!("match condition {index}: {reason}"))),
        }
    }
    error.map_or(Ok(true), Err)
}

fn run(program: &Program, context: &Context<'_, '_>) -> Result<Cel, String> {
    program.execute(context).map_err(|error| error.to_string())
}

fn bind(context: &mut Context<'_, '_>, name: &str, value: &Value) -> Result<(), String> {
    context.add_variable(name, value).map_err(|error| format!("`{name}` has no CEL value: {error}"))
}

fn request_value(request: &Request<'_>) -> Value {
    json!({
        "operation": request.operation, "namespace": request.namespace, "name": request.name, "dryRun": request.dry_run,
        "subResource": request.subresource,
        "resource": {"group": request.group, "version": request.version, "resource": request.resource},
        "userInfo": {"username": request.username},
    })
}

fn refuse(rule: &Compiled, reason: String, would_pass: String) -> Refusal {
    Refusal::new(Rule::Guardrail, format!("guardrail `{}`: {reason}", rule.name), would_pass)
}

#[cfg(test)]
mod cases;
