//! Every state of plan, status and target, and the one thing that follows.

use assent_core::action::{Action, Evict, Rollback, Scale};
use assent_core::ballot::Proposal;
use assent_core::canary::{Canary, Settings};
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_core::ledger::{Head, Proof};
use assent_core::plan::{BlueprintPin, LedgerPin};
use assent_core::proof::FIELD_MANAGER;
use serde_json::json;

use super::*;

const CREATED: UnixMillis = UnixMillis(1_000_000);

fn deployment(generation: i64, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "generation": generation},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}
    })
}

fn plan(action: Action, inverse: Inverse) -> Plan {
    Plan {
        cluster: "c".into(),
        incident: IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap(),
        epoch: 1,
        proposal: Proposal { action, target: Target::of(&deployment(4, 2, "x:2")).unwrap() },
        inverse,
        canary: None,
        ballots: vec![],
        roster: Digest::of_bytes(b""),
        guardrails: Digest::of_bytes(b""),
        blueprint: BlueprintPin { name: "b".into(), uid: "b".into(), generation: 1 },
        ledger: LedgerPin { era: 0, head: Head::empty(), proof: Proof::default() },
        soak_ms: 10_000,
        expires_after_ms: 60_000,
        revert_within_ms: 600_000,
    }
}

fn scale() -> Plan {
    plan(Action::ScaleWorkload(Scale { replicas: 3 }), Inverse::Replicas { replicas: 2 })
}

fn rollback() -> Plan {
    let template = deployment(0, 0, "x:1").pointer("/spec/template").unwrap().clone();
    let action = Rollback { revision: 1, template: Digest::of(&template).unwrap(), images: vec![], configurations: vec![], healthy_at: UnixMillis(1) };
    let inverse = deployment(0, 0, "x:2").pointer("/spec/template").unwrap().clone();
    plan(Action::RollbackWorkload(action), Inverse::Template { template: inverse, replicas: Some(2) })
}

fn next(plan: &Plan, phase: RemediationPhase, sight: Sight, progress: Progress, age_ms: i64) -> Next {
    step(plan, &Seen { created_at: CREATED, phase, sight, trial: Trial::Watching, progress, against: None, now: CREATED.plus(age_ms) })
}

/// As [`next`], where the write that is due got no verdict, or one that stands for so long.
fn against(phase: RemediationPhase, sight: Sight, refused_for_ms: Option<i64>, age_ms: i64) -> Next {
    let now = CREATED.plus(age_ms);
    let against = Against { refused_since: refused_for_ms.map(|ms| now.plus(-ms)), words: "a freeze".into() };
    step(&scale(), &Seen { created_at: CREATED, phase, sight, trial: Trial::Watching, progress: Progress::Watching, against: Some(against), now })
}

fn elsewhere(written: bool) -> Sight {
    Sight::Elsewhere { reason: "other".into(), written }
}

fn ended(next: &Next) -> Option<RemediationPhase> {
    match next {
        Next::Finish(phase, _) => Some(*phase),
        _ => None,
    }
}

