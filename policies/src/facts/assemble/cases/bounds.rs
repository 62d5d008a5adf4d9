//! What is too much, and what is another object.

use super::*;

#[test]
fn another_object_of_the_same_name_tells_nothing() {
    let mut other = restart();
    let target = Target::of(&other.shop["deployment"]).unwrap();
    for (field, value) in [("/metadata/uid", "another"), ("/metadata/namespace", "payments"), ("/kind", "StatefulSet"), ("/apiVersion", "apps/v2")] {
        other = restart().with(&format!("/deployment{field}"), value);
        let object = Object::of("Deployment", &other.shop["deployment"]).unwrap();
        let said = same(&object, &target).unwrap_err().to_string();
        assert!(said.contains(&format!("`{field}` cannot be read: it is `{value}`, and the plan is aimed at")), "{said}");
    }
    assert!(restart().with("/namespace/metadata/name", "payments").refusal().contains("the target is in namespace `shop`"));
    let mut unread = restart();
    unread.shop["namespace"] = Value::Null;
    assert!(unread.refusal().contains("`/metadata/name` cannot be read"), "{}", unread.refusal());
    let nothing = Object::of("Deployment", &Value::Null).unwrap_err().to_string();
    assert_eq!(nothing, "Deployment : `/metadata/name` cannot be read: it is not there");
}

#[test]
fn a_deletion_under_way_is_told() {
    let at = "2026-11-27T09:59:00Z";
    assert_eq!(restart().with("/deployment/metadata/deletionTimestamp", at).facts()["target"]["deleting"], json!(true));
    assert_eq!(restart().with("/namespace/metadata/deletionTimestamp", at).facts()["namespace"]["deleting"], json!(true));
    assert_eq!(restart().with("/namespace/status/phase", "Terminating").facts()["namespace"]["deleting"], json!(true));
}

#[test]
fn too_many_is_an_error_and_never_fewer() {
    let many = |count: usize, item: &dyn Fn(usize) -> Value| Value::Array((0..count).map(item).collect());
    let service = |at: usize| json!({"metadata": {"name": format!("s{at}"), "namespace": "shop"}, "spec": {"selector": {"app": "orders"}}});
    let unrelated = |at: usize| json!({"metadata": {"name": format!("s{at}"), "namespace": "shop"}, "spec": {"selector": {"app": "x"}}});
    let labels = |count: usize| Value::Object((0..count).map(|at| (format!("l{at}"), json!("x"))).collect());
    let cases = [
        (restart().with("/services", many(64, &service)), "facts"),
        (restart().with("/services", many(65, &service)), "65 services are more than the 64 that facts hold"),
        (restart().with("/services", many(MAX_LISTED, &unrelated)), "facts"),
        (restart().with("/services", many(MAX_LISTED + 1, &unrelated)), "10001 Services of the namespace are more than the 10000 that facts hold"),
        (restart().with("/namespace/metadata/labels", labels(MAX_LABELS)), "facts"),
        (restart().with("/namespace/metadata/labels", labels(10_000)), "10000 labels of the namespace are more than the 256 that facts hold"),
        // It selects nothing of ours, however much it names.
        (restart().with("/services/0/spec/selector", labels(10_000)), "facts"),
        (
            restart().with("/services/0/spec/selector", labels(10_000)).with("/deployment/spec/template/metadata/labels", labels(10_000)),
            "10000 labels that a Service selects by are more than the 256 that facts hold",
        ),
    ];
    for (at, (world, expected)) in cases.into_iter().enumerate() {
        assert_eq!(world.refusal(), expected, "case {at}");
    }
}

#[test]
fn a_revision_with_more_parts_than_can_be_judged_is_an_error() {
    let many: Vec<Value> = (0..65).map(|at| json!({"name": format!("c{at}"), "image": "x"})).collect();
    let mut world = restart().with("/replicaSets/1/spec/template/spec/containers", many);
    world.healthy = vec![world.seen(1, 7, 60)];
    assert_eq!(world.refusal(), "66 containers of a revision are more than the 64 that facts hold");
}

#[test]
fn more_managed_fields_than_can_be_judged_are_an_error() {
    let set = |count: usize| Value::Object((0..count).map(|at| (format!("k:{{\"name\":\"c{at}\"}}"), json!({}))).collect());
    let containers = "/deployment/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:containers";
    assert_eq!(restart().with(containers, set(8000)).refusal(), "facts");
    let said = restart().with(containers, set(100_000)).refusal();
    assert!(said.ends_with("managed fields of one manager are more than the 8192 that facts hold"), "{said}");
}

#[test]
fn what_is_nested_deeper_than_is_looked_into_is_one_field() {
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!({"d": deep});
    }
    let mut world = restart();
    let mut new = world.shop["deployment"].clone();
    new["spec"]["deep"] = deep;
    world.new = Some(new);
    assert_eq!(world.facts()["action"]["changes"], json!([format!("/spec/deep{}", "/d".repeat(62))]));
    let mut new = world.shop["deployment"].clone();
    new["spec"]["template"]["deep"] = world.new.unwrap()["spec"]["deep"].clone();
    world.new = Some(new);
    assert_eq!(world.refusal(), "the object of the write: `/spec/template` cannot be read: value is nested more than 64 levels deep");
}

#[test]
fn a_time_that_is_none_is_an_error() {
    assert!(time(UnixMillis(i64::MAX)).is_err());
    assert_eq!(time(UnixMillis(1_999)).unwrap(), "1970-01-01T00:00:01Z");
}
