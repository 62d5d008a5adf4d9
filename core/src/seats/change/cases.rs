//! Cases of the change seat: what changed when, what it saw healthy, and where it lets nobody go back to.

use serde_json::json;

use super::*;
use crate::action::{Action, Restart, Rollback};
use crate::ballot::{Proposal, StanceVerdict};
use crate::incident::Context;
use crate::seats::testing::{START, bare_position, context, said, service, target};

const SETTLE: i64 = 15_000;

pub(in crate::seats) fn template(image: &str) -> Template {
    Template::of(&json!({"metadata": {"labels": {"app": "orders", "pod-template-hash": image}},
        "spec": {"containers": [{"name": "c", "image": image, "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}))
}

pub(in crate::seats) fn workload(image: &str, generation: i64) -> Workload {
    let counts = Counts { observed: true, wanted: 2, exist: 2, updated: 2, ready: 2, available: 2 };
    Workload { uid: "uid-orders".into(), generation, template: template(image), counts }
}

/// On the way to `x:2`.
fn rolling(updated: u32, exist: u32) -> Workload {
    let ready = workload("x:2", 2);
    Workload { counts: Counts { updated, exist, ..ready.counts }, ..ready }
}

/// Orders ran `x:1` for a minute from `START` on, then `x:2` was rolled out and became ready.
pub(in crate::seats) fn rolled_out() -> (View, UnixMillis) {
    let orders = service("orders");
    let mut view = View::new(SETTLE);
    view.configuration("shop", "settings", Digest::of_bytes(b"v1"), START.plus(-900_000), START.plus(-900_000));
    view.revision(&orders, 1, template("x:1"), START.plus(-900_000), START);
    view.images(&orders, &template("x:1").digest, vec!["x@sha256:1".into()]);
    view.workload(&orders, workload("x:1", 1), START);
    view.synced();
    view.tick(START.plus(SETTLE));
    let rollout = START.plus(60_000);
    view.revision(&orders, 2, template("x:2"), rollout, rollout);
    view.images(&orders, &template("x:2").digest, vec!["x@sha256:2".into()]);
    view.workload(&orders, rolling(1, 3), rollout);
    view.workload(&orders, workload("x:2", 2), rollout.plus(4_000));
    (view, rollout)
}

fn say(view: &View, context: &Context) -> Vec<String> {
    said(&view.cause(&Asked { context, epoch: 1, now: context.since.plus(5_000) }))
}

fn proposal(view: &View, context: &Context) -> Option<Proposal> {
    let Opinion::Cause(vote) = view.cause(&Asked { context, epoch: 1, now: context.since.plus(5_000) }) else { return None };
    vote.hypotheses.first()?.remedies.first().cloned()
}

#[test]
fn the_nearer_the_rollout_the_more_suspect() {
    let (view, rollout) = rolled_out();
    for (after, expected) in [
        (-5_000, "orders application bad-rollout 85"),
        (6_000, "orders application bad-rollout 85"),
        (200_000, "orders application bad-rollout 75"),
        (500_000, "orders application bad-rollout 60"),
        (700_000, "healthy"),
        (-20_000, "healthy"),
    ] {
        assert_eq!(say(&view, &context("orders", rollout.plus(after))), [expected], "{after}");
    }
}

#[test]
fn it_goes_back_to_what_it_saw_healthy_with_images_and_configuration() {
    let (view, rollout) = rolled_out();
    let proposal = proposal(&view, &context("orders", rollout.plus(6_000))).unwrap();
    let Action::RollbackWorkload(rollback) = proposal.action else { panic!() };
    assert_eq!((rollback.revision, rollback.template), (1, template("x:1").digest));
    assert_eq!(rollback.images, ["x@sha256:1"]);
    assert_eq!(rollback.configurations[0].name, "settings");
    assert_eq!(proposal.target, target("orders"));
}

#[test]
fn it_proposes_no_way_back_to_what_it_has_not_seen() {
    let orders = service("orders");
    let mut view = View::new(SETTLE);
    view.revision(&orders, 1, template("x:1"), START, START);
    view.revision(&orders, 2, template("x:2"), START.plus(60_000), START.plus(60_000));
    view.workload(
        &orders,
        Workload { template: Template { references: vec![], at_start: vec![], ..template("x:2") }, ..workload("x:2", 2) },
        START.plus(60_000),
    );
    view.synced();
    let context = context("orders", START.plus(66_000));
    assert_eq!(say(&view, &context), ["orders application bad-rollout 85"]);
    assert_eq!(proposal(&view, &context), None);
}

#[test]
fn changed_configuration_or_another_generation_closes_the_way_back() {
    let (mut view, rollout) = rolled_out();
    let asked = context("orders", rollout.plus(6_000));
    view.configuration("shop", "settings", Digest::of_bytes(b"v2"), START, rollout);
    assert_eq!(proposal(&view, &asked), None);
    let (view, rollout) = rolled_out();
    let mut stale = context("orders", rollout.plus(6_000));
    stale.workloads[1].target.generation = 9;
    assert_eq!(proposal(&view, &stale), None);
}

#[test]
fn an_edit_of_referenced_configuration_is_named_without_a_remedy() {
    let (mut view, rollout) = rolled_out();
    let edited = rollout.plus(900_000);
    view.configuration("shop", "settings", Digest::of_bytes(b"v2"), START, edited);
    // Its pods are replaced, and the new ones read it.
    view.workload(&service("orders"), rolling(1, 3), edited.plus(1_000));
    let context = context("orders", edited.plus(5_000));
    assert_eq!(say(&view, &context), ["orders application bad-config 85"]);
    assert_eq!(proposal(&view, &context), None);
}

#[test]
fn a_restart_is_no_change() {
    let (mut view, rollout) = rolled_out();
    let restarted = Template::of(&json!({"metadata": {"labels": {"app": "orders"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}},
        "spec": {"containers": [{"name": "c", "image": "x:2", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}));
    assert_eq!(restarted.shape, template("x:2").shape);
    let at = rollout.plus(800_000);
    view.revision(&service("orders"), 3, restarted.clone(), at, at);
    view.workload(&service("orders"), Workload { template: restarted, ..workload("x:2", 3) }, at);
    assert_eq!(say(&view, &context("orders", at.plus(5_000))), ["healthy"]);
}

/// The rollout of `x:2` is undone half a minute later: the ReplicaSet of `x:1` gets a new number.
fn rolled_back() -> (View, UnixMillis) {
    let (mut view, rollout) = rolled_out();
    let back = rollout.plus(30_000);
    view.incident_began(rollout.plus(5_000));
    view.revision(&service("orders"), 3, template("x:1"), START.plus(-900_000), back);
    view.workload(&service("orders"), workload("x:1", 3), back.plus(2_000));
    (view, back)
}

#[test]
fn a_return_to_what_was_healthy_is_not_suspect() {
    let (view, back) = rolled_back();
    assert_eq!(say(&view, &context("orders", back.plus(20_000))), ["healthy"]);
}

#[test]
fn a_return_to_what_was_healthy_on_other_configuration_is_suspect() {
    let (mut view, back) = rolled_back();
    view.configuration("shop", "settings", Digest::of_bytes(b"v2"), START, back.plus(-1_000));
    assert_eq!(say(&view, &context("orders", back.plus(20_000))), ["orders application bad-rollout 85"]);
}

#[test]
fn a_template_that_was_ready_only_before_the_incident_is_not_healthy() {
    let (mut view, rollout) = rolled_out();
    let bad = rollout.plus(30_000);
    view.tick(bad);
    assert!(view.memory.healthy(&service("orders"), &template("x:2").digest).is_some());
    view.incident_began(bad);
    assert!(view.memory.healthy(&service("orders"), &template("x:2").digest).is_none());
    assert!(view.memory.healthy(&service("orders"), &template("x:1").digest).is_some());
    view.tick(bad.plus(30_000));
    assert!(view.memory.healthy(&service("orders"), &template("x:2").digest).is_none());
}

#[test]
fn stances() {
    let (view, rollout) = rolled_out();
    let asked = context("orders", rollout.plus(6_000));
    let good = proposal(&view, &asked).unwrap();
    let Action::RollbackWorkload(rollback) = good.action.clone() else { panic!() };
    let other = |change: fn(&mut Rollback)| {
        let mut rollback = rollback.clone();
        change(&mut rollback);
        Proposal { action: Action::RollbackWorkload(rollback), target: target("orders") }
    };
    let restart = Proposal { action: Action::RestartWorkload(Restart { marker: "i.1".into() }), target: target("orders") };
    let mut changed = good.clone();
    changed.target.generation = 1;
    for (proposal, expected) in [
        (good, StanceVerdict::Support),
        (other(|r| r.template = Digest::of_bytes(b"forged")), StanceVerdict::Veto),
        (other(|r| r.template = template("x:2").digest), StanceVerdict::Veto),
        (other(|r| r.images = vec!["evil".into()]), StanceVerdict::Veto),
        (other(|r| r.configurations.clear()), StanceVerdict::Veto),
        (other(|r| r.healthy_at = r.healthy_at.plus(3_600_000)), StanceVerdict::Veto),
        (restart, StanceVerdict::NoObjection),
        (changed, StanceVerdict::Veto),
    ] {
        assert_eq!(bare_position(&view, &asked, rollout.plus(12_000), &proposal).verdict, expected, "{proposal:?}");
    }
}

#[test]
fn a_rollout_by_somebody_else_during_the_incident_is_left_alone() {
    let (mut view, rollout) = rolled_out();
    let asked = context("orders", rollout.plus(-120_000));
    let restart = Proposal { action: Action::RestartWorkload(Restart { marker: "i.1".into() }), target: target("orders") };
    assert_eq!(bare_position(&view, &asked, rollout, &restart).verdict, StanceVerdict::NoObjection);
    view.workload(&service("orders"), rolling(1, 2), rollout);
    assert_eq!(bare_position(&view, &asked, rollout, &restart).verdict, StanceVerdict::Veto);
}

#[test]
fn without_a_full_list_or_known_workloads_it_abstains() {
    let (view, rollout) = rolled_out();
    let mut elsewhere = context("orders", rollout);
    elsewhere.workloads.retain(|workload| workload.target.name != "orders");
    assert_eq!(say(&view, &elsewhere), ["abstains: none of the workloads in question is known"]);
    assert_eq!(say(&View::new(SETTLE), &elsewhere), ["abstains: the objects have not all been listed yet"]);
}
