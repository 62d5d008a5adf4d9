//! Cases of the shape: bounds hold, absent is absent, unknown is refused, and the strictest exemption counts.

use serde_json::json;

use super::*;

fn facts() -> Facts {
    let action = ActionFact { name: "ScaleWorkload".into(), risk: "low".into(), reversible: true, changes: vec!["/spec/replicas".into()], restores: None };
    let text = |text: &str| text.to_owned();
    let target =
        TargetFact { api_version: text("apps/v1"), kind: text("Deployment"), namespace: text("shop"), name: text("orders"), uid: text("u"), deleting: false };
    Facts::new("2026-11-27T10:00:00Z".into(), "i".into(), action, target)
}

fn source(name: &str, guardrail: &str, target: &str, expires_ms: i64) -> ExemptionSource {
    let exemption =
        Exemption { name: name.into(), guardrail: guardrail.into(), owner: "jane@example.com".into(), reason: "migration".into(), expires: String::new() };
    ExemptionSource { exemption, expires_ms, kind: "Deployment".into(), namespace: "shop".into(), target: target.into() }
}

#[test]
fn what_is_absent_is_no_field_and_lists_are_always_there() {
    let params = facts().params().unwrap();
    for absent in ["workload", "pod", "node", "nodes", "blueprint", "namespace"] {
        assert_eq!(params.get(absent), None, "{absent}");
    }
    for list in ["budgets", "autoscalers", "services", "quotas", "gitops", "remediations", "freezes", "approvals", "exemptions"] {
        assert_eq!(params.get(list), Some(&json!([])), "{list}");
    }
    assert_eq!(params.pointer("/metadata/name"), Some(&json!("current")));
    assert_eq!(serde_json::from_value::<Facts>(params).unwrap(), facts());
}

#[test]
fn a_list_beyond_its_bound_is_no_facts_rather_than_a_shorter_list() {
    let mut facts = facts();
    let quota = Quota { name: "q".into(), resource: "pods".into(), pods_left: 1 };
    facts.quotas = vec![quota.clone(); MAX_OF_TARGET];
    assert!(facts.params().is_ok());
    facts.quotas.push(quota);
    let error = facts.params().unwrap_err();
    assert_eq!(error.to_string(), "65 quotas are more than the 64 that facts hold");
}

#[test]
fn unknown_fields_are_refused() {
    let mut params = facts().params().unwrap();
    params["target"]["labels"] = json!({});
    assert!(serde_json::from_value::<Facts>(params).unwrap_err().to_string().contains("labels"));
}

#[test]
fn the_schema_names_every_field_with_its_words() {
    let schema = Facts::schema();
    let properties = schema["properties"].as_object().unwrap();
    assert!(properties.len() >= 20, "{}", properties.len());
    for (name, property) in properties {
        assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
}

#[test]
fn an_exemption_speaks_of_one_object_and_ends() {
    let all = [source("a", "scale-step", "orders", 100), source("b", "scale-step", "orders-2", 100), source("c", "freeze-window", "orders", 50)];
    let names = |now| exemptions(&all, "Deployment", "shop", "orders", now).into_iter().map(|e| e.name).collect::<Vec<_>>();
    assert_eq!(names(49), ["c", "a"]);
    assert_eq!(names(50), ["a"], "its end is no longer in it");
    assert_eq!(names(100), [""; 0]);
    assert!(exemptions(&all, "StatefulSet", "shop", "orders", 0).is_empty());
    assert!(exemptions(&all, "Deployment", "", "orders", 0).is_empty());
    assert!(exemptions(&[source("d", "scale-step", "*", 100)], "Deployment", "shop", "orders", 0).is_empty(), "names are not patterns");
}

#[test]
fn a_second_exemption_never_prolongs_the_first() {
    let all = [source("long", "scale-step", "orders", 900), source("short", "scale-step", "orders", 100)];
    let names = |now| exemptions(&all, "Deployment", "shop", "orders", now).into_iter().map(|e| e.name).collect::<Vec<_>>();
    assert_eq!(names(0), ["short"]);
    assert_eq!(names(100), [""; 0], "the strictest is over, so none holds");
}
