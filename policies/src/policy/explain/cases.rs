//! Cases of explanations: which part is named, and which values.

use serde_json::{Value as Json, json};

use super::parts::{Part, Source};
use crate::policy::compile::{Policy, Programs};
use crate::policy::explain::{Explanation, explain};
use crate::policy::language::{Inputs, Language};
use crate::policy::spec::PolicySpec;

fn explained(expression: &str, object: &Json) -> Explanation {
    let spec: PolicySpec = serde_json::from_value(json!({
        "variables": [{"name": "containers", "expression": "object.spec.containers"}],
        "validations": [{"expression": expression}],
    }))
    .unwrap();
    let (policy, faults) = Policy::compile("p", spec, &mut Programs::new(Language::default()), None);
    assert_eq!(faults, [], "{expression}");
    let null = Json::Null;
    let request = json!({"operation": "UPDATE", "userInfo": {"username": "alice"}});
    let inputs = Inputs { object, old_object: &null, params: None, request: &request, namespace: &null, authorizer: None, deadline: &|| false };
    explain(&policy.validations[0], &policy, inputs).unwrap()
}

/// The part at fault, and `what=value` of what it saw.
fn check(expression: &str, part: &str, seen: &[&str]) {
    let object = json!({"spec": {"replicas": 9, "paused": false, "host": {"a.b": "x"}, "containers": [
        {"name": "app", "image": "registry.example/app:1", "ports": [{"containerPort": 80}]},
        {"name": "side", "image": "elsewhere.example/side:latest", "ports": [{"containerPort": 443}, {"containerPort": 22}]}]}});
    let explanation = explained(expression, &object);
    let got: Vec<String> = explanation.seen.iter().map(|one| format!("{}={}", one.what, one.value)).collect();
    assert_eq!((explanation.expression.as_str(), got.iter().map(String::as_str).collect::<Vec<_>>()), (part, seen.to_vec()), "{expression}");
}

#[test]
fn the_part_at_fault_and_its_values_are_named() {
    check("object.spec.replicas <= 5", "object.spec.replicas <= 5", &["object.spec.replicas=9"]);
    check("has(object.spec.replicas) && (object.spec.replicas > 1 && object.spec.replicas <= 5)", "object.spec.replicas <= 5", &["object.spec.replicas=9"]);
    check(
        "object.spec.paused || object.spec.replicas < 3",
        "object.spec.paused || object.spec.replicas < 3",
        &["object.spec.paused=false", "object.spec.replicas=9"],
    );
    check(
        "object.spec.paused ? true : object.spec.replicas in [1, 2]",
        "object.spec.replicas in [1, 2]",
        &["object.spec.replicas=9", "object.spec.paused=false"],
    );
    check("object.spec.host['a.b'] == 'y'", "object.spec.host['a.b'] == 'y'", &["object.spec.host['a.b']=\"x\""]);
    check("object.?spec.?absent.orValue(0) > 1", "object.?spec.?absent.orValue(0) > 1", &["object.?spec.?absent=optional.none()"]);
    check("request.userInfo.username != 'alice'", "request.userInfo.username != 'alice'", &["request.userInfo.username=\"alice\""]);
    check("object.spec.absent == 1", "object.spec.absent == 1", &["object.spec.absent=not there (no such key: absent)"]);
    check("1 == 2", "1 == 2", &[]);
}

#[test]
fn the_first_element_that_breaks_all_is_named() {
    let side = "c={\"name\": \"side\", \"image\": \"elsewhere.example/side:latest\", \"ports\": [{\"containerPort\": 443}, {\"containerPort\": 22}]}";
    check(
        "object.spec.containers.all(c, c.name != '' && c.image.startsWith('registry.example/'))",
        "c.image.startsWith('registry.example/')",
        &["c.image=\"elsewhere.example/side:latest\"", side],
    );
    check(
        "variables.containers.all(c, c.ports.all(p, p.containerPort > 1024 || p.containerPort in [80, 443]))",
        "p.containerPort > 1024 || p.containerPort in [80, 443]",
        &["p.containerPort=22", "p={\"containerPort\": 22}", side],
    );
    check(
        "!object.spec.containers.exists(c, c.name == 'side')",
        "!object.spec.containers.exists(c, c.name == 'side')",
        &[
            "object.spec.containers=[{\"name\": \"app\", \"image\": \"registry.example/app:1\", \"ports\": [{\"containerPort\": 80}]}, {\"name\": \"side\", \"image\": \"elsewhere.example/side:latest\", \"ports\": [{\"containerPort\": 443}, {\"containerPort\": 22}]}]",
        ],
    );
}

