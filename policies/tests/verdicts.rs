//! Whole policies against what Kubernetes 1.34's own dispatcher answered (`node vap-eval`): verdict, code, reason, message,
//! warnings, audit annotations and every single decision. Every difference is listed at once.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "suite/rules.rs"]
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use assent_policies::spec::{Operation, ParamKind};
use assent_policies::{Authorizer, authorizer};
use assent_policies::{Decision, Equivalent, Evaluation, FAILURES, Kind, Namespace, Objects, Outcome, ParamScope, ParamTable, Request, Resource, Set, User};
use serde_json::{Value, json};

/// What `node vap-eval` was asked, with its answers.
const CASES: &str = include_str!("data/policies.jsonl");

#[test]
fn a_policy_is_judged_as_the_api_server_judges_it() {
    let cases: Vec<Value> = CASES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() > 900, "{} cases", cases.len());
    let differences: Vec<String> = cases.iter().flat_map(|case| differences(case).into_iter().map(|words| format!("{}: {words}", text(&case["id"])))).collect();
    assert!(differences.is_empty(), "{} differences in {} cases:\n{}", differences.len(), cases.len(), differences.join("\n"));
}

fn differences(case: &Value) -> Vec<String> {
    let outcome = evaluate(case);
    let want = &case["want"];
    let mut found = Vec::new();
    let mut same = |what: &str, want: String, got: String| {
        let (want, got) = (unexpecting(want), unexpecting(got));
        if want != got {
            found.push(format!("{what}\n  want {want}\n  got  {got}"));
        }
    };
    same("status", status(&want["status"]), outcome.denial().map_or_else(|| "none".into(), denial));
    same("warnings", format!("{:?}", texts(&want["warnings"])), format!("{:?}", unrepeated(&outcome.warnings)));
    same("annotations", format!("{:?}", annotations(&want["audit_annotations"])), format!("{:?}", annotations_of(&outcome)));
    same("decisions", format!("{:?}", decisions(want)), format!("{:?}", decisions_of(&outcome)));
    found
}

fn evaluate(case: &Value) -> Outcome {
    let named = |one: &str, many: &str| -> Vec<(String, Value)> {
        let all = list(&case[one]).chain(case[many].as_array().into_iter().flatten());
        all.map(|object| (text_of(&object["metadata"]["name"]), object["spec"].clone())).collect()
    };
    let policies = named("policy", "policies");
    let mut params = ParamTable::default();
    for kind in policies.iter().filter_map(|(_, spec)| spec.get("paramKind")) {
        let kind: ParamKind = serde_json::from_value(kind.clone()).unwrap();
        params.know(kind.clone(), if case["clusterParams"] == true { ParamScope::Cluster } else { ParamScope::Namespaced });
        let of_kind = case["params"].as_array().into_iter().flatten().filter(|object| object["apiVersion"] == kind.api_version && object["kind"] == kind.kind);
        of_kind.for_each(|object| params.insert(&kind, object.clone()));
    }
    let set = Set::new(policies, named("binding", "bindings"));
    let asked = &case["request"];
    let groups: Vec<String> = serde_json::from_value(asked["userInfo"]["groups"].clone()).unwrap();
    let extra = BTreeMap::new();
    let resource = resource(&asked["resource"]);
    let others: Vec<(&Value, Value)> = case["equivalents"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|same| same.as_array().unwrap())
        .filter(|one| (text(&one["group"]), text(&one["version"])) != (resource.group, resource.version))
        .map(|one| (one, renamed(&case["object"], one)))
        .collect();
    let equivalents: Vec<Equivalent<'_>> = others
        .iter()
        .map(|(one, object)| Equivalent { resource: self::resource(one), kind: kind(one), objects: Some(Objects { object, old_object: &Value::Null }) })
        .collect();
    let operation: Operation = serde_json::from_value(asked["operation"].clone()).unwrap();
    let namespace_object = match case.get("namespaceObject") {
        Some(namespace) => Namespace::Known(namespace),
        None => Namespace::Missing,
    };
    let rules = case["authorizer"].as_array().cloned().unwrap_or_default();
    let authorizer: Arc<dyn Authorizer> = Arc::new(rules::Rules { rules, requester: text_of(&asked["userInfo"]["username"]) });
    set.evaluate(&Request {
        kind: kind(&asked["kind"]),
        resource,
        subresource: text(&asked["subResource"]),
        operation,
        name: text(&asked["name"]),
        namespace: text(&asked["namespace"]),
        user: User { username: text(&asked["userInfo"]["username"]), uid: "", groups: &groups, extra: &extra },
        dry_run: asked["dryRun"] == true,
        options: &asked["options"],
        object: &case["object"],
        old_object: &case["oldObject"],
        namespace_object,
        equivalents: Some(&equivalents),
        params: &params,
        authorizer: Some(&authorizer),
        ..Request::default()
    })
}

