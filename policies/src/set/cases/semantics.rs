//! Conditions, variables, params, Namespaces, versions, actions: what the API server does with each.

use super::*;

/// What becomes of an update to 9 replicas under one policy and binding: `""` when it passes, else the first denial's message.
fn check(policy: &Value, binding: &Value, want: &str) {
    let got = denied(&one(policy.clone(), binding.clone()), 9).unwrap_or_default();
    assert_eq!(got, want, "{policy} {binding}");
}

fn plain() -> Value {
    binding("p", json!({}))
}

#[test]
fn match_conditions_skip_err_or_go_on() {
    let with = |failure: &str, conditions: &[&str]| {
        let conditions: Vec<Value> = conditions.iter().enumerate().map(|(n, expression)| json!({"name": format!("c{n}"), "expression": expression})).collect();
        policy(json!({"failurePolicy": failure, "matchConditions": conditions, "validations": [{"expression": "false", "message": "no"}]}))
    };
    let absent = "object.spec.absent == 1";
    let error = "expression 'object.spec.absent == 1' resulted in error: no such key: absent";
    for failure in ["Fail", "Ignore"] {
        check(&with(failure, &["true", "request.userInfo.username == 'assent:executor'"]), &plain(), "no");
        check(&with(failure, &["true", "false"]), &plain(), "");
        check(&with(failure, &[absent, "false"]), &plain(), "");
    }
    check(&with("Fail", &["true", absent]), &plain(), error);
    check(&with("Ignore", &["true", absent]), &plain(), "");
    check(&with("Fail", &[absent, absent]), &plain(), error);
    let two = format!("[{error}, expression 'object.spec.missing == 1' resulted in error: no such key: missing]");
    check(&with("Fail", &[absent, "object.spec.missing == 1", absent]), &plain(), &two);
    check(&with("Fail", &["namespaceObject == null"]), &plain(), "no");
}

#[test]
fn errors_follow_the_failure_policy() {
    let with = |failure: Value, expression: &str| policy(json!({"failurePolicy": failure, "validations": [{"expression": expression}]}));
    let error = "expression 'object.spec.absent > 1' resulted in error: no such key: absent";
    check(&with(json!(null), "object.spec.absent > 1"), &plain(), error);
    check(&with(json!("Fail"), "object.spec.absent > 1"), &plain(), error);
    check(&with(json!("Ignore"), "object.spec.absent > 1"), &plain(), "");
    check(&with(json!("Ignore"), "object.spec.replicas > 10"), &plain(), "failed expression: object.spec.replicas > 10");
    check(&policy(json!({"matchConstraints": null})), &plain(), "failed to configure policy: policy contained no match constraints, a required field");
}

#[test]
fn variables_are_composed_in_order() {
    let with = |variables: Value, expression: &str| policy(json!({"variables": variables, "validations": [{"expression": expression}]}));
    let two = json!([{"name": "step", "expression": "object.spec.replicas - oldObject.spec.replicas"}, {"name": "twice", "expression": "variables.step * 2"}]);
    check(&with(two.clone(), "variables.twice == 12"), &plain(), "");
    check(&with(two, "variables.step <= 2"), &plain(), "failed expression: variables.step <= 2");
    let unused = json!([{"name": "bad", "expression": "object.spec.absent"}]);
    check(&with(unused, "true"), &plain(), "");
}