#[test]
fn explanations_are_bounded() {
    let object = json!({"spec": {"replicas": "x".repeat(100_000), "containers": []}});
    let explanation = explained(&format!("object.spec.replicas == ''{}", " || object.spec.replicas == 'y'".repeat(100)), &object);
    assert!(explanation.seen[0].value.len() <= 256 && explanation.would_pass().len() < 2048, "{explanation:?}");
}

#[test]
fn sources_are_taken_apart_at_the_top_level() {
    let part = |text| Source::read(text).unwrap().part();
    assert_eq!(part("(a && b)"), Part::Parentheses("a && b"));
    assert_eq!(part("(a) && (b || c) && '&&' == d"), Part::And(vec!["(a)", "(b || c)", "'&&' == d"]));
    assert_eq!(part("a ? b : c ? d : e"), Part::Conditional { condition: "a", then: "b", otherwise: "c ? d : e" });
    assert_eq!(part("a ? b ? c : d : e"), Part::Conditional { condition: "a", then: "b ? c : d", otherwise: "e" });
    assert_eq!(part("a.?b[?0].all(x, x > 1)"), Part::All { range: "a.?b[?0]", variable: "x", body: "x > 1" });
    for other in ["a || b && c", "a.all(x, y, z)", "a.all(x, x) == b", "!a.all(x, x)", "a.all(x, x).b", "f(a, b)", ""] {
        assert_eq!(part(other), Part::Other, "{other}");
    }
    let paths = |text| Source::read(text).unwrap().paths(["c"].into_iter());
    assert_eq!(paths("object.a.b + c.d.size() + x.object.c + object + c"), ["object.a.b", "c.d", "c"]);
}

/// What is shown of `object` for an expression that is not true.
fn shown(expression: &str, object: &Json) -> String {
    explained(expression, object).seen.iter().map(|one| format!("{}={}", one.what, one.value)).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_is_secret_is_never_shown() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "db", "annotations": {"a": "hunter2"}},
        "data": {"password": "hunter2"}, "stringData": {"a": "hunter2"}, "spec": {"containers": []}});
    for expression in [
        "object.data.password == ''",
        "object.data['password'] == ''",
        "object.?data.?password.orValue('') == ''",
        "object.stringData.size() == 0",
        "object.metadata.annotations == {}",
        "object.data.all(key, object.data[key] == '')",
        "object.data.map(key, object.data[key]).all(value, value == '')",
        "[object].all(whole, whole.data == {})",
    ] {
        let text = shown(expression, &secret);
        assert!(text.contains("(masked)") && !text.contains("hunter2"), "{expression}: {text}");
    }
    assert_eq!(shown("object.type != 'Opaque' || object.metadata.name == 'x'", &secret), "object.type=\"Opaque\"; object.metadata.name=\"db\"");

    let pod = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "a": "b"}}, "spec": {"containers": [
        {"name": "app", "env": [{"name": "MODE", "value": "fast"}, {"name": "DB_PASSWORD", "value": "hunter2"}]}]}});
    for expression in [
        "variables.containers[0].env[1].value == ''",
        "object.spec.containers[0].env.size() == 0",
        "object.spec.containers.all(c, c.env.all(e, e.value == 'fast'))",
        "object.spec.containers == []",
        "object.metadata.annotations == {}",
        "object.metadata.annotations['kubectl.kubernetes.io/last-applied-configuration'] == ''",
    ] {
        let text = shown(expression, &pod);
        assert!(text.contains("(masked)") && !text.contains("hunter2"), "{expression}: {text}");
    }
    assert_eq!(shown("object.spec.containers[0].env[0].value == ''", &pod), "object.spec.containers[0].env[0].value=\"fast\"");
}
