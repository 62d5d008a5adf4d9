//! Cases of problems: how bad, where, and what was perhaps meant.

use serde_json::{Value, json};

use super::*;

/// What a server describes, cut down to what is read; it covers what the library and the documentation speak of.
const OPENAPI: &str = include_str!("../../tests/data/openapi.json");

fn schemas() -> Schemas {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let document = Arc::new(document);
    let mut schemas = Schemas::default();
    for group_version in document["groupVersions"].as_array().unwrap() {
        schemas.add_lean(group_version.as_str().unwrap(), Arc::clone(&document)).unwrap();
    }
    schemas
}

fn spec(resources: Value, rest: Value) -> PolicySpec {
    let mut spec =
        json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["apps", ""], "apiVersions": ["v1"], "resources": resources, "operations": ["*"]}]}});
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn found(resources: Value, rest: Value) -> Vec<String> {
    problems(&spec(resources, rest), &schemas())
        .iter()
        .map(|problem| format!("{:?} {problem}", problem.severity))
        .filter(|text| !text.contains("describes no"))
        .collect()
}

fn of(expression: &str) -> Vec<String> {
    found(json!(["deployments"]), json!({"validations": [{"expression": expression}]}))
}

#[test]
fn an_unknown_field_is_named_with_its_object_and_what_was_meant() {
    let place = "spec.validations[0].expression";
    let kind = "(apps/v1, Kind=Deployment)";
    assert_eq!(of("object.spec.replica < 5"), [format!("Error {place}:1:12: no field `replica` in Deployment.spec; did you mean `replicas`? {kind}")]);
    assert_eq!(of("object.replicas < 5"), [format!("Error {place}:1:7: no field `replicas` in Deployment; did you mean `spec.replicas`? {kind}")]);
    assert_eq!(
        of("object.spec.template.spec.containers.all(c,\n  c.imag != '')"),
        [format!("Error {place}:2:4: no field `imag` in Deployment.spec.template.spec.containers[]; did you mean `image`? {kind}")]
    );
    assert_eq!(of("has(object.spec.pausd)"), [format!("Error {place}:1:4: no field `pausd` in Deployment.spec; did you mean `paused`? {kind}")]);
}

#[test]
fn what_is_right_when_it_is_evaluated_is_no_error() {
    for expression in [
        "object.spec.template.spec.containers.all(c, quantity(c.resources.requests['cpu']).isLessThan(quantity('2')))",
        "(object.spec.template.spec.containers + object.spec.template.spec.initContainers).all(c, c.image != '')",
        "object.spec.?strategy.orValue({}) == {}",
        "object.metadata[?'labels'].orValue({}) != oldObject.metadata[?'labels'].orValue({})",
        "object.metadata.creationTimestamp.startsWith('2026')",
        "authorizer.requestResource.check('get').allowed()",
        "[object.spec, object.metadata].size() == 2",
        "object.metadata.all(k, k != 'x')",
    ] {
        let found = of(expression);
        assert!(
            !found.is_empty() && found.iter().all(|text| text.starts_with("Note ") && text.contains("only the API server's type checker")),
            "{expression}: {found:?}"
        );
    }
}

#[test]
fn what_cannot_be_right_when_it_is_evaluated_is_an_error_of_variables_too() {
    for (rest, words) in [
        (
            json!({"variables": [{"name": "n", "expression": "object.spec.replica"}], "validations": [{"expression": "variables.n == 1"}]}),
            "spec.variables[0].expression:1:12: no field `replica`",
        ),
        (
            json!({"variables": [{"name": "s", "expression": "object.spec"}], "validations": [{"expression": "variables.s.replica == 1"}]}),
            "spec.validations[0].expression:1:12: no field `replica`",
        ),
        (
            json!({"matchConditions": [{"name": "a", "expression": "object.spec.replica == 1"}], "validations": [{"expression": "true"}]}),
            "spec.matchConditions[0].expression",
        ),
        (
            json!({"auditAnnotations": [{"key": "a", "valueExpression": "object.metadata.nam + ''"}]}),
            "spec.auditAnnotations[0].valueExpression:1:16: no field `nam`",
        ),
        (json!({"validations": [{"expression": "true", "messageExpression": "object.metadata.nam + ''"}]}), "spec.validations[0].messageExpression:1:16"),
        (json!({"validations": [{"expression": "true", "messageExpression": "object.spec.replicas"}]}), "must evaluate to string but got int"),
        (json!({"validations": [{"expression": "object.spec.replicas"}]}), "must evaluate to bool but got int"),
        (json!({"validations": [{"expression": "object.spec.paused"}]}), "must evaluate to bool but got bool; did you mean `(object.spec.paused) == true`?"),
    ] {
        let found = found(json!(["deployments"]), rest.clone());
        assert!(found.iter().any(|text| text.starts_with("Error ") && text.contains(words)), "{rest}: {found:?}");
    }
}

#[test]
fn a_field_that_only_some_kinds_have_is_no_error() {
    let telling = "has(object.spec.template) ? object.spec.template.spec : object.spec";
    let variables = json!({"variables": [{"name": "pod", "expression": telling}], "validations": [{"expression": "variables.pod.containers.size() > 0"}]});
    let of_both = found(json!(["pods", "deployments"]), variables);
    assert!(!of_both.is_empty() && of_both.iter().all(|text| text.starts_with("Note ")), "{of_both:?}");
    let validation = json!({"validations": [{"expression": "has(object.spec.template)"}]});
    let of_both = found(json!(["pods", "deployments"]), validation);
    assert_eq!(of_both, ["Warning spec.validations[0].expression:1:4: no field `template` in Pod.spec (/v1, Kind=Pod)"]);
    // What no kind has is an error; not where others may be met, which nobody describes.
    let nobody = json!({"validations": [{"expression": "has(object.spec.nothing)"}]});
    assert!(found(json!(["pods", "deployments"]), nobody.clone()).iter().all(|text| text.starts_with("Error ")));
    assert!(found(json!(["pods", "deployments/scale"]), nobody).iter().all(|text| text.starts_with("Warning ")));
}

#[test]
fn facts_have_types_without_a_server() {
    let reads = |expression: &str| {
        let spec = json!({"paramKind": {"apiVersion": "assent.dev/v1alpha1", "kind": "Facts"}, "validations": [{"expression": expression}]});
        found(json!(["deployments"]), spec)
    };
    assert_eq!(
        reads("params.workload.replicas > 1 && timestamp(params.now) > timestamp('2026-01-01T00:00:00Z') && params.budgets.all(b, b.disruptionsAllowed > 0)"),
        Vec::<String>::new()
    );
    assert_eq!(
        reads("params.workload.replica > 1"),
        ["Error spec.validations[0].expression:1:16: no field `replica` in Facts.workload; did you mean `replicas`? (apps/v1, Kind=Deployment)"]
    );
}

#[test]
fn what_is_not_described_is_checked_without_types_and_said() {
    let spec = json!({"paramKind": {"apiVersion": "example.org/v1", "kind": "Gadget"}, "validations": [{"expression": "object.spec.x == params.spec.y"}]});
    let all = problems(&self::spec(json!(["gadgets"]), spec), &Schemas::default());
    assert!(all.iter().all(|problem| problem.severity == Severity::Warning), "{all:?}");
    assert!(all.iter().any(|problem| problem.message.contains("`gadgets.v1.apps`")), "{all:?}");
    assert!(all.iter().any(|problem| problem.message.contains("params are checked without types")), "{all:?}");
}