#[test]
fn params_come_from_the_binding() {
    let kind = ParamKind { api_version: "v1".into(), kind: "ConfigMap".into() };
    let spec = policy(json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{
        "expression": "params == null || object.spec.replicas <= int(params.data.max)", "messageExpression": "'more than ' + params.data.max"}]}));
    let mut table = ParamTable::default();
    table.know(kind.clone(), ParamScope::Namespaced);
    for (name, max) in [("five", "5"), ("seven", "7"), ("hundred", "100")] {
        table.insert(&kind, json!({"metadata": {"namespace": "shop", "name": name, "labels": {"max": max}}, "data": {"max": max}}));
    }
    let messages = |reference: Value| -> Vec<String> {
        let set = one(spec.clone(), binding("p", json!({"paramRef": reference})));
        let outcome = ask_with(&set, 9, &table, |_| {});
        outcome.decisions.iter().map(|decision| format!("{}: {}", decision.param.clone().unwrap_or_default(), decision.message)).collect()
    };
    assert_eq!(messages(json!({"name": "five", "parameterNotFoundAction": "Deny"})), ["shop/five: more than 5"]);
    assert_eq!(messages(json!({"selector": {}, "parameterNotFoundAction": "Deny"})), ["shop/five: more than 5", "shop/seven: more than 7"]);
    assert!(messages(json!({"name": "gone", "parameterNotFoundAction": "Allow"})).is_empty());
    assert_eq!(messages(json!({"name": "gone"})), [": failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"]);
    assert!(messages(json!(null)).is_empty(), "a binding without paramRef gives null");
    let unknown = denied(&one(spec.clone(), binding("p", json!({"paramRef": {"name": "five"}}))), 9).unwrap();
    assert_eq!(unknown, "failed to configure policy: failed to find resource referenced by paramKind: 'v1, Kind=ConfigMap'");
    let set = one(spec, binding("p", json!({"paramRef": {"name": "five"}})));
    assert_eq!(set.param_kinds().collect::<Vec<_>>(), [&kind]);
}

#[test]
fn actions_are_the_bindings() {
    let spec = policy(json!({"validations": [{"expression": "false", "message": "first"}, {"expression": "object.spec.absent == 1"}]}));
    let outcome = |actions: &[&str]| ask(&one(spec.clone(), binding("p", json!({"validationActions": actions}))), 9, |_| {});
    let warned = outcome(&["Warn"]);
    assert!(warned.allowed());
    assert_eq!(warned.warnings[0], "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': first");
    assert_eq!((warned.warnings.len(), warned.decisions.len()), (2, 2));
    let audited = outcome(&["Audit"]);
    assert!(audited.allowed() && audited.warnings.is_empty());
    let failures: Vec<Value> = serde_json::from_str(&audited.annotations[crate::FAILURES]).unwrap();
    assert_eq!(failures[0], json!({"message": "first", "policy": "p", "binding": "b", "expressionIndex": 0, "validationActions": ["Audit"]}));
    assert_eq!(failures[1]["expressionIndex"], 1);
    let both = outcome(&["Deny", "Audit"]);
    assert_eq!((both.denial().unwrap().message.as_str(), both.annotations.len()), ("first", 1));
    // What cannot be configured denies whatever the actions are.
    let spec = policy(json!({"matchConstraints": null}));
    assert!(!ask(&one(spec, binding("p", json!({"validationActions": ["Warn"]}))), 1, |_| {}).allowed());
}

#[test]
fn audit_annotations_are_published_joined_and_refuse_when_they_err() {
    let with = |expression: &str, failure: &str| {
        policy(json!({"failurePolicy": failure, "validations": [], "auditAnnotations": [{"key": "k", "valueExpression": expression}]}))
    };
    let outcome = |expression: &str, failure: &str| ask(&one(with(expression, failure), binding("p", json!({"validationActions": ["Audit"]}))), 9, |_| {});
    assert_eq!(outcome("'to ' + string(object.spec.replicas)", "Fail").annotations["p/k"], "to 9");
    assert!(outcome("object.spec.replicas > 20 ? 'many' : null", "Fail").annotations.is_empty());
    assert!(outcome("string(object.spec.absent)", "Ignore").allowed());
    let refused = outcome("string(object.spec.absent)", "Fail");
    assert_eq!(refused.denial().unwrap().message, "expression 'string(object.spec.absent)' resulted in error: no such key: absent");
}