#[test]
fn the_target_itself_says_whether_the_plan_was_carried_out() {
    let of = |plan: &Plan, object: Value| sight(plan, CREATED, Some(&object), None, true);
    let scale = scale();
    assert_eq!(of(&scale, deployment(4, 2, "x:2")), Sight::Planned);
    assert_eq!(of(&scale, deployment(5, 3, "x:2")), Sight::AsLeft);
    assert_eq!(of(&scale, deployment(6, 2, "x:2")), Sight::Restored);
    assert_eq!(of(&scale, deployment(6, 3, "x:9")), Sight::Touched);
    assert!(matches!(of(&scale, deployment(5, 4, "x:2")), Sight::Elsewhere { written: false, .. }));
    assert!(matches!(of(&scale, deployment(6, 4, "x:2")), Sight::Elsewhere { written: true, .. }));
    assert!(matches!(sight(&scale, CREATED, None, None, true), Sight::Elsewhere { .. }));
    let mut other = deployment(4, 2, "x:2");
    other["metadata"]["uid"] = "v".into();
    assert!(matches!(of(&scale, other), Sight::Elsewhere { .. }));

    let rollback = rollback();
    assert_eq!(of(&rollback, deployment(5, 2, "x:1")), Sight::AsLeft);
    // Scaled by somebody while the rollback stands, which was written last by us, by others, or by nobody knows whom.
    let written = |by: &str, at: &str| json!({"manager": by, "operation": "Update", "time": at, "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}});
    let managed = |mut object: Value, last: &str| {
        object["metadata"]["managedFields"] = json!([written("kubectl", "1970-01-01T00:16:00Z"), written(last, "1970-01-01T00:16:50Z")]);
        object
    };
    assert_eq!(of(&rollback, managed(deployment(6, 5, "x:1"), FIELD_MANAGER)), Sight::AsLeft);
    assert_eq!(of(&rollback, managed(deployment(9, 1, "x:1"), FIELD_MANAGER)), Sight::AsLeft);
    assert_eq!(of(&rollback, managed(deployment(6, 5, "x:1"), "kubectl-edit")), Sight::Touched);
    assert_eq!(of(&rollback, deployment(6, 5, "x:1")), Sight::Touched);
    let mut more = managed(deployment(6, 5, "x:1"), FIELD_MANAGER);
    more["spec"]["minReadySeconds"] = json!(1);
    assert_eq!(of(&rollback, more), Sight::Touched, "not only scaled");
    assert_eq!(of(&rollback, deployment(6, 2, "x:2")), Sight::Restored);
    // Put back, and scaled in between or since.
    assert_eq!(of(&rollback, deployment(7, 5, "x:2")), Sight::Restored);
    assert!(matches!(of(&rollback, deployment(7, 5, "x:3")), Sight::Elsewhere { written: true, .. }));
    assert!(matches!(of(&scale, deployment(7, 5, "x:2")), Sight::Elsewhere { written: true, .. }), "whose number it is says nobody");
}

#[test]
fn whether_a_pod_was_evicted_its_own_presence_says() {
    let evict = plan(Action::EvictPod(Evict { pod: "orders-1-a".into(), uid: "p".into() }), Inverse::Empty);
    let of = |generation: i64, stands: bool, tried: bool| sight(&evict, CREATED, Some(&deployment(generation, 2, "x:2")), Some(stands), tried);
    assert_eq!(of(4, true, false), Sight::Planned);
    assert_eq!(of(4, true, true), Sight::Planned, "it was asked for, and nobody did it");
    assert_eq!(of(4, false, true), Sight::AsLeft);
    assert_eq!(of(7, false, true), Sight::Touched);
    assert!(matches!(of(5, true, true), Sight::Elsewhere { written: false, .. }));
    for generation in [4, 5] {
        let gone = of(generation, false, false);
        let next = next(&evict, RemediationPhase::Planned, gone, Progress::Watching, 0);
        assert!(matches!(&next, Next::Finish(RemediationPhase::Refused, why) if why.contains("nobody here asked")), "{next:?}");
    }
    let failed = |sight| next(&evict, RemediationPhase::Applied, sight, Progress::Failed("errors".into()), 0);
    for sight in [Sight::AsLeft, Sight::Touched] {
        assert!(matches!(failed(sight), Next::Finish(RemediationPhase::Failed, why) if why.contains("there is nothing to put back")));
    }
}

#[test]
fn an_admitted_plan_is_applied_until_it_expires() {
    let plan = scale();
    assert_eq!(next(&plan, RemediationPhase::Planned, Sight::Planned, Progress::Watching, 60_000), Next::Apply);
    assert_eq!(ended(&next(&plan, RemediationPhase::Planned, Sight::Planned, Progress::Watching, 60_001)), Some(RemediationPhase::Refused));
}

#[test]
fn a_write_that_was_not_noted_is_not_repeated() {
    for sight in [Sight::AsLeft, Sight::Touched] {
        assert_eq!(next(&scale(), RemediationPhase::Planned, sight, Progress::Watching, 999_999), Next::NoteApplied);
    }
}

#[test]
fn what_somebody_else_changed_is_left_alone() {
    use RemediationPhase as P;
    let cases = [
        (P::Planned, elsewhere(false), P::Refused),
        (P::Planned, elsewhere(true), P::Failed),
        (P::Planned, Sight::Restored, P::Failed),
        (P::Applied, elsewhere(true), P::Failed),
        (P::Applied, Sight::Restored, P::Failed),
        (P::Applied, Sight::Planned, P::Failed),
        (P::Reverting, elsewhere(true), P::Failed),
        (P::Reverting, Sight::Touched, P::Failed),
        (P::Reverting, Sight::Planned, P::Failed),
    ];
    for (phase, sight, end) in cases {
        let next = next(&scale(), phase, sight.clone(), Progress::Watching, 0);
        assert_eq!(ended(&next), Some(end), "{phase:?} {sight:?}");
    }
}

#[test]
fn what_did_not_help_is_put_back() {
    use RemediationPhase as P;
    let failed = Progress::Failed("errors".into());
    assert_eq!(next(&scale(), P::Applied, Sight::AsLeft, Progress::Watching, 0), Next::Watch);
    assert_eq!(ended(&next(&scale(), P::Applied, Sight::AsLeft, Progress::Verified, 0)), Some(P::Verified));
    assert_eq!(ended(&next(&rollback(), P::Applied, Sight::Touched, Progress::Verified, 0)), Some(P::Verified));
    assert_eq!(next(&scale(), P::Applied, Sight::AsLeft, failed.clone(), 0), Next::NoteReverting("errors".into()));
    assert_eq!(next(&scale(), P::Reverting, Sight::AsLeft, Progress::Watching, 600_000), Next::Revert);
    assert_eq!(ended(&next(&scale(), P::Reverting, Sight::Restored, Progress::Watching, 700_000)), Some(P::Reverted));
    // Too late, somebody in between, or nothing to put back: a person.
    assert_eq!(ended(&next(&scale(), P::Reverting, Sight::AsLeft, Progress::Watching, 600_001)), Some(P::Failed));
    assert_eq!(ended(&next(&rollback(), P::Applied, Sight::Touched, failed.clone(), 0)), Some(P::Failed));
    let mut kept = scale();
    kept.inverse = Inverse::Empty;
    assert_eq!(ended(&next(&kept, P::Applied, Sight::AsLeft, failed, 0)), Some(P::Failed));
}

#[test]
fn what_stands_against_a_write_is_told_at_the_end() {
    use RemediationPhase as P;
    let told = |next: Next, phase: P, words: &str| assert!(matches!(&next, Next::Finish(p, why) if *p == phase && why.ends_with(words)), "{next:?}");
    assert_eq!(against(P::Planned, Sight::Planned, None, 60_000), Next::Apply);
    told(against(P::Planned, Sight::Planned, None, 60_001), P::Refused, "not applied within 60 s of the plan; at last: a freeze");
    // A revert is owed: it is tried until it was refused for a while, or until its time is up.
    for refused_for_ms in [None, Some(0), Some(30_000)] {
        assert_eq!(against(P::Reverting, Sight::AsLeft, refused_for_ms, 500_000), Next::Revert);
    }
    told(against(P::Reverting, Sight::AsLeft, Some(30_001), 500_000), P::Failed, "not put back: a freeze");
    told(against(P::Reverting, Sight::AsLeft, None, 600_001), P::Failed, "not put back within 600 s of the plan; at last: a freeze");
    assert_eq!(ended(&against(P::Reverting, Sight::Restored, Some(30_001), 0)), Some(P::Reverted));
}

#[test]
fn a_verdict_stands_until_there_is_another_answer() {
    let next = |before: Option<&Against>, verdict, now| Against::after(before, "words".into(), verdict, UnixMillis(now));
    let first = next(None, true, 1);
    let second = next(Some(&first), true, 2);
    assert_eq!((first.refused_since, second.refused_since), (Some(UnixMillis(1)), Some(UnixMillis(1))));
    let lost = next(Some(&second), false, 3);
    assert_eq!((lost.refused_since, next(Some(&lost), true, 4).refused_since), (None, Some(UnixMillis(4))));
}

#[test]
fn what_an_outage_hid_is_no_sign_of_illness() {
    let watch = |looked_at: i64| Watch { since: Some(CREATED), looked_at: Some(CREATED.plus(looked_at)), gap_ms: 0 };
    let at = |watch: Watch, now: i64| watch.resumed(&scale(), CREATED, CREATED.plus(now));
    for (looked_at, now) in [(10_000, 10_000), (10_000, 15_000), (10_000, 540_001)] {
        assert_eq!(at(watch(looked_at), now), watch(looked_at), "no gap, or no time left for one");
    }
    let anew = at(watch(10_000), 30_000);
    assert_eq!(anew, Watch { since: None, looked_at: None, gap_ms: 20_000 });
    assert_eq!(at(anew, 90_000), anew, "not looked at yet");
    assert_eq!(at(Watch::default(), 90_000), Watch::default());
}

/// A rollback of four replicas that begins with one pod, and the target as it was, held back, let go, and put back.
fn wide() -> (Plan, [Value; 3]) {
    let with = |generation: i64, image: &str| {
        let mut object = deployment(generation, 4, image);
        object["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        object
    };
    let mut plan = rollback();
    let settings = Some(Settings { replicas: 3, watch_ms: 10_000 });
    plan.canary = Canary::of(settings, &plan.proposal.action, &with(4, "x:2"));
    plan.proposal.target = Target::of(&with(4, "x:2")).unwrap();
    let Inverse::Template { template, .. } = plan.inverse else { panic!() };
    plan.inverse = Inverse::Template { template, replicas: Some(4) };
    let held = plan.canary.as_ref().unwrap().hold(&with(5, "x:1")).unwrap();
    (plan, [held, with(6, "x:1"), with(6, "x:2")])
}

#[test]
fn how_far_a_change_is_that_begins_with_one_pod_the_target_says() {
    let (plan, [held, released, restored]) = wide();
    let of = |object: &Value| sight(&plan, CREATED, Some(object), None, true);
    assert_eq!((of(&held), of(&released), of(&restored)), (Sight::Held, Sight::AsLeft, Sight::Restored));
    let at = |object: &Value, generation: i64| {
        let mut object = object.clone();
        object["metadata"]["generation"] = json!(generation);
        object
    };
    assert_eq!(of(&at(&restored, 7)), Sight::Restored, "put back once the rest had followed");
    // One write more than ours.
    assert_eq!((of(&at(&held, 6)), of(&at(&released, 7))), (Sight::Touched, Sight::Touched));
    assert_eq!(of(&at(&released, 5)), Sight::Touched, "somebody else made the change, and at once");
    let mut slower = held;
    slower["spec"]["minReadySeconds"] = json!(7);
    assert_eq!(of(&slower), Sight::Touched);
}

#[test]
fn the_rest_follows_a_first_pod_that_is_well_and_no_other() {
    use RemediationPhase as P;
    let (plan, _) = wide();
    let seen = |phase, sight, trial, against, age_ms: i64| {
        let now = CREATED.plus(age_ms);
        step(&plan, &Seen { created_at: CREATED, phase, sight, trial, progress: Progress::Watching, against, now })
    };
    let held = |trial, age_ms| seen(P::Canary, Sight::Held, trial, None, age_ms);
    assert_eq!(seen(P::Planned, Sight::Held, Trial::Watching, None, 999_999), Next::NoteHeld, "written, and not noted");
    assert_eq!((held(Trial::Watching, 0), held(Trial::Watching, 220_000)), (Next::Try, Next::Try));
    assert!(matches!(held(Trial::Watching, 220_001), Next::NoteReverting(why) if why.contains("nothing shows")));
    assert_eq!(held(Trial::Well, 0), Next::Release);
    assert_eq!(held(Trial::Ill("errors".into()), 0), Next::NoteReverting("errors".into()));
    assert_eq!(seen(P::Canary, Sight::AsLeft, Trial::Well, None, 0), Next::NoteApplied, "let go, and not noted");
    assert_eq!(seen(P::Reverting, Sight::Held, Trial::Watching, None, 0), Next::Revert);
    // What may not go on is put back: after a while of refusals, or when its time is up.
    let refused = |for_ms: i64, age_ms: i64| Some(Against { refused_since: Some(CREATED.plus(age_ms - for_ms)), words: "a pause".into() });
    assert_eq!(seen(P::Canary, Sight::Held, Trial::Well, refused(30_000, 50_000), 50_000), Next::Release);
    for (against, age_ms, words) in [(refused(30_001, 50_000), 50_000, "may not follow: a pause"), (None, 220_001, "in time")] {
        let next = seen(P::Canary, Sight::Held, Trial::Well, against, age_ms);
        assert!(matches!(&next, Next::NoteReverting(why) if why.contains(words)), "{next:?}");
    }
    assert_eq!(held(Trial::Well, 220_000), Next::Release);
    for sight in [Sight::Planned, Sight::Touched, Sight::Restored, elsewhere(true)] {
        assert_eq!(ended(&seen(P::Canary, sight.clone(), Trial::Well, None, 0)), Some(P::Failed), "{sight:?}");
    }
    assert_eq!(ended(&seen(P::Applied, Sight::Held, Trial::Well, None, 0)), Some(P::Failed), "somebody held it back again");
}

#[test]
fn a_finished_plan_stays_finished() {
    use RemediationPhase as P;
    for phase in [P::Verified, P::Reverted, P::Refused, P::Failed] {
        for sight in [Sight::Planned, Sight::AsLeft, Sight::Touched, Sight::Restored, elsewhere(true)] {
            assert_eq!(next(&scale(), phase, sight, Progress::Failed("x".into()), 0), Next::Done);
        }
    }
}

#[test]
fn whoever_takes_over_late_still_looks_for_the_soak_time() {
    let at = |since: i64, gap_ms: i64| deadline(&scale(), CREATED, CREATED.plus(5_000), CREATED.plus(since), gap_ms, 60_000).since(CREATED);
    assert_eq!(at(6_000, 0), 65_000);
    assert_eq!(at(300_000, 0), 325_000);
    // After an outage controllers come back late.
    assert_eq!(at(300_000, 20_000), 355_000);
    assert_eq!(at(300_000, 60_000), 430_000);
    // The time that a revert needs stays free.
    assert_eq!(at(599_000, 0), 540_000);
}
