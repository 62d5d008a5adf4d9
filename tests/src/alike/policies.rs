//! Generated policies: every table below crossed with every other by chance. All of them are such as an API server stores.

use serde_json::{Value, json};

use super::pick;

/// A policy, its bindings and the namespace that it guards.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Where it applies.
    pub namespace: String,
    /// Name of the policy.
    pub name: String,
    /// Its spec.
    pub policy: Value,
    /// Bindings by name.
    pub bindings: Vec<(String, Value)>,
}

const VALIDATIONS: [&str; 36] = [
    "object.spec.replicas <= 3",
    "!has(object.spec) || !has(object.spec.replicas) || object.spec.replicas <= 3",
    "has(object.metadata.labels) && 'app' in object.metadata.labels",
    "object.metadata.?labels.?app.orValue('none') != 'db'",
    "object.metadata.name.matches('^[a-z-]+$')",
    "object.metadata.name.size() < 8",
    "object.spec.containers.all(c, c.image.startsWith('registry.example.com/'))",
    "object.spec.?containers.orValue([]).all(c, !c.image.endsWith(':latest'))",
    "object.spec.template.spec.containers.all(c, has(c.resources.limits) && 'memory' in c.resources.limits)",
    "object.?spec.?containers.orValue([]).all(c, quantity(c.?resources.?limits.?memory.orValue('1Mi')).isLessThan(quantity('1Gi')))",
    "object.?spec.?hostNetwork.orValue(false) == false",
    "object.data.size() < 3",
    "object.data.all(k, k.startsWith('k'))",
    "object.?data.?limit.optMap(l, int(l) < 10).orValue(true)",
    "int(object.data.limit) < 10",
    "object.kind == 'ConfigMap'",
    "object.kind in ['Pod', 'Deployment']",
    "request.operation != 'DELETE'",
    "request.operation == 'CREATE' && oldObject == null",
    "oldObject == null || object == null || object.data == oldObject.data",
    "request.userInfo.username == 'ann'",
    "'admins' in request.userInfo.groups",
    "request.userInfo.extra['team'].exists(t, t == 'blue')",
    "request.name == object.metadata.name",
    "request.dryRun",
    "request.resource.resource == 'configmaps' || request.kind.kind == 'Pod'",
    "request.?options.?fieldManager.orValue('') == 'alike'",
    "namespaceObject.metadata.labels['env'] != 'prod'",
    "namespaceObject.metadata.?labels.?team.hasValue()",
    "variables.containers.map(c, c.name).exists(n, n == 'app')",
    "variables.containers.size() <= 1",
    "variables.absent > 1",
    "variables.count * 2 < 7",
    "variables.count / (variables.count - 2) > 0",
    "[1, 2, 3].exists_one(x, x == variables.count)",
    "true",
];

const MESSAGES: [Option<&str>; 4] = [None, Some("not so"), Some("  spaces and <letters> & \"quotes\" "), Some("ünïcode ✓")];

const MESSAGE_EXPRESSIONS: [Option<&str>; 12] = [
    None,
    None,
    Some("'name is ' + object.metadata.name"),
    Some("'%s/%s by %s'.format([request.namespace, request.name, request.userInfo.username])"),
    Some("''"),
    Some("'  '"),
    Some("'two\\nlines'"),
    Some("string(variables.count)"),
    Some("'no ' + variables.absent"),
    Some("'containers: ' + variables.containers.map(c, c.name).join(', ')"),
    Some("'data: %s'.format([object.data.map(k, k).size()])"),
    Some("'of ' + namespaceObject.metadata.name"),
];

const REASONS: [Option<&str>; 5] = [None, None, Some("Invalid"), Some("Forbidden"), Some("RequestEntityTooLarge")];

const CONDITIONS: [&[&str]; 10] = [
    &[],
    &[],
    &[],
    &["request.operation != 'UPDATE'"],
    &["has(object.spec)"],
    &["object.metadata.name != 'db'"],
    &["object.spec.replicas > 1"],
    &["object.spec.replicas > 1", "object.data.limit == '5'"],
    &["object.?metadata.?labels.?app.orValue('') != 'web'", "!('robots' in request.userInfo.groups)"],
    &["namespaceObject == null"],
];

const AUDITS: [&[(&str, &str)]; 8] = [
    &[],
    &[],
    &[("who", "request.userInfo.username")],
    &[("count", "string(variables.count)"), ("none", "null")],
    &[("name", "'  ' + object.metadata.name + ' '"), ("blank", "'  '")],
    &[("data", "string(object.data.limit)")],
    &[("many", "variables.count > 1 ? 'more than one' : ''")],
    &[("long", "['x'].map(x, x + 'yyyyyyyyyy').join('-') + namespaceObject.metadata.name")],
];

