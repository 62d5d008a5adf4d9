//! Cases of the expansion: what is rewritten, what stays, and what is left rather than guessed.

use serde_json::json;

use super::*;

#[test]
fn expressions_speak_of_the_template() {
    let check = |source: &str, want: &str| assert_eq!(rewrite(source, "spec.template").as_deref(), Ok(want));
    check("object.spec.hostNetwork == false", "object.spec.template.spec.hostNetwork == false");
    check("object.?spec.containers.all(c, c.image != '')", "object.spec.template.?spec.containers.all(c, c.image != '')");
    check("object['spec'].x", "object.spec.template['spec'].x");
    check("object[?\"metadata\"].?labels", "object.spec.template[?\"metadata\"].?labels");
    check("has(object.metadata.labels) && has(oldObject.spec.x)", "has(object.spec.template.metadata.labels) && has(oldObject.spec.template.spec.x)");
    check("object.metadata.namespace == 'a' || object . spec.a", "object.metadata.namespace == 'a' || object.spec.template . spec.a");
    check("oldObject == null || object.spec.a == 1 // object.kind", "oldObject == null || object.spec.template.spec.a == 1 // object.kind");
    check("'object.kind' + r\"object\\\" + variables.object.kind", "'object.kind' + r\"object\\\" + variables.object.kind");
    check("request.operation == 'CREATE'", "request.operation == 'CREATE'");
    check("'it\\'s object' == object.spec.a", "'it\\'s object' == object.spec.template.spec.a");
    check("'''object's''' == object.spec.a", "'''object's''' == object.spec.template.spec.a");
}

#[test]
fn what_a_template_has_not_is_not_guessed() {
    let check = |source: &str, why: &str| {
        let refused = rewrite(source, "spec.template").unwrap_err();
        assert!(refused.contains(why), "{source}: {refused}");
    };
    check("object.kind == 'Pod'", "object.kind");
    check("object.metadata.name.startsWith('a')", "metadata.name");
    check("object.?metadata.?ownerReferences.hasValue()", "metadata.ownerReferences");
    check("object.status.phase == 'Running'", "object.status");
    check("[object].size() == 1", "the whole object");
    check("object == oldObject", "the whole object");
    check("object[variables.x] == 1", "the whole object");
    check("object.metadata == oldObject.metadata", "all metadata");
    check("request.kind.kind == 'Pod'", "request.kind");
    check("'object.spec", "cannot be read");
}

fn pods(extra: serde_json::Value) -> PolicySpec {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods", "pods/ephemeralcontainers"]}]},
        "variables": [{"name": "all", "expression": "object.spec.containers"}],
        "validations": [{"expression": "variables.all.all(c, has(c.image))", "messageExpression": "string(object.spec.containers.size())"}],
    });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_policy_for_pods_becomes_one_for_each_template() {
    let binding = BindingSpec { policy_name: "p".into(), ..BindingSpec::default() };
    let expansion = expand(&[("p".into(), pods(json!({})))], &[("b".into(), binding)]);
    assert_eq!(expansion.left, []);
    let names: Vec<&str> = expansion.policies.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["p-workloads", "p-cronjobs"]);
    let (_, workloads) = &expansion.policies[0];
    assert_eq!(workloads.variables[0].expression, "object.spec.template.spec.containers");
    assert_eq!(workloads.validations[0].message_expression.as_deref(), Some("string(object.spec.template.spec.containers.size())"));
    let rules = &workloads.match_constraints.as_ref().unwrap().resource_rules;
    let covered: Vec<(&str, usize)> = rules.iter().map(|rule| (rule.api_groups[0].as_str(), rule.resources.len())).collect();
    assert_eq!(covered, [("apps", 4), ("batch", 1), ("", 1)]);
    assert_eq!(rules[0].operations, [Operation::Create, Operation::Update]);
    assert_eq!(expansion.policies[1].1.variables[0].expression, "object.spec.jobTemplate.spec.template.spec.containers");
    assert_eq!(expansion.bindings[0], ("b-workloads".into(), BindingSpec { policy_name: "p-workloads".into(), ..BindingSpec::default() }));
    assert_eq!(expansion.bindings.len(), 2);
}

#[test]
fn what_cannot_be_expanded_is_named_and_the_rest_passed_over() {
    let selected = pods(json!({"matchConstraints": {
        "objectSelector": {"matchLabels": {"a": "b"}},
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}}));
    let removed = pods(json!({"matchConstraints": {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["pods"]}]}}));
    let named = pods(json!({"validations": [{"expression": "object.metadata.name != ''"}]}));
    let own_rules = BindingSpec {
        policy_name: "fine".into(),
        match_resources: Some(MatchResources { resource_rules: vec![ResourceRule::default()], ..MatchResources::default() }),
        ..BindingSpec::default()
    };
    let policies = [("selected".into(), selected), ("removed".into(), removed), ("named".into(), named), ("fine".into(), pods(json!({})))];
    let expansion = expand(&policies, &[("own-rules".into(), own_rules)]);
    let left: Vec<&str> = expansion.left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["selected", "named", "own-rules"]);
    assert_eq!((expansion.policies.len(), expansion.bindings.len()), (2, 0));
}
