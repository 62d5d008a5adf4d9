//! Patches for people: applied to the old object, they give the new one.

use super::*;

/// Applies what [`patch`] writes: objects and arrays of the same length, nothing else.
fn applied(old: &Value, operations: &[Value]) -> Value {
    let mut object = without_server_fields(old);
    for operation in operations {
        let path = operation["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = object.pointer_mut(parent).unwrap();
        match operation["op"].as_str().unwrap() {
            "remove" => drop(parent.as_object_mut().unwrap().remove(&key).unwrap()),
            "add" => assert!(parent.as_object_mut().unwrap().insert(key, operation["value"].clone()).is_none()),
            "replace" => match parent {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = operation["value"].clone(),
                _ => parent[key] = operation["value"].clone(),
            },
            other => panic!("{other}"),
        }
    }
    object
}

#[test]
fn a_patch_makes_the_new_object_of_the_old_one() {
    for fixture in Fixture::all().into_iter().filter(|fixture| fixture.proposal.action.evicts().is_none()) {
        let (old, new) = (fixture.target.clone(), fixture.after());
        let operations = patch(&old, &new);
        assert!(!operations.is_empty());
        assert_eq!(applied(&old, &operations), without_server_fields(&new), "{operations:?}");
    }
    let (old, new) = (json!({"a": {"x/y": 1, "z": [1, 2]}, "gone": true}), json!({"a": {"x/y": 2, "z": [1, 3]}, "new": {"deep": []}}));
    let operations = patch(&old, &new);
    assert_eq!(applied(&old, &operations), new);
    assert_eq!(operations[0], json!({"op": "remove", "path": "/gone"}));
    assert_eq!(operations[1], json!({"op": "replace", "path": "/a/x~1y", "value": 2}));
    assert_eq!(patch(&old, &old), Vec::<Value>::new());
}

#[test]
fn what_the_server_sets_is_in_no_patch() {
    let fixture = Fixture::scale();
    let mut new = fixture.after();
    new["metadata"]["resourceVersion"] = json!("99");
    new["status"] = json!({"replicas": 7});
    assert_eq!(patch(&fixture.target, &new), [json!({"op": "replace", "path": "/spec/replicas", "value": 3})]);
}