const RULES: [&str; 6] = [
    r#"[{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]"#,
    r#"[{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]"#,
    r#"[{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["pods", "configmaps"]}]"#,
    r#"[{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}, {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]"#,
    r#"[{"apiGroups": [""], "apiVersions": ["*"], "operations": ["UPDATE", "DELETE", "CREATE"], "resources": ["*"], "scope": "Namespaced"}]"#,
    r#"[{"apiGroups": ["*"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"], "resourceNames": ["web", "db", "base"]}]"#,
];

const SELECTORS: [(&str, &str); 8] = [
    ("", ""),
    ("", ""),
    ("", ""),
    ("objectSelector", r#"{"matchLabels": {"app": "web"}}"#),
    ("objectSelector", r#"{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}"#),
    ("namespaceSelector", r#"{"matchLabels": {"env": "prod"}}"#),
    ("namespaceSelector", r#"{"matchExpressions": [{"key": "team", "operator": "Exists"}]}"#),
    ("excludeResourceRules", r#"[{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}]"#),
];

const ACTIONS: [&[&str]; 7] = [&["Deny"], &["Deny"], &["Warn"], &["Audit"], &["Deny", "Audit"], &["Warn", "Audit"], &["Audit", "Warn"]];

/// References to parameters; every fourth policy has them.
const PARAMS: [&str; 6] = [
    r#"{"name": "low", "namespace": "params", "parameterNotFoundAction": "Deny"}"#,
    r#"{"name": "high", "namespace": "params", "parameterNotFoundAction": "Allow"}"#,
    r#"{"name": "nobody", "namespace": "params", "parameterNotFoundAction": "Allow"}"#,
    r#"{"name": "nobody", "namespace": "params", "parameterNotFoundAction": "Deny"}"#,
    r#"{"selector": {"matchLabels": {"level": "low"}}, "namespace": "params", "parameterNotFoundAction": "Deny"}"#,
    r#"{"selector": {"matchLabels": {"level": "none"}}, "namespace": "params", "parameterNotFoundAction": "Deny"}"#,
];

const PARAM_VALIDATIONS: [&str; 4] = [
    "params != null && object.metadata.name.size() <= int(params.data.max)",
    "object.?spec.?replicas.orValue(0) <= int(params.data.max)",
    "params.metadata.name == 'low' && params.kind == 'ConfigMap'",
    "params.?data.?absent.orValue('5') == params.data.max",
];

/// `count` policies, the first for the namespace `ns-000`.
#[must_use]
pub fn guarded(count: u64) -> Vec<Guarded> {
    (0..count).map(one).collect()
}

fn one(number: u64) -> Guarded {
    let mut seed = number << 16;
    let mut next = || {
        seed += 1;
        seed
    };
    let with_params = number % 4 == 3;
    let mut validations: Vec<Value> = Vec::new();
    for _ in 0..=(super::mixed(next()) % 3) {
        let mut validation = json!({"expression": if with_params { pick(&PARAM_VALIDATIONS, next()) } else { pick(&VALIDATIONS, next()) }});
        let words = [("message", pick(&MESSAGES, next())), ("messageExpression", pick(&MESSAGE_EXPRESSIONS, next())), ("reason", pick(&REASONS, next()))];
        for (field, text) in words {
            if let Some(text) = text {
                validation[field] = json!(text);
            }
        }
        validations.push(validation);
    }
    let rules: Value = serde_json::from_str(pick::<&str>(&RULES, next())).unwrap();
    let mut constraints = json!({"resourceRules": rules});
    let (field, selector) = pick(&SELECTORS, next());
    if !field.is_empty() {
        constraints[field] = serde_json::from_str(selector).unwrap();
    }
    let conditions = pick(&CONDITIONS, next()).iter().enumerate();
    let audits = pick(&AUDITS, next()).iter();
    let mut policy = json!({
        "failurePolicy": pick(&["Fail", "Fail", "Ignore"], next()),
        "matchConstraints": constraints,
        "matchConditions": conditions.map(|(at, expression)| json!({"name": format!("c{at}"), "expression": expression})).collect::<Vec<_>>(),
        "variables": [
            {"name": "containers", "expression": "object.kind == 'Deployment' ? object.spec.template.spec.containers : object.?spec.?containers.orValue([])"},
            {"name": "count", "expression": "variables.containers.size()"},
            {"name": "absent", "expression": "object.spec.absent"},
        ],
        "validations": validations,
        "auditAnnotations": audits.map(|(key, expression)| json!({"key": key, "valueExpression": expression})).collect::<Vec<_>>(),
    });
    if with_params {
        policy["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    }
    let name = format!("p{number:03}.example.com");
    let namespace = format!("ns-{number:03}");
    let bindings = (0..=(super::mixed(next()) % 2))
        .map(|at| {
            let mut binding = json!({
                "policyName": name,
                "validationActions": pick(&ACTIONS, next()),
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            });
            if with_params {
                binding["paramRef"] = serde_json::from_str(pick::<&str>(&PARAMS, next())).unwrap();
            }
            (format!("b{number:03}-{at}.example.com"), binding)
        })
        .collect();
    Guarded { namespace, name, policy, bindings }
}
