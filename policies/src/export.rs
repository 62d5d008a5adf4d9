//! The same policies as native ValidatingAdmissionPolicy and binding objects, so that they hold where our webhook does not.
//!
//! What an API server would refuse, or could not evaluate, is left out and named; nothing is weakened to fit.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::policy::spec::{BindingSpec, MatchCondition, PolicySpec, binding_problems, policy_problems};

/// Group and kind of the params that only Assent can supply.
pub const FACTS: (&str, &str) = ("assent.dev", "Facts");
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// Native objects, and what is not among them.
#[derive(Clone, Debug, Default)]
pub struct Export {
    /// Policies, then bindings, by name.
    pub objects: Vec<Value>,
    /// Name and reason of each that cannot be exported.
    pub left: Vec<(String, String)>,
}

/// Exports `(name, spec)` pairs. With `only_for`, each policy gets a condition that it holds for requests of that user only:
/// guardrails are rules for Assent's writes, native policies hold for everybody.
#[must_use]
pub fn export(policies: &[(String, PolicySpec)], bindings: &[(String, BindingSpec)], only_for: Option<&str>) -> Export {
    let mut export = Export::default();
    let mut exported = BTreeSet::new();
    let mut sorted: Vec<_> = policies.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, spec) in sorted {
        match policy(name, spec, only_for) {
            Ok(object) => {
                exported.insert(name.as_str());
                export.objects.push(object);
            }
            Err(reason) => export.left.push((name.clone(), reason)),
        }
    }
    let mut sorted: Vec<_> = bindings.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, spec) in sorted {
        if !exported.contains(spec.policy_name.as_str()) {
            export.left.push((name.clone(), format!("its policy `{}` is not exported", spec.policy_name)));
            continue;
        }
        match binding_problems(spec).first() {
            Some(problem) => export.left.push((name.clone(), problem.clone())),
            None => export.objects.push(object("ValidatingAdmissionPolicyBinding", name, json!(spec))),
        }
    }
    export
}

fn policy(name: &str, spec: &PolicySpec, only_for: Option<&str>) -> Result<Value, String> {
    if let Some(kind) = spec.param_kind.as_ref().filter(|kind| (kind.group(), kind.kind.as_str()) == FACTS) {
        return Err(format!("its params are of kind {} of {}, which no API server stores", kind.kind, kind.api_version));
    }
    let mut spec = spec.clone();
    if let Some(user) = only_for {
        let literal = serde_json::to_string(user).map_err(|error| error.to_string())?;
        let expression = format!("request.userInfo.username == {literal}");
        spec.match_conditions.insert(0, MatchCondition { name: "only-for-assent".into(), expression });
    }
    match policy_problems(name, &spec).first() {
        Some(problem) => Err(problem.clone()),
        None => Ok(object("ValidatingAdmissionPolicy", name, json!(spec))),
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "assent"}}, "spec": spec})
}

#[cfg(test)]
mod cases;
