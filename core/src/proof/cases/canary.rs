//! One pod first: the first write holds the rest back, the second lets it go and does nothing else, and both are put back as one.

use serde_json::{Value, json};

use super::super::*;
use super::fixture::{self, Fixture, PLANNED, deployment};
use super::refused;
use crate::action::Action;
use crate::canary::Canary;
use crate::refusal::Rule;

/// Three replicas, rolled out as most are.
fn target() -> Value {
    let mut target = deployment(4, "x:2");
    target["spec"]["replicas"] = json!(3);
    target["spec"]["progressDeadlineSeconds"] = json!(600);
    target["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
    target
}

fn fixtures() -> Vec<Fixture> {
    [Fixture::rollback(), Fixture::adjust(256), Fixture::revert_config()].map(|two| Fixture::on(target(), two.proposal.action)).into()
}

fn held(fixture: &Fixture) -> Canary {
    fixture.plan().canary.unwrap()
}

/// The facts with the first pod being looked at, and what lets the rest go.
fn half_way(fixture: &Fixture) -> (Facts, WriteRequest) {
    let facts = fixture.applied();
    let old = facts.target.clone().unwrap();
    let new = held(fixture).release(&old).unwrap();
    (facts, fixture.request(old, new))
}

fn release(fixture: &Fixture, spoil: &dyn Fn(&mut Facts, &mut WriteRequest)) -> Result<Admitted, Refusal> {
    let (mut facts, mut request) = half_way(fixture);
    spoil(&mut facts, &mut request);
    judge_write(&facts, &request)
}

/// The facts once the rest was let go, with whoever wrote that last, and the revert.
fn let_go(fixture: &Fixture, last: &str) -> (Facts, WriteRequest) {
    let (mut facts, request) = half_way(fixture);
    let mut target = request.new;
    target["metadata"]["generation"] = json!(6);
    let ours = json!({"manager": last, "operation": "Update", "time": "1970-01-01T00:16:55Z", "fieldsV1": {"f:spec": {"f:strategy": {}}}});
    target["metadata"]["managedFields"].as_array_mut().unwrap().push(ours);
    facts.target = Some(target.clone());
    let new = fixture.plan().restored(&target).unwrap().unwrap();
    let request = fixture.request(target, new);
    (facts, request)
}

#[test]
fn a_change_of_a_template_begins_with_one_pod_and_nothing_else_does() {
    for fixture in fixtures() {
        let apply = fixture.apply();
        assert_eq!(apply.new["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 1, "maxUnavailable": 0}));
        assert_eq!(apply.new["spec"]["minReadySeconds"], json!(100), "four times the look, and time to write");
        let mut facts = fixture.facts();
        assert_eq!(judge_plan(&facts, &fixture.plan()), Ok(()));
        let whole = fixture.proposal.action.act().expected(&fixture.target, Some(&fixture::good_template())).unwrap();
        let at_once = fixture.request(fixture.target.clone(), whole);
        refused(judge_write(&fixture.planned(), &at_once), Rule::Difference);
        assert_eq!(judge_write(&fixture.planned(), &apply), Ok(Admitted::Apply));
        refused(judge_plan(&facts, &Plan { canary: None, ..fixture.plan() }), Rule::Canary);
        refused(judge_plan(&facts, &Plan { revert_within_ms: 220_000, ..fixture.plan() }), Rule::Expired);
        let longer = Canary { watch_ms: 1, ..held(&fixture) };
        refused(judge_plan(&facts, &Plan { canary: Some(longer), ..fixture.plan() }), Rule::Canary);
        // The dry run is the very write.
        facts.plans.clear();
        assert_eq!(judge_write(&facts, &WriteRequest { dry_run: true, ..apply.clone() }), Ok(Admitted::DryRun));
        refused(judge_write(&facts, &WriteRequest { dry_run: true, ..at_once }), Rule::Difference);
        // Where the Blueprint turned it off, the whole is one write.
        facts.blueprint.as_mut().unwrap().effective.service.rules.safety.canary.enabled = Some(false);
        refused(judge_plan(&facts, &fixture.plan()), Rule::Canary);
        assert_eq!(judge_plan(&facts, &Plan { canary: None, ..fixture.plan() }), Ok(()));
    }
    for two in Fixture::all() {
        assert_eq!(two.plan().canary, None, "two replicas");
    }
    for keeps in [Fixture::scale(), Fixture::restart(), Fixture::evict()] {
        assert_eq!(Fixture::on(target(), keeps.proposal.action).plan().canary, None);
    }
}

#[test]
fn the_rest_follows_once_and_as_it_was() {
    type Spoil = fn(&mut Facts, &mut WriteRequest);
    let spoils: [(Spoil, Rule); 10] = [
        (|_, request| request.new["spec"]["template"]["spec"]["hostNetwork"] = json!(true), Rule::Revert),
        (|_, request| request.new["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("100%"), Rule::Difference),
        (|_, request| request.new["spec"]["minReadySeconds"] = json!(0), Rule::Difference),
        (|_, request| request.new["spec"]["replicas"] = json!(9), Rule::Difference),
        (|_, request| request.new["metadata"]["finalizers"] = json!(["x"]), Rule::Difference),
        (|facts, _| facts.target.as_mut().unwrap()["metadata"]["generation"] = json!(6), Rule::Canary),
        (|facts, _| facts.target.as_mut().unwrap()["spec"]["minReadySeconds"] = json!(5), Rule::Canary),
        (|facts, _| (facts.now, facts.own_clock) = (PLANNED.plus(221_000), PLANNED.plus(221_000)), Rule::Canary),
        (|facts, _| facts.paused = Some("why".into()), Rule::Paused),
        (|facts, _| facts.entered.push("rem-other".into()), Rule::Breaker),
    ];
    for fixture in fixtures() {
        assert_eq!(release(&fixture, &|_, _| {}), Ok(Admitted::Release));
        for (spoil, rule) in spoils {
            // A change of the template is the way back for some, and judged as that.
            let verdict = release(&fixture, &spoil);
            let ours = |rule: Rule| if rule == Rule::Revert { vec![Rule::Difference, Rule::Revert] } else { vec![rule] };
            assert!(verdict.as_ref().is_err_and(|refusal| ours(rule).contains(&refusal.rule)), "{rule:?}: {verdict:?}");
        }
        // Long after the ballots' life, and a guardrail that would now find a rollout: the change was judged as a whole.
        let late = |facts: &mut Facts, _: &mut WriteRequest| {
            (facts.now, facts.own_clock) = (PLANNED.plus(219_000), PLANNED.plus(219_000));
            facts.guardrail_denial = Some(Refusal::new(Rule::Guardrail, "a rollout is under way", "later"));
        };
        assert_eq!(release(&fixture, &late), Ok(Admitted::Release));
        refused(release(&fixture, &|facts, _| facts.ballots.iter_mut().for_each(Vec::clear)), Rule::Quorum);
        refused(release(&fixture, &|_, request| request.dry_run = true).and_then(|_| release(&fixture, &|facts, _| facts.plans.clear())), Rule::NoPlan);
        // Asked again once it is done.
        let (facts, revert) = let_go(&fixture, "assent-executor");
        refused(judge_write(&facts, &fixture.request(revert.old.clone(), revert.old)), Rule::Canary);
    }
}

#[test]
fn both_halves_are_put_back_as_one() {
    for fixture in fixtures() {
        // The first pod is not well.
        assert_eq!(judge_write(&fixture.applied(), &fixture.revert()), Ok(Admitted::Revert));
        let back = fixture.revert().new;
        assert_eq!(without_server_fields(&back), without_server_fields(&fixture.target), "what it was, word for word");
        let half = |request: &mut WriteRequest| request.new["spec"]["minReadySeconds"] = json!(100);
        let mut kept = fixture.revert();
        half(&mut kept);
        refused(judge_write(&fixture.applied(), &kept), Rule::Difference);
        // The whole is not well.
        let (facts, request) = let_go(&fixture, "assent-executor");
        assert_eq!(judge_write(&facts, &request), Ok(Admitted::Revert));
        assert_eq!(without_server_fields(&request.new), without_server_fields(&fixture.target));
        // Two generations later, and one of them was somebody else's.
        let (mut facts, mut request) = let_go(&fixture, "kubectl-edit");
        for object in [facts.target.as_mut().unwrap(), &mut request.old, &mut request.new] {
            object["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = json!(2);
        }
        refused(judge_write(&facts, &request), Rule::Revert);
        // Whoever let the rest go by hand changed something else with it, or nothing.
        let (facts, request) = let_go(&fixture, "kubectl-edit");
        assert_eq!(judge_write(&facts, &request), Ok(Admitted::Revert));
        let (mut facts, mut request) = let_go(&fixture, "kubectl-edit");
        for object in [facts.target.as_mut().unwrap(), &mut request.old, &mut request.new] {
            object["spec"]["revisionHistoryLimit"] = json!(1);
        }
        refused(judge_write(&facts, &request), Rule::Revert);
    }
}

#[test]
fn only_some_actions_can_be_held_back() {
    let settings = Some(crate::canary::Settings { replicas: 2, watch_ms: 10_000 });
    let begins: Vec<&str> =
        Fixture::all().iter().filter(|fixture| Canary::of(settings, &fixture.proposal.action, &target()).is_some()).map(|f| f.proposal.action.name()).collect();
    assert_eq!(begins, ["RollbackWorkload", "AdjustResources", "RevertConfig"]);
    assert!(matches!(Fixture::rollback().proposal.action, Action::RollbackWorkload(_)));
}
