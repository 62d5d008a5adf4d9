//! What stays in force when something no longer loads, and what denies when it never did.

use super::*;

#[test]
fn what_never_loaded_denies_within_its_readable_scope() {
    let unknown_field = policy(json!({"madeUp": 1}));
    let set = one(unknown_field.clone(), binding("p", json!({})));
    assert_eq!(set.broken().count(), 1);
    assert!(denied(&set, 1).unwrap().contains("failed to configure policy: the spec cannot be read"));
    let elsewhere = ask(&set, 1, |request| request.resource.resource = "statefulsets");
    assert!(elsewhere.allowed(), "its constraints can be read, and do not speak of this");
    let mut ignoring = unknown_field;
    ignoring["failurePolicy"] = json!("Ignore");
    assert_eq!(denied(&one(ignoring, binding("p", json!({}))), 9), None);
    for spec in [json!("text"), json!({"matchConstraints": 1}), json!({"validations": [{"expression": "true"}]})] {
        assert!(denied(&one(spec.clone(), binding("p", json!({}))), 1).unwrap().contains("failed to configure policy"), "{spec}");
    }
}

#[test]
fn an_expression_that_does_not_compile_is_an_error_in_its_place() {
    let broken = |failure: &str| policy(json!({"failurePolicy": failure, "validations": [{"expression": "1 +"}, {"expression": "object.spec.replicas < 4"}]}));
    let set = one(broken("Fail"), binding("p", json!({})));
    assert_eq!(set.broken().map(|problem| problem.place.as_str()).collect::<Vec<_>>(), ["validations[0].expression"]);
    assert!(denied(&set, 1).unwrap().starts_with("compilation error: "));
    let set = one(broken("Ignore"), binding("p", json!({})));
    assert_eq!(denied(&set, 1), None);
    assert_eq!(denied(&set, 4).unwrap(), "failed expression: object.spec.replicas < 4");
}

#[test]
fn the_last_good_version_stays_in_force() {
    let good = named(&[("p", policy(json!({})))]);
    let bindings = named(&[("b", binding("p", json!({})))]);
    let first = Set::new(good.clone(), bindings.clone());
    for broken in [policy(json!({"validations": [{"expression": "1 +"}]})), policy(json!({"madeUp": 1})), json!(null)] {
        let second = first.updated(named(&[("p", broken.clone())]), bindings.clone());
        assert!(second.broken().all(|problem| problem.kept), "{broken}");
        assert_eq!(second.broken().count(), 1, "{broken}");
        assert_eq!(denied(&second, 9).unwrap(), "failed expression: object.spec.replicas <= 5");
        assert_eq!(denied(&second, 5), None);
        // It is kept however often nothing changes, its digest is its own, and what is removed is gone.
        let third = second.updated(named(&[("p", broken.clone())]), bindings.clone());
        assert_eq!((denied(&third, 5), third.digest()), (None, second.digest()));
        assert_ne!(second.digest(), Set::new(named(&[("p", broken.clone())]), bindings.clone()).digest());
        assert_eq!(denied(&third.updated(Vec::new(), bindings.clone()), 9), None);
        assert!(denied(&third.updated(Vec::new(), Vec::new()).updated(named(&[("p", broken)]), bindings.clone()), 5).is_some());
    }
    let mended = first.updated(named(&[("p", policy(json!({"validations": [{"expression": "object.spec.replicas <= 2"}]})))]), bindings);
    assert!(denied(&mended, 3).is_some());
    assert_eq!(first.updated(good, named(&[("b", binding("p", json!({})))])).digest(), first.digest());
}

#[test]
fn a_binding_that_cannot_be_read_denies_or_stays_as_it_was() {
    let policies = || named(&[("p", policy(json!({})))]);
    let broken = json!({"policyName": "p", "validationActions": ["Shout"]});
    let set = Set::new(policies(), named(&[("b", broken.clone())]));
    assert!(denied(&set, 1).unwrap().starts_with("failed to configure binding: the spec cannot be read"));
    let elsewhere = ask(&set, 1, |request| request.resource.resource = "statefulsets");
    assert!(elsewhere.allowed());
    let nameless = Set::new(policies(), named(&[("b", json!(7))]));
    assert!(!ask(&nameless, 1, |request| request.resource.resource = "statefulsets").allowed());
    let kept = Set::new(policies(), named(&[("b", binding("p", json!({})))])).updated(policies(), named(&[("b", broken)]));
    assert_eq!((denied(&kept, 1), denied(&kept, 9).is_some()), (None, true));
}

#[test]
fn what_no_server_would_store_is_reported_and_judged_as_written() {
    let set =
        one(policy(json!({"validations": [{"expression": "object.spec.replicas < 4", "message": "a\nb"}]})), binding("p", json!({"validationActions": []})));
    assert_eq!(set.problems().len(), 2);
    assert_eq!(set.broken().count(), 0);
    assert_eq!(denied(&set, 4).unwrap(), "a\nb", "without an action it denies");
}

/// Every way to a value in `value`.
fn ways(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| ways(item, &format!("{at}/{index}"), found)),
        Value::Object(fields) => fields.iter().for_each(|(name, item)| ways(item, &format!("{at}/{}", name.replace('/', "~1")), found)),
        _ => {}
    }
}

#[test]
fn no_spec_brings_it_down_and_what_cannot_be_read_denies() {
    let good = policy(json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "c", "expression": "true"}],
        "variables": [{"name": "v", "expression": "object.spec.replicas"}],
        "validations": [{"expression": "variables.v < 100", "message": "m", "messageExpression": "string(variables.v)", "reason": "Invalid"}],
        "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
        "failurePolicy": "Fail",
    }));
    let bound = binding(
        "p",
        json!({
            "paramRef": {"name": "x", "namespace": "shop", "parameterNotFoundAction": "Allow"},
            "matchResources": {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}, "objectSelector": {"matchLabels": {"a.b/c": "x"}}},
        }),
    );
    let odd = [
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!("*"),
        json!(-1),
        json!(1.5),
        json!(true),
        json!([[]]),
        json!("x".repeat(70_000)),
        json!("((((("),
        json!("a/b/c"),
    ];
    let kind = ParamKind { api_version: "v1".into(), kind: "ConfigMap".into() };
    let mut table = ParamTable::default();
    table.know(kind.clone(), ParamScope::Namespaced);
    table.insert(&kind, json!({"metadata": {"namespace": "shop", "name": "x"}}));
    assert!(ask_with(&one(good.clone(), bound.clone()), 9, &table, |_| {}).allowed(), "as they are, both let it pass");
    let mut tried = 0;
    for (spec, is_policy) in [(&good, true), (&bound, false)] {
        let mut all = Vec::new();
        ways(spec, "", &mut all);
        for way in all {
            for value in &odd {
                let mut bad = spec.clone();
                *bad.pointer_mut(&way).unwrap() = value.clone();
                let set = if is_policy { one(bad, bound.clone()) } else { one(good.clone(), bad) };
                let outcome = ask_with(&set, 9, &table, |_| {});
                let unread = set.broken().any(|problem| problem.place == "spec");
                let own_scope = way.is_empty() || ["matchConstraints", "failurePolicy"].iter().all(|field| !way.contains(field));
                assert!(!unread || !own_scope || !outcome.allowed(), "{way} = {value:.80}: {:?}", set.problems());
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}
