//! SIGKILL of the executor at every one of its steps, for every action of the catalogue: whoever starts next comes to the same
//! end, and nothing is done twice. An onlooker holds the step, so that the executor dies exactly there, however fast it is.

use std::sync::atomic::Ordering;

use assent_api::resources::RemediationPhase;
use assent_core::action::{Inverse, NAMES};
use assent_core::proof::as_left;
use assent_core::workload::Kind;
use assent_tests::onlooker::{Held, Moment, Onlooker};
use assent_tests::scene::{Case, Scene};
use assent_tests::world::kind_of;
use futures::future::join_all;

/// Where the executor is killed on the way to a verified end.
#[derive(Clone, Copy, Debug)]
enum Applying {
    /// The intent is recorded, and the answer still on its way.
    Intended,
    /// There is a plan, which has not entered.
    Planned,
    /// The plan has entered the CircuitBreaker, and the write is on its way.
    Entered,
    /// The target is written, and nobody noted it.
    Written,
    /// It is noted, and not recorded.
    Noted,
    /// It is noted and recorded, and the answer still on its way.
    Recorded,
    /// Its effect is watched.
    Watched,
    /// The outcome is recorded, and not noted.
    Verified,
}

/// Where it is killed when the action did not help.
#[derive(Clone, Copy, Debug)]
enum Undoing {
    /// It is noted that the change must be undone, and the write is on its way.
    Reverting,
    /// The target is as it was, and that is neither recorded nor noted.
    Restored,
    /// The outcome is recorded, and not noted.
    Recorded,
}

const APPLYING: [Applying; 8] =
    [Applying::Intended, Applying::Planned, Applying::Entered, Applying::Written, Applying::Noted, Applying::Recorded, Applying::Watched, Applying::Verified];
const UNDOING: [Undoing; 3] = [Undoing::Reverting, Undoing::Restored, Undoing::Recorded];

/// One voted incident for each of these actions of the catalogue, on workloads of all kinds in turn.
async fn voted(scene: &Scene, turn: usize, moment: &str, actions: &[&str]) -> Vec<Case> {
    let of = async |(at, action): (usize, &&str)| {
        let kind = Kind::ALL.into_iter().cycle().nth(turn + at).unwrap();
        scene.of(kind, action, &format!("{}-{moment}", action.to_lowercase())).await
    };
    let cases = join_all(actions.iter().enumerate().map(of)).await;
    assert!(cases.iter().map(|case| case.proposal.action.name()).eq(actions.iter().copied()), "each action is voted for as itself");
    cases
}

/// The moment with all actions of the catalogue, as many at once as guardrail `one-writer` lets be open.
fn at_once<T: Copy>(moment: T) -> impl Iterator<Item = (T, &'static [&'static str])> {
    NAMES.chunks(3).map(move |actions| (moment, actions))
}

fn held(onlooker: &Onlooker, cases: &[Case], moment: Moment) -> Vec<Held> {
    cases.iter().map(|case| onlooker.hold(case, moment)).collect()
}

async fn come(held: &mut [Held]) {
    for step in held {
        step.come().await;
    }
}

async fn recorded(scene: &Scene, cases: &[Case], kind: &str) {
    for case in cases {
        scene.record.until(&case.incident, kind).await;
    }
}

async fn in_phase(scene: &Scene, cases: &[Case], phase: RemediationPhase) {
    join_all(cases.iter().map(|case| scene.until_phase(case, phase))).await;
}

/// Lets all cases come to that moment. What is returned holds them there.
async fn applied_to(scene: &Scene, onlooker: &Onlooker, cases: &[Case], moment: Applying) -> Vec<Held> {
    let holds = match moment {
        Applying::Planned => Some(Moment::Entry),
        Applying::Entered | Applying::Noted => Some(Moment::Write),
        Applying::Written => Some(Moment::Note),
        _ => None,
    };
    let mutes = match moment {
        Applying::Intended => Some("apply-intended"),
        Applying::Recorded => Some("applied"),
        Applying::Verified => Some("verified"),
        _ => None,
    };
    let mut held = holds.map(|step| held(onlooker, cases, step)).unwrap_or_default();
    if let Some(kind) = mutes {
        scene.record.mute(kind);
    }
    for case in cases {
        scene.decide(case).await;
    }
    come(&mut held).await;
    match (moment, mutes) {
        (_, Some(kind)) => recorded(scene, cases, kind).await,
        (Applying::Noted, _) => {
            scene.record.down.store(true, Ordering::Relaxed);
            held.drain(..).for_each(Held::pass);
            in_phase(scene, cases, RemediationPhase::Applied).await;
        }
        (Applying::Watched, _) => recorded(scene, cases, "applied").await,
        _ => {}
    }
    held
}

