//! Cases of sets: decisions, errors, params, bindings, what is kept when something no longer loads, and the digest.

use serde_json::{Value, json};

use super::*;
use crate::policy::outcome::{Evaluation, Outcome};
use crate::policy::params::{NoParams, ParamScope, ParamTable, Params};
use crate::policy::request::{Equivalent, Kind, Namespace, Objects, Resource, User};
use crate::policy::spec::{Operation, ParamKind};

mod keeping;
mod semantics;
mod size;

/// A policy about UPDATE of deployments, with `extra` fields.
fn policy(extra: Value) -> Value {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}]},
        "validations": [{"expression": "object.spec.replicas <= 5"}],
    });
    merge(&mut spec, extra);
    spec
}

/// A binding that denies, with `extra` fields.
fn binding(policy: &str, extra: Value) -> Value {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    merge(&mut spec, extra);
    spec
}

fn merge(spec: &mut Value, extra: Value) {
    if let Value::Object(extra) = extra {
        for (key, value) in extra {
            spec[key] = value;
        }
    }
}

fn named(specs: &[(&str, Value)]) -> Vec<(String, Value)> {
    specs.iter().map(|(name, spec)| ((*name).to_owned(), spec.clone())).collect()
}

/// One policy `p` with one binding `b`.
fn one(policy: Value, binding: Value) -> Set {
    Set::new(named(&[("p", policy)]), named(&[("b", binding)]))
}

fn deployment(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "orders", "namespace": "shop", "labels": {"a.b/c": "x"}}, "spec": {"replicas": replicas}})
}

const DEPLOYMENT: Kind<'static> = Kind { group: "apps", version: "v1", kind: "Deployment" };
const DEPLOYMENTS: Resource<'static> = Resource { group: "apps", version: "v1", resource: "deployments" };

/// UPDATE of `shop/orders` to `replicas`, from 3.
fn ask(set: &Set, replicas: i64, adjust: impl for<'a> FnOnce(&mut Request<'a>)) -> Outcome {
    ask_with(set, replicas, &NoParams, adjust)
}

fn ask_with(set: &Set, replicas: i64, params: &dyn Params, adjust: impl for<'a> FnOnce(&mut Request<'a>)) -> Outcome {
    let (object, old_object) = (deployment(replicas), deployment(3));
    let namespace = json!({"metadata": {"name": "shop", "labels": {"team": "a"}}});
    let groups = ["system:authenticated".to_owned()];
    let mut request = Request {
        kind: DEPLOYMENT,
        resource: DEPLOYMENTS,
        operation: Operation::Update,
        name: "orders",
        namespace: "shop",
        user: User { username: "assent:executor", groups: &groups, ..User::default() },
        object: &object,
        old_object: &old_object,
        namespace_object: Namespace::Known(&namespace),
        equivalents: Some(&[]),
        params,
        ..Request::default()
    };
    adjust(&mut request);
    set.evaluate(&request)
}

/// The first denial of an update to `replicas`, in the API server's words without the preamble.
fn denied(set: &Set, replicas: i64) -> Option<String> {
    ask(set, replicas, |_| {}).denial().map(|decision| decision.message.clone())
}

#[test]
fn a_validation_denies_with_its_message_and_reason() {
    let spec = policy(json!({"validations": [
        {"expression": "object.spec.replicas <= 5", "messageExpression": "'at most 5, not ' + string(object.spec.replicas)", "reason": "Forbidden"}]}));
    let set = one(spec, binding("p", json!({})));
    assert!(set.problems().is_empty(), "{:?}", set.problems());
    assert!(ask(&set, 5, |_| {}).allowed());
    let outcome = ask(&set, 9, |_| {});
    let denial = outcome.denial().unwrap();
    assert_eq!(denial.text(), "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: at most 5, not 9");
    assert_eq!((denial.code(), denial.evaluation, denial.index), (403, Evaluation::Deny, Some(0)));
    let refusal = outcome.refusal().unwrap();
    assert_eq!(refusal.reason, "guardrail `p`: at most 5, not 9");
}

#[test]
fn the_digest_is_of_the_set_and_not_of_its_order() {
    let (a, b) = (policy(json!({})), policy(json!({"failurePolicy": "Ignore"})));
    let digest = |policies: &[(&str, Value)], bindings: &[(&str, Value)]| Set::new(named(policies), named(bindings)).digest().clone();
    let left = digest(&[("a", a.clone()), ("b", b.clone())], &[("x", binding("a", json!({}))), ("y", binding("b", json!({})))]);
    let right = digest(&[("b", b.clone()), ("a", a.clone())], &[("y", binding("b", json!({}))), ("x", binding("a", json!({})))]);
    assert_eq!(left, right);
    assert_ne!(left, digest(&[("a", b.clone()), ("b", a.clone())], &[("x", binding("a", json!({}))), ("y", binding("b", json!({})))]));
    assert_ne!(left, digest(&[("a", a.clone()), ("b", b)], &[("x", binding("a", json!({})))]));
    assert_ne!(digest(&[("a", a.clone())], &[]), digest(&[], &[("a", a)]));
}

#[test]
fn a_policy_without_a_binding_has_no_effect() {
    let set = Set::new(named(&[("p", policy(json!({"validations": [{"expression": "false"}]})))]), named(&[("b", binding("other", json!({})))]));
    assert_eq!(set.unbound(), ["p"]);
    assert!(ask(&set, 9, |_| {}).decisions.is_empty());
}
