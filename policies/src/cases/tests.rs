//! Cases of cases: layers, pointers, defaults, and what is no case.

use serde_json::json;

use super::*;

fn expanded(folder: Value, file: Value) -> Result<Vec<Case>, CaseError> {
    expand(&serde_json::from_value(folder).unwrap(), &serde_json::from_value(file).unwrap())
}

fn one(folder: Value, file: Value) -> Case {
    expanded(folder, file).unwrap().remove(0)
}

fn folder() -> Value {
    json!({
        "objects": {
            "deployment": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "orders"},
                "spec": {"replicas": 2, "list": [{"a": 1}, {"a": 2}]}},
            "base": {"now": "t", "nodes": 3},
            "facts": {"use": "base", "nodes": null, "freezes": []},
        },
        "given": {"params": {"use": "facts"}},
    })
}

#[test]
fn a_case_is_an_update_by_the_executor_that_changes_what_it_says() {
    let case = one(
        folder(),
        json!({
            "given": {"oldObject": {"use": "deployment"}},
            "cases": [{"name": "x", "expect": "deny", "object": {"spec": {"replicas": 9}, "/spec/list/1/a": 3, "/metadata/labels/a.b~1c": "d"}}],
        }),
    );
    assert_eq!(case.old_object.pointer("/spec/replicas"), Some(&json!(2)));
    assert_eq!(case.object["spec"], json!({"replicas": 9, "list": [{"a": 1}, {"a": 3}]}));
    assert_eq!(case.object["metadata"]["labels"], json!({"a.b/c": "d"}));
    assert_eq!(case.params, json!({"now": "t", "freezes": []}));
    let request = &case.request;
    assert_eq!(request["operation"], "UPDATE");
    assert_eq!(request["resource"], json!({"group": "apps", "version": "v1", "resource": "deployments"}));
    assert_eq!(request["kind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    assert_eq!((&request["namespace"], &request["name"]), (&json!("shop"), &json!("orders")));
    assert_eq!(request["userInfo"]["username"], "assent:executor");
    assert_eq!(request.get("subResource"), None, "what a request leaves out when empty is left out");
    assert_eq!(case.namespace_object["metadata"]["name"], "shop");
}

#[test]
fn later_layers_change_earlier_ones_and_null_removes() {
    let case = one(
        folder(),
        json!({
            "given": {"oldObject": {"use": "deployment"}, "object": {"spec": {"replicas": 3}}, "params": {"extra": {"a": 1, "b": 2}}},
            "cases": [{"name": "x", "expect": "allow", "object": {"/spec/list/0": null, "/spec/list/-": {"a": 4}}, "params": {"extra": {"a": null}, "freezes": [1]}}],
        }),
    );
    assert_eq!(case.object["spec"], json!({"replicas": 3, "list": [{"a": 2}, {"a": 4}]}));
    assert_eq!(case.params, json!({"now": "t", "freezes": [1], "extra": {"b": 2}}));
}

#[test]
fn a_deletion_has_no_object_and_a_creation_no_old_one() {
    let file = |operation: &str| {
        json!({"given": {"oldObject": {"use": "deployment"}, "object": {"spec": {"replicas": 3}}},
            "cases": [{"name": "x", "expect": "skip", "request": {"operation": operation}}]})
    };
    let deletion = one(folder(), file("DELETE"));
    assert_eq!((deletion.object.is_null(), deletion.old_object.is_null()), (true, false));
    assert_eq!(deletion.request["name"], "orders");
    let mut creation = file("CREATE");
    creation["cases"][0]["object"] = json!({"use": "deployment"});
    let creation = one(folder(), creation);
    assert_eq!((creation.object.is_null(), creation.old_object.is_null()), (false, true));
}

#[test]
fn resources_users_and_the_absence_of_params_can_be_stated() {
    let case = one(
        folder(),
        json!({"cases": [{"name": "x", "expect": "skip", "params": null,
            "request": {"resource": "pods.v1", "subResource": "eviction", "user": "jane", "namespace": "shop", "name": "p"}, "object": {"kind": "Eviction"}}]}),
    );
    assert_eq!(case.request["resource"], json!({"group": "", "version": "v1", "resource": "pods"}));
    assert_eq!(case.request["userInfo"]["username"], "jane");
    assert!(case.params.is_null());
    let node = one(folder(), json!({"cases": [{"name": "x", "expect": "allow", "object": {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}}]}));
    assert!(node.namespace_object.is_null());
    assert_eq!(node.request["operation"], "CREATE");
    for (kind, resource) in [("NetworkPolicy", "networkpolicies"), ("Ingress", "ingresses"), ("Gateway", "gateways"), ("HTTPRoute", "httproutes")] {
        let case = one(folder(), json!({"cases": [{"name": "x", "expect": "allow", "object": {"apiVersion": "g/v1", "kind": kind}}]}));
        assert_eq!(case.request["resource"]["resource"], resource);
    }
}

#[test]
fn what_is_no_case_is_named_with_its_reason() {
    let reason = |case: Value| expanded(folder(), json!({"cases": [case]})).unwrap_err().to_string();
    assert_eq!(reason(json!({"name": "a", "expect": "deny", "object": {"use": "gone"}})), "case `a`: there is no shared object `gone`");
    assert!(reason(json!({"name": "b", "expect": "deny", "object": {"spec": {}}})).contains("neither an object with a kind"));
    assert!(reason(json!({"name": "c", "expect": "deny", "object": {"use": "deployment", "/spec/list/7/a": 1}})).contains("no item `7`"));
    assert!(reason(json!({"name": "d", "expect": "deny", "request": {"resource": "pods"}, "object": {"kind": "Pod"}})).contains("RESOURCE.VERSION.GROUP"));
    let circle = json!({"objects": {"a": {"use": "b"}, "b": {"use": "a"}}});
    let circular = expanded(circle, json!({"cases": [{"name": "f", "expect": "deny", "object": {"use": "a"}}]})).unwrap_err();
    assert!(circular.to_string().contains("starts from itself"), "{circular}");
    let misspelt = json!({"cases": [{"name": "e", "expect": "deny", "objects": {}}]});
    assert!(serde_json::from_value::<File>(misspelt).is_err());
}
