//! An eviction is of the very pod that was voted for, while it runs and is the target's own, with nothing else in the request.

use super::fixture::{Fixture, owned};
use super::*;
use crate::action::{Evict, Owned};
use crate::plan::Plan;

type Spoil<'a> = &'a dyn Fn(&mut Owned);

fn with(spoil: Spoil<'_>) -> (Facts, WriteRequest, Plan) {
    let fixture = Fixture::evict();
    let mut pod = owned();
    spoil(&mut pod);
    (Facts { pod: Some(pod), ..fixture.planned() }, fixture.apply(), fixture.plan())
}

#[test]
fn only_a_pod_of_the_target_that_still_runs_is_evicted() {
    let spoils: [(&str, Spoil<'_>); 7] = [
        ("gone", &|owned| owned.pod["metadata"]["uid"] = json!("another")),
        ("gone", &|owned| owned.pod["metadata"]["name"] = json!("another")),
        ("going already", &|owned| owned.pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")),
        ("none of", &|owned| owned.pod["metadata"]["ownerReferences"][0]["uid"] = json!("of another set")),
        ("none of", &|owned| owned.pod["metadata"]["ownerReferences"][0]["controller"] = json!(false)),
        ("none of", &|owned| owned.between.as_mut().unwrap()["metadata"]["ownerReferences"][0]["uid"] = json!("of another Deployment")),
        ("none of", &|owned| owned.between = None),
    ];
    for (words, spoil) in spoils {
        let (facts, request, plan) = with(spoil);
        let refusal = judge_write(&facts, &request).unwrap_err();
        assert!(refusal.rule == Rule::Stale && refusal.reason.contains(words), "{words}: {refusal}");
        // As it is refused at the write, it is at the plan.
        let refusal = judge_plan(&Facts { plans: vec![], entered: vec![], ..facts }, &plan).unwrap_err();
        assert!(refusal.rule == Rule::Stale && refusal.reason.contains(words), "{words}: {refusal}");
    }
    let (facts, request, _) = with(&|_| ());
    refused(judge_write(&Facts { pod: None, ..facts }, &request), Rule::Stale);
}

#[test]
fn a_pod_that_the_target_controls_itself_needs_nobody_between() {
    let mut owned = owned();
    owned.between = None;
    owned.pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "n", "uid": "s", "controller": true}]);
    let mut target = Fixture::evict().proposal.target;
    let evict = Evict { pod: "orders-1-a".into(), uid: "p".into() };
    assert!(evict.judge(Some(&owned), &target).is_err());
    (target.kind, target.uid) = ("StatefulSet".into(), "s".into());
    assert_eq!(evict.judge(Some(&owned), &target), Ok(()));
    owned.pod["metadata"]["ownerReferences"][0]["apiVersion"] = json!("example.org/v1");
    assert!(evict.judge(Some(&owned), &target).is_err(), "somebody else's kind of that name");
}

#[test]
fn the_request_says_nothing_but_which_pod() {
    for (pointer, value) in [
        ("/deleteOptions/gracePeriodSeconds", json!(0)),
        ("/deleteOptions/propagationPolicy", json!("Orphan")),
        ("/metadata/labels", json!({"a": "b"})),
        ("/metadata/name", json!("orders-1-b")),
        ("/deleteOptions/preconditions", json!({})),
        ("/deleteOptions/preconditions/uid", json!("another")),
    ] {
        let (facts, mut request, _) = with(&|_| ());
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        request.new.pointer_mut(parent).unwrap()[key] = value;
        refused(judge_write(&facts, &request), Rule::Difference);
    }
    // Where nothing is stored, the API server adds that to the options.
    let (facts, mut request, _) = with(&|_| ());
    request.new["deleteOptions"]["dryRun"] = json!(["All"]);
    refused(judge_write(&facts, &request), Rule::Difference);
    assert_eq!(judge_write(&facts, &WriteRequest { dry_run: true, ..request }), Ok(Admitted::Apply));
    let (facts, request, _) = with(&|_| ());
    refused(judge_write(&facts, &WriteRequest { operation: "UPDATE".into(), ..request.clone() }), Rule::Resource);
    refused(judge_write(&facts, &WriteRequest { subresource: String::new(), ..request.clone() }), Rule::Resource);
    refused(judge_write(&facts, &WriteRequest { name: "orders".into(), ..request }), Rule::NoPlan);
}