#[test]
fn namespaces_are_given_missing_or_not_known() {
    let spec = policy(json!({"validations": [{"expression": "namespaceObject.metadata.labels.team == 'a'"}]}));
    let set = one(spec.clone(), plain());
    let with = |namespace: Namespace<'static>| ask(&set, 1, |request| request.namespace_object = namespace).denial().map(|denial| denial.message.clone());
    assert!(ask(&set, 1, |_| {}).allowed());
    assert_eq!(with(Namespace::Missing).unwrap(), "namespaces \"shop\" not found");
    assert_eq!(with(Namespace::NotGiven).unwrap(), "failed to configure binding: namespace \"shop\" is not known here");
    let mut ignoring = spec;
    ignoring["failurePolicy"] = json!("Ignore");
    let ignoring = one(ignoring, plain());
    assert!(ask(&ignoring, 1, |request| request.namespace_object = Namespace::NotGiven).allowed());
    assert!(!ask(&ignoring, 1, |request| request.namespace_object = Namespace::Missing).allowed(), "as upstream: no namespace, no request");
    let indifferent = one(policy(json!({})), plain());
    assert!(ask(&indifferent, 1, |request| request.namespace_object = Namespace::NotGiven).allowed());
    assert!(
        indifferent
            .needs(&Request { resource: DEPLOYMENTS, kind: DEPLOYMENT, operation: Operation::Update, namespace: "shop", ..Request::default() })
            .params
            .is_empty()
    );
}

#[test]
fn another_version_is_judged_as_the_one_a_rule_names() {
    let spec = policy(json!({"validations": [{"expression":
        "object.apiVersion == request.kind.version && request.resource.version == 'v1' && request.requestResource.version == 'v2' && request.requestKind.version == 'v2'"}]}));
    let set = one(spec, plain());
    let converted = json!({"apiVersion": "v1", "metadata": {"name": "orders"}});
    let second = (Kind { version: "v2", ..DEPLOYMENT }, Resource { version: "v2", ..DEPLOYMENTS });
    let form = |objects| [Equivalent { resource: DEPLOYMENTS, kind: DEPLOYMENT, objects }];
    let ask = |forms: Option<&[Equivalent<'_>]>| {
        let object = deployment(1);
        let request = Request { kind: second.0, resource: second.1, operation: Operation::Update, object: &object, equivalents: forms, ..Request::default() };
        set.evaluate(&request).denial().map(|denial| denial.message.clone())
    };
    assert_eq!(ask(Some(&form(Some(Objects { object: &converted, old_object: &Value::Null })))), None);
    assert!(ask(Some(&form(None))).unwrap().starts_with("failed to configure binding: failed to convert object version"));
    assert!(ask(None).unwrap().starts_with("failed to configure policy: a rule names v1 of apps"));
    assert_eq!(ask(Some(&[])), None);
}

#[test]
fn policies_and_bindings_are_not_judged_and_time_is_bounded() {
    let everything = json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]}, "validations": [{"expression": "false"}]});
    let set = one(everything, plain());
    let of = |group: &'static str, resource: &'static str| ask(&set, 1, |request| request.resource = Resource { group, version: "v1", resource }).allowed();
    assert!(of("admissionregistration.k8s.io", "validatingadmissionpolicies"));
    assert!(!of("admissionregistration.k8s.io", "validatingwebhookconfigurations"));
    assert!(!of("assent.dev", "guardrails"));
    let late = ask(&set, 1, |request| request.deadline = &|| true);
    assert!(late.denial().unwrap().message.contains("the deadline passed"));
}

#[test]
fn what_comes_out_is_bounded() {
    let validations: Vec<Value> = (0..400).map(|_| json!({"expression": "false", "message": "x".repeat(20_000)})).collect();
    let outcome = ask(&one(policy(json!({"validations": validations})), binding("p", json!({"validationActions": ["Warn", "Audit"]}))), 1, |_| {});
    assert_eq!((outcome.decisions.len(), outcome.omitted, outcome.warnings.len()), (256, 144, 64));
    assert!(outcome.decisions.iter().all(|decision| decision.message.len() <= 8192));
}