/// As [`applied_to`], for cases that do not help.
async fn undone_to(scene: &Scene, onlooker: &Onlooker, cases: &[Case], moment: Undoing) -> Vec<Held> {
    if matches!(moment, Undoing::Recorded) {
        ["reverted", "failed"].into_iter().for_each(|kind| scene.record.mute(kind));
    }
    for case in cases {
        scene.decide(case).await;
    }
    if matches!(moment, Undoing::Recorded) {
        for case in cases {
            scene.record.until(&case.incident, if undoable(case) { "reverted" } else { "failed" }).await;
        }
        return vec![];
    }
    recorded(scene, cases, "applied").await;
    let mut held = held(onlooker, cases, Moment::Write);
    come(&mut held).await;
    if matches!(moment, Undoing::Restored) {
        scene.record.down.store(true, Ordering::Relaxed);
        held.drain(..).for_each(Held::pass);
        for case in cases {
            let restored = case.proposal.target.generation + 2;
            scene.world.until(kind_of(&case.proposal), &case.proposal.target.name, |d| d["metadata"]["generation"] == restored).await;
        }
    }
    held
}

fn undoable(case: &Case) -> bool {
    case.proposal.action.act().inverse(&case.before) != Ok(Inverse::Empty)
}

/// The ledger answers again, and what was held is denied: whoever asked for it is dead.
fn over(scene: &Scene, held: Vec<Held>) {
    drop(held);
    scene.record.unmute();
    scene.record.down.store(false, Ordering::Relaxed);
}

/// How many changes of the specification so many writes are.
fn generations(case: &Case, writes: usize) -> i64 {
    if case.proposal.action.evicts().is_some() { 0 } else { i64::try_from(writes).unwrap() }
}

/// The pod that was voted for is gone, and one has taken its place.
async fn replaced(scene: &Scene, case: &Case) {
    let Some(evict) = case.proposal.action.evicts() else { return };
    let pods = scene.world.pods_of(&case.proposal.target.name).await;
    assert!(pods.len() == 2 && !pods.iter().any(|pod| pod["metadata"]["uid"] == evict.uid), "{evict:?}: {pods:#?}");
}

async fn verified_once(scene: &Scene, case: &Case) {
    scene.until_phase(case, RemediationPhase::Verified).await;
    let (now, later) = scene.now(case).await;
    let what = &case.proposal.target.name;
    assert!(as_left(&case.proposal.action, &now) && later == generations(case, 1), "{what}: changed as voted, and once: {now:#}");
    replaced(scene, case).await;
    assert_eq!(scene.audited(&case.incident).len(), 1, "{what}: one write");
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", "verified"], "{what}");
}

async fn undone_once(scene: &Scene, case: &Case) {
    let what = &case.proposal.target.name;
    let (phase, kind, writes) = if undoable(case) { (RemediationPhase::Reverted, "reverted", 2) } else { (RemediationPhase::Failed, "failed", 1) };
    let plan = scene.until_phase(case, phase).await;
    let (now, later) = scene.now(case).await;
    assert_eq!(later, generations(case, writes), "{what}: one change of its specification with each write");
    replaced(scene, case).await;
    if undoable(case) {
        assert_eq!(now["spec"], case.before["spec"], "{what}: as it was");
    } else {
        let message = plan.status.unwrap().message.unwrap();
        assert!(as_left(&case.proposal.action, &now) && message.contains("there is nothing to put back"), "{what}: {message}");
    }
    assert_eq!(scene.audited(&case.incident).len(), writes, "{what}");
    assert_eq!(scene.record.kinds(&case.incident), ["apply-intended", "applied", kind], "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_any_two_steps_loses_nothing_and_repeats_nothing() {
    let scene = Scene::start().await;
    // More than that guardrail lets one cluster have within the hour.
    scene.world.unbind("restart-storm").await;
    let onlooker = Onlooker::start(&scene.world).await;
    let mut executor = scene.executor();
    for (turn, (moment, actions)) in APPLYING.into_iter().flat_map(at_once).enumerate() {
        let cases = voted(&scene, turn, &format!("{moment:?}").to_lowercase(), actions).await;
        let held = applied_to(&scene, &onlooker, &cases, moment).await;
        executor.kill().await;
        if matches!(moment, Applying::Noted) {
            assert!(cases.iter().all(|case| scene.record.kinds(&case.incident) == ["apply-intended"]), "noted, and not recorded");
        }
        over(&scene, held);
        executor = scene.executor();
        join_all(cases.iter().map(|case| verified_once(&scene, case))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_a_revert_ends_in_one_revert() {
    let mut scene = Scene::start().await;
    scene.setting.verify_within_seconds = 4;
    scene.network.ill.store(true, Ordering::Relaxed);
    // All of them fail, and none is to be held up for that.
    scene.world.brake(100).await;
    let onlooker = Onlooker::start(&scene.world).await;
    let mut executor = scene.executor();
    for (turn, (moment, actions)) in UNDOING.into_iter().flat_map(at_once).enumerate() {
        let mut cases = voted(&scene, turn, &format!("{moment:?}").to_lowercase(), actions).await;
        // Where there is nothing to undo, only the end is left to be killed at.
        cases.retain(|case| undoable(case) || matches!(moment, Undoing::Recorded));
        let held = undone_to(&scene, &onlooker, &cases, moment).await;
        executor.kill().await;
        over(&scene, held);
        executor = scene.executor();
        join_all(cases.iter().map(|case| undone_once(&scene, case))).await;
    }
}