/// Without what the server's parser would have liked better: ours is another.
fn unexpecting(mut text: String) -> String {
    while let Some(start) = text.find(" expecting {") {
        let end = text[start..].find(['\n', '\\']).map_or(text.len(), |length| start + length);
        text.replace_range(start..end, "");
    }
    text.replace(" expecting an expression", "")
}

/// As a server converts a custom resource.
fn renamed(object: &Value, to: &Value) -> Value {
    let mut object = object.clone();
    if object.is_object() {
        object["apiVersion"] = json!([text(&to["group"]), text(&to["version"])].join("/"));
        object["kind"] = to["kind"].clone();
    }
    object
}

fn status(want: &Value) -> String {
    if want.is_null() {
        return "none".into();
    }
    let message = text(&want["message"]);
    let message = message.split_once(" is forbidden: ").map_or(message, |(_, said)| said);
    // A namespace that is not there ends the request before a policy is named; only the refusal itself can be compared.
    if want["code"] == 404 {
        return "404".into();
    }
    format!("{} {} {message}", want["code"], text(&want["reason"]))
}

fn denial(decision: &Decision) -> String {
    if decision.message.starts_with("namespaces ") && decision.message.ends_with(" not found") {
        return "404".into();
    }
    format!("{} {} {}", decision.code(), decision.reason, decision.text())
}

/// The header's writer leaves repeats out.
fn unrepeated(warnings: &[String]) -> Vec<&str> {
    let mut kept: Vec<&str> = Vec::new();
    for warning in warnings {
        if !kept.contains(&warning.as_str()) {
            kept.push(warning);
        }
    }
    kept
}

/// 1.34 keeps the first failure only, and cuts a long value between two bytes.
fn annotations(want: &Value) -> BTreeMap<String, String> {
    let all = want.as_object().into_iter().flatten();
    all.map(|(key, value)| (key.clone(), first_failure(key, text(value)).trim_end_matches('\u{fffd}').to_owned())).collect()
}

fn annotations_of(outcome: &Outcome) -> BTreeMap<String, String> {
    outcome.annotations.iter().map(|(key, value)| (key.clone(), first_failure(key, value))).collect()
}

fn first_failure(key: &str, value: &str) -> String {
    if key != FAILURES {
        return value.to_owned();
    }
    let failures: Vec<Value> = serde_json::from_str(value).unwrap();
    failures.first().map(Value::to_string).unwrap_or_default()
}

/// Policy, evaluation, reason and message of what failed.
type Failed = (String, String, String, String);

fn decisions(want: &Value) -> Vec<Failed> {
    let mut failed = Vec::new();
    for evaluation in want["evaluations"].as_array().into_iter().flatten() {
        let of = |evaluated: &str, reason: &str, message: &Value| {
            let reason = if reason.is_empty() { "Invalid" } else { reason };
            (text_of(&evaluation["policy"]), evaluated.to_owned(), reason.to_owned(), text_of(message))
        };
        let denied = list(&evaluation["decisions"]).flat_map(|all| all.as_array().unwrap()).filter(|decision| decision["action"] == "deny");
        failed.extend(denied.map(|decision| of(text(&decision["evaluation"]), text(&decision["reason"]), &decision["message"])));
        let annotations = list(&evaluation["audit_annotations"]).flat_map(|all| all.as_array().unwrap()).filter(|one| one["action"] == "error");
        failed.extend(annotations.map(|one| of("error", "", &one["error"])));
    }
    failed
}

fn decisions_of(outcome: &Outcome) -> Vec<Failed> {
    let judged = outcome.decisions.iter().filter(|decision| decision.evaluation != Evaluation::Configuration);
    judged
        .map(|decision| {
            let evaluated = if decision.evaluation == Evaluation::Deny { "deny" } else { "error" };
            (decision.policy.clone(), evaluated.to_owned(), decision.reason.clone(), decision.message.clone())
        })
        .collect()
}

fn resource(value: &Value) -> Resource<'_> {
    Resource { group: text(&value["group"]), version: text(&value["version"]), resource: text(&value["resource"]) }
}

fn kind(value: &Value) -> Kind<'_> {
    Kind { group: text(&value["group"]), version: text(&value["version"]), kind: text(&value["kind"]) }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(value).filter(|value| !value.is_null())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    text(value).to_owned()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}
