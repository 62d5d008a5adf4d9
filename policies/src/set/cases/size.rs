//! Many policies and bindings: shared programs, and an index that makes a thousand disjoint bindings cost like one.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn the_same_source_is_one_program() {
    let policies: Vec<(String, Value)> = (0..50).map(|number| (format!("p{number}"), policy(json!({})))).collect();
    let set = Set::new(policies, Vec::new());
    assert_eq!(set.programs(), 1);
    let with_variable = policy(
        json!({"variables": [{"name": "a", "expression": "1"}], "validations": [{"expression": "object.spec.replicas <= 5"}, {"expression": "variables.a == 1"}]}),
    );
    let set = Set::new(named(&[("p", policy(json!({}))), ("q", with_variable)]), Vec::new());
    assert_eq!(set.programs(), 3);
}

/// The median time of an evaluation.
fn median(set: &Set) -> Duration {
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(ask(set, 9, |_| {}).decisions.len(), 1);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn bound(count: u32, select: impl Fn(u32) -> Value) -> Set {
    let bindings = (0..count).map(|number| (format!("b{number:04}"), binding("p", json!({"matchResources": select(number)})))).collect();
    Set::new(named(&[("p", policy(json!({})))]), bindings)
}

#[test]
fn a_thousand_disjoint_bindings_cost_like_one() {
    let letter = |number: u32| if number == 0 { "a".to_owned() } else { format!("a{number}") };
    type Select = fn(String, u32) -> Value;
    let selectors: [(&str, Select); 4] = [
        ("namespace", |value, _| json!({"namespaceSelector": {"matchLabels": {"team": value}}})),
        ("object", |value, number| json!({"objectSelector": {"matchLabels": {"a.b/c": if number == 0 { "x".to_owned() } else { value }}}})),
        ("resource", |value, number| {
            let resource = if number == 0 { "deployments".to_owned() } else { value };
            json!({"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": [resource]}]})
        }),
        ("name", |value, number| {
            let name = if number == 0 { "orders".to_owned() } else { value };
            json!({"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"], "resourceNames": [name]}]})
        }),
    ];
    for (kind, select) in selectors {
        let (one, many) = (median(&bound(1, |n| select(letter(n), n))), median(&bound(1024, |n| select(letter(n), n))));
        assert!(many <= one * 3 + Duration::from_micros(50), "{kind}: {many:?} for 1,024 bindings, {one:?} for one");
    }
    // Policies of their own, too.
    let policies = |count: u32| {
        let specs: Vec<(String, Value)> = (0..count).map(|number| (format!("p{number}"), policy(json!({})))).collect();
        let bindings = (0..count)
            .map(|n| (format!("b{n}"), binding(&format!("p{n}"), json!({"matchResources": {"namespaceSelector": {"matchLabels": {"team": letter(n)}}}}))))
            .collect();
        Set::new(specs, bindings)
    };
    let (one, many) = (median(&policies(1)), median(&policies(1024)));
    assert!(many <= one * 3 + Duration::from_micros(50), "policies: {many:?} for 1,024, {one:?} for one");
}
