//! Properties of the permitted difference: whatever single path is changed beside the voted change, it is refused, and foreign
//! managedFields lose what the change took from them and nothing else.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::fixture::{Fixture, deployment};
use super::*;

/// What the API server writes by itself; everything else counts.
const SERVER_SET: [&str; 4] = ["/status", "/metadata/managedFields", "/metadata/resourceVersion", "/metadata/generation"];

fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    if SERVER_SET.contains(&at) {
        return;
    }
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                pointers(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| pointers(inner, &format!("{at}/{index}"), all)),
        _ => {}
    }
}

fn edit(object: &mut Value, pointer: &str, how: u8) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
    let slot = object.pointer_mut(pointer).unwrap();
    match (how, slot) {
        (0, Value::Object(fields)) => drop(fields.insert("extra".into(), json!("added"))),
        (0, Value::Array(items)) => items.push(json!("added")),
        (1, _) if !pointer.is_empty() => match object.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.shift_remove(&key.replace("~1", "/").replace("~0", "~"))),
            Value::Array(items) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        },
        (_, slot) => *slot = json!("changed"),
    }
}

proptest! {
    #[test]
    fn any_single_extra_path_is_refused(which in 0usize..4, at in any::<prop::sample::Index>(), how in 0u8..3) {
        let fixture = &Fixture::all()[which];
        let WriteRequest { old, new: expected, .. } = fixture.apply();
        let roots = fixture.proposal.roots();
        prop_assert_eq!(permitted(&old, &expected, &expected, &roots), Ok(()));
        let mut all = Vec::new();
        pointers(&expected, "", &mut all);
        let pointer = at.get(&all);
        let mut new = expected.clone();
        edit(&mut new, pointer, how);
        prop_assert_ne!(&new, &expected);
        // Without metadata there are no managedFields either; both ways it is a difference.
        let refusal = permitted(&old, &expected, &new, &roots).expect_err("another path was changed");
        prop_assert_eq!(refusal.rule, Rule::Difference);
        // And the whole judgement refuses it too, plan or not.
        let request = WriteRequest { new, ..fixture.apply() };
        prop_assert!(judge_write(&fixture.planned(), &request).is_err());
        let request = WriteRequest { dry_run: true, ..request };
        prop_assert!(judge_write(&fixture.facts(), &request).is_err());
    }

    #[test]
    fn what_the_server_sets_by_itself_does_not_count(version in "[0-9]{1,9}", generation in any::<i64>(), replicas in any::<u32>()) {
        let fixture = Fixture::rollback();
        let WriteRequest { old, new: expected, .. } = fixture.apply();
        let mut new = expected.clone();
        new["metadata"]["resourceVersion"] = json!(version);
        new["metadata"]["generation"] = json!(generation);
        new["status"]["replicas"] = json!(replicas);
        new["spec"]["template"]["spec"]["dnsPolicy"] = Value::Null;
        prop_assert_eq!(permitted(&old, &expected, &new, &["/spec/template"]), Ok(()));
    }

    #[test]
    fn foreign_managers_lose_only_what_the_change_took(lost in prop::collection::btree_set(0usize..PATHS.len(), 0..PATHS.len())) {
        let old = managed(&(0..PATHS.len()).collect());
        let new = managed(&(0..PATHS.len()).filter(|index| !lost.contains(index)).collect());
        let outside = lost.iter().any(|index| !PATHS[*index].2);
        let verdict = permitted(&old, &old, &new, &["/spec/template"]);
        prop_assert_eq!(verdict.is_err(), outside, "{:?}: {:?}", lost, verdict);
        // The other way round it is a gain, which nothing permits.
        prop_assert_eq!(permitted(&new, &new, &old, &["/spec/template"]).is_err(), !lost.is_empty());
    }
}

/// Field, leaf and whether it lies below `/spec/template`.
const PATHS: [(&str, &str, bool); 6] = [
    ("f:metadata", "f:labels", false),
    ("f:spec", "f:replicas", false),
    ("f:spec", "f:templateful", false),
    ("f:spec", "f:strategy", false),
    ("f:template", "f:image", true),
    ("f:template", "f:env", true),
];

/// The target with these fields owned by somebody else.
fn managed(owned: &BTreeSet<usize>) -> Value {
    let mut fields = json!({});
    for (parent, leaf, below) in owned.iter().map(|index| PATHS[*index]) {
        if below {
            fields["f:spec"]["f:template"][leaf] = json!({});
        } else {
            fields[parent][leaf] = json!({});
        }
    }
    with_entries(json!([{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": fields}]))
}

fn with_entries(entries: Value) -> Value {
    let mut object = deployment(4, "x:2");
    object["metadata"]["managedFields"] = entries;
    object
}

#[test]
fn our_own_entry_may_grow_and_nobody_elses_may_appear() {
    let kubectl = json!({"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:template": {".": {}, "f:a": {}}}}});
    let ours = json!({"manager": "assent-executor", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:template": {}}}});
    let old = with_entries(json!([kubectl]));
    let judge = |entries: Value| permitted(&old, &old, &with_entries(entries), &["/spec/template"]);
    assert_eq!(judge(json!([kubectl, ours])), Ok(()));
    // A foreign entry that owned nothing else may go as a whole.
    assert_eq!(judge(json!([ours])), Ok(()));
    let mut other = kubectl.clone();
    other["manager"] = json!("intruder");
    refused(judge(json!([kubectl, other])), Rule::Difference);
    // The same manager through another sub-resource or version is another owner.
    let mut status = kubectl.clone();
    status["subresource"] = json!("status");
    refused(judge(json!([kubectl, status])), Rule::Difference);
    // Times do not count.
    let mut later = kubectl;
    later["time"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(judge(json!([later, ours])), Ok(()));
}

#[test]
fn differing_paths_are_named_and_their_number_is_bounded() {
    assert_eq!(describe_difference(&json!({"a": {"b/c": 1}}), &json!({"a": {"b/c": 2}})), ["/a/b~1c"]);
    assert_eq!(describe_difference(&json!([1, 2]), &json!([1])), ["/"]);
    let many = |n: i64| Value::Object((0..50).map(|i| (format!("k{i}"), json!(n))).collect());
    assert_eq!(describe_difference(&many(1), &many(2)).len(), 8);
    assert!(describe_difference(&many(1), &many(1)).is_empty());
}
