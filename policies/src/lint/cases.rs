//! Cases of the coverage lint: each way around is found, and is none once some policy of the set covers it.

use serde_json::{Value, json};

use super::*;

fn rule(groups: &[&str], resources: &[&str], operations: &[&str]) -> Value {
    json!({"apiGroups": groups, "apiVersions": ["v1"], "operations": operations, "resources": resources})
}

fn codes(policies: &[Value]) -> Vec<String> {
    let named: Vec<(String, PolicySpec)> = policies
        .iter()
        .enumerate()
        .map(|(index, rules)| {
            let spec = json!({"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}]});
            (format!("p{index}"), serde_json::from_value(spec).unwrap())
        })
        .collect();
    let bindings: Vec<(String, BindingSpec)> = named.iter().map(|(name, _)| (name.clone(), deny(name))).collect();
    let mut codes: Vec<String> = gaps(&named, &bindings).into_iter().map(|gap| format!("{}:{}", gap.name, gap.code)).collect();
    codes.dedup();
    codes
}

fn deny(policy: &str) -> BindingSpec {
    BindingSpec { policy_name: policy.into(), validation_actions: vec![ValidationAction::Deny], ..BindingSpec::default() }
}

#[test]
fn every_way_around_is_found() {
    let check = |rules: Value, want: &[&str]| assert_eq!(codes(std::slice::from_ref(&rules)), want, "{rules}");
    check(json!([rule(&[""], &["pods"], &["CREATE"])]), &["p0:ephemeralcontainers", "p0:resize", "p0:create-only", "p0:controllers"]);
    check(json!([rule(&[""], &["pods"], &["DELETE"])]), &["p0:eviction"]);
    check(json!([rule(&[""], &["pods"], &["CONNECT"])]), &["p0:connect"]);
    check(json!([rule(&["apps"], &["deployments"], &["UPDATE"])]), &["p0:scale", "p0:status"]);
    check(json!([rule(&["apps"], &["deployments/scale"], &["UPDATE"])]), &[]);
    check(json!([rule(&["apps"], &["deployments", "deployments/*"], &["UPDATE"])]), &[]);
    check(json!([rule(&["apps"], &["deployments"], &["CREATE", "UPDATE"])]), &["p0:scale", "p0:status", "p0:controllers"]);
    check(json!([rule(&["*"], &["*/*"], &["*"])]), &[]);
    check(json!([rule(&["example.com"], &["widgets"], &["CREATE"])]), &["p0:create-only"]);
}

#[test]
fn another_policy_of_the_set_may_cover_it() {
    let workload = json!([rule(&["apps"], &["deployments"], &["UPDATE"])]);
    let scale = json!([rule(&["apps"], &["deployments/scale", "deployments/status"], &["UPDATE"])]);
    assert_eq!(codes(&[workload, scale]), Vec::<String>::new());
}

#[test]
fn what_has_no_effect_or_fails_open_is_said() {
    let spec: PolicySpec = serde_json::from_value(json!({
        "failurePolicy": "Ignore",
        "matchConstraints": {"matchPolicy": "Exact", "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"], "resourceNames": ["one"]}]},
        "validations": [{"expression": "object.image.startsWith('registry.example')"}, {"expression": "object.image.startsWith('registry.example/')"}],
    }))
    .unwrap();
    let policies = [("p".to_owned(), spec)];
    let codes = |bindings: &[(String, BindingSpec)]| gaps(&policies, bindings).into_iter().map(|gap| gap.code).collect::<Vec<_>>();
    let stays = ["ignores-errors", "generated-names", "exact-versions", "image-prefix"];
    assert_eq!(codes(&[]), [&["unbound"][..], &stays[..]].concat());
    let warn = BindingSpec { validation_actions: vec![ValidationAction::Warn], ..deny("p") };
    assert_eq!(codes(&[("b".into(), warn), ("c".into(), deny("other"))]), [&["not-enforced"][..], &stays[..], &["no-policy"][..]].concat());
    assert_eq!(codes(&[("b".into(), deny("p"))]), stays);
}

#[test]
fn coverage_names_the_policies_that_see_a_write() {
    let spec = |resources: &[&str]| -> PolicySpec {
        serde_json::from_value(json!({"matchConstraints": {"resourceRules": [rule(&["apps"], resources, &["UPDATE"])]}})).unwrap()
    };
    let policies = [("a".to_owned(), spec(&["deployments/scale"])), ("b".to_owned(), spec(&["*/*"])), ("unbound".to_owned(), spec(&["*/*"]))];
    let bindings = [("a".to_owned(), deny("a")), ("b".to_owned(), deny("b"))];
    let scale = Write { group: "apps", version: "v1", resource: "deployments", subresource: "scale", operation: Operation::Update, namespaced: true };
    assert_eq!(coverage(&policies, &bindings, scale), ["a", "b"]);
    assert_eq!(coverage(&policies, &bindings, Write { subresource: "", ..scale }), ["b"]);
    assert!(coverage(&policies, &bindings, Write { operation: Operation::Create, ..scale }).is_empty());
}
