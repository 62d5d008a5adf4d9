//! Raising a limit: that one field, to what people agreed to, while it stands.

use super::people::asking_beyond;
use super::*;
use crate::approval::Word;

/// A plan for three replicas where two are the most, written, with people's answers; and the write that raises the limit.
fn raising(answers: &[(&str, Word)]) -> (Facts, WriteRequest) {
    let fixture = Fixture::scale();
    let facts = Facts { target: Some(fixture.after()), plans: fixture.applied().plans, ..asking_beyond(&fixture, answers) };
    let old = json!({
        "metadata": {"name": "orders", "namespace": "shop", "uid": "b", "generation": 1},
        "spec": {"limits": {"minReplicas": 1, "maxReplicas": 2}, "mode": "autonomous"},
    });
    let request = WriteRequest {
        group: "assent.dev".into(),
        version: "v1alpha1".into(),
        resource: "blueprints".into(),
        subresource: String::new(),
        new: raised(&old, 3).unwrap(),
        old,
        ..fixture.apply()
    };
    (facts, request)
}

#[test]
fn a_limit_is_raised_to_what_people_agreed_to() {
    let (facts, request) = raising(&[("bob", Word::Approve)]);
    assert_eq!(judge_raise(&facts, &request), Ok(()));
    for answers in [&[][..], &[("bob", Word::Comment)], &[("bob", Word::Approve), ("eve", Word::Deny)]] {
        refused(judge_raise(&raising(answers).0, &request), Rule::Approval);
    }
    let mut gone = facts;
    gone.approvals[0].1[0].may = false;
    refused(judge_raise(&gone, &request), Rule::Approval);
}

#[test]
fn nothing_else_of_a_blueprint_is_written() {
    let (facts, request) = raising(&[("bob", Word::Approve)]);
    for (pointer, value) in [("/spec/limits/maxReplicas", json!(4)), ("/spec/limits/minReplicas", json!(2)), ("/spec/mode", json!("approve"))] {
        let mut other = request.clone();
        *other.new.pointer_mut(pointer).unwrap() = value;
        refused(judge_raise(&facts, &other), Rule::Difference);
    }
    let mut more = request.clone();
    more.new["spec"]["operations"] = json!({"allowed": ["RestartWorkload"]});
    refused(judge_raise(&facts, &more), Rule::Difference);
    refused(judge_raise(&facts, &WriteRequest { operation: "DELETE".into(), ..request.clone() }), Rule::Resource);
    refused(judge_raise(&facts, &WriteRequest { field_manager: "kubectl".into(), ..request.clone() }), Rule::Resource);
    refused(judge_raise(&facts, &WriteRequest { subresource: "status".into(), ..request }), Rule::Resource);
}

#[test]
fn what_was_agreed_to_must_still_stand() {
    let (facts, request) = raising(&[("bob", Word::Approve)]);
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = facts.clone();
        change(&mut facts);
        judge_raise(&facts, &request)
    };
    refused(with(&|facts| facts.plans.clear()), Rule::NoPlan);
    refused(with(&|facts| facts.plans[0].0.blueprint.uid = "another".into()), Rule::NoPlan);
    refused(with(&|facts| facts.blueprint.as_mut().unwrap().pin.generation = 2), Rule::Authority);
    refused(with(&|facts| facts.target.as_mut().unwrap()["spec"]["replicas"] = json!(2)), Rule::Stale);
    refused(with(&|facts| facts.target.as_mut().unwrap()["metadata"]["uid"] = json!("another")), Rule::Stale);
    refused(with(&|facts| facts.target = None), Rule::Stale);
    refused(with(&|facts| facts.paused = Some("lunch".into())), Rule::Paused);
    let late = |facts: &mut Facts| {
        facts.now = facts.now.plus(i64::from(crate::plan::MAX_REVERT_MS) * 2);
        facts.own_clock = facts.now;
    };
    refused(with(&late), Rule::Expired);
    refused(with(&|facts| facts.ballots = Ok(Vec::new())), Rule::Quorum);
    let owned = |facts: &mut Facts| {
        let git = json!({"target": {"kind": "Deployment", "name": "x"}, "gitops": {"owner": "ArgoCD", "namespace": "argocd", "name": "shop"}});
        facts.blueprint.as_mut().unwrap().effective.service.gitops = crate::blueprint::read(&git).value.gitops;
    };
    refused(with(&owned), Rule::Difference);
    refused(with(&|facts| facts.blueprint.as_mut().unwrap().effective.service.rules.limits.max_replicas = Some(3)), Rule::Difference);
}
