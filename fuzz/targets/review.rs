//! Bodies of admission reviews: what is read is what any other reader sees, and guardrails have an answer to it.
#![no_main]

#[path = "../../webhook/src/review/body.rs"]
#[expect(dead_code, reason = "the gate uses all of it")]
mod body;
#[path = "../../webhook/src/review/wire.rs"]
#[expect(dead_code, reason = "the gate uses all of it")]
mod wire;

use std::sync::OnceLock;

use assent_policies::spec::Operation;
use assent_policies::{Kind, Namespace, Request, Resource, Set, User};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// Looks at every part of a request.
fn guardrails() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| {
        let policy = json!({
            "matchConstraints": {
                "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]},
                "objectSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]},
                "resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}],
            },
            "variables": [{"name": "o", "expression": "request.operation == 'DELETE' ? oldObject : object"}],
            "validations": [
                {"expression": "!has(variables.o.spec) || variables.o.spec != oldObject.?spec.orValue({})", "messageExpression": "string(request.userInfo)"},
                {"expression": "request.options == null || request.options.all(k, v, k.size() > 0 && v != variables.o)"},
                {"expression": "variables.o.metadata.?labels.orValue({}).all(k, k.matches('^[a-z]') && variables.o.metadata.labels[k] <= k)"},
                {"expression": "object == oldObject || quantity(object.spec.q).isGreaterThan(quantity('1'))"},
            ],
            "auditAnnotations": [{"key": "k", "valueExpression": "string(request.name) + request.namespace"}],
        });
        let binding = json!({"policyName": "p", "validationActions": ["Deny", "Audit"]});
        Set::new(vec![("p".into(), policy)], vec![("b".into(), binding)])
    })
}

fuzz_target!(|data: &[u8]| {
    let review = match body::read(data) {
        Ok(review) => review,
        Err(error) => {
            assert!(error.to_string().len() < 2048, "a long error");
            return;
        }
    };
    let request = review.request.expect("a review that is read has a request");
    let sender = body::sender(data).expect("what is read has a sender");
    assert_eq!((&sender.uid, &sender.username), (&request.uid, &request.user_info.username));
    let plain: Value = serde_json::from_slice(data).expect("stricter than serde_json");
    for (field, read) in [("object", &request.object), ("oldObject", &request.old_object), ("options", &request.options)] {
        assert_eq!(plain["request"].get(field).unwrap_or(&Value::Null), read);
    }
    let user = &request.user_info;
    let namespace = json!({"metadata": {"name": request.namespace, "labels": {"a": "c"}}});
    let outcome = guardrails().evaluate(&Request {
        kind: Kind { group: &request.kind.group, version: &request.kind.version, kind: &request.kind.kind },
        resource: Resource { group: &request.resource.group, version: &request.resource.version, resource: &request.resource.resource },
        subresource: &request.sub_resource,
        operation: Operation::named(&request.operation).expect("a known operation"),
        name: &request.name,
        namespace: &request.namespace,
        user: User { username: &user.username, uid: &user.uid, groups: &user.groups, extra: &user.extra },
        dry_run: request.dry_run,
        options: &request.options,
        object: &request.object,
        old_object: &request.old_object,
        namespace_object: Namespace::Known(&namespace),
        ..Request::default()
    });
    assert_eq!(outcome.allowed(), outcome.refusal().is_none());
});
