//! Cases: an edit that is undone by reading what the ConfigMap held before, and where there is no such way.

use serde_json::json;

use super::*;
use crate::action::{Configuration, Restart};
use crate::ballot::{Opinion, StanceVerdict};
use crate::canonical::Digest;
use crate::ids::UnixMillis;
use crate::seats::change::cases::{rolled_out, template, workload};
use crate::seats::change::{Template, Workload};
use crate::seats::testing::{START, bare_position, context, said, service, target};
use crate::seats::{Asked, Seat as _};

fn content(text: &str) -> Digest {
    Digest::of_bytes(text.as_bytes())
}

fn kept(text: &str) -> Configuration {
    Configuration { name: "settings".into(), digest: content(text) }
}

/// `x:2` has run well on `v1` for a quarter of an hour; then `settings` became `v2`, and a restart brought it in. The copy of `v1` is there.
fn edited() -> (View, UnixMillis) {
    let (mut view, rollout) = rolled_out();
    let orders = service("orders");
    view.tick(rollout.plus(20_000));
    let edit = rollout.plus(900_000);
    view.tick(edit);
    view.configuration("shop", "settings", content("v2"), START.plus(-900_000), edit);
    let restarted = Template::of(&json!({"metadata": {"labels": {"app": "orders"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}},
        "spec": {"containers": [{"name": "c", "image": "x:2", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}));
    view.revision(&orders, 3, restarted.clone(), edit.plus(1_000), edit.plus(1_000));
    view.workload(&orders, Workload { template: restarted, ..workload("x:2", 2) }, edit.plus(1_000));
    view.configuration("shop", &kept("v1").copy(), content("v1"), edit.plus(-800_000), edit.plus(-800_000));
    view.incident_began(edit.plus(5_000));
    (view, edit)
}

fn proposed(view: &View, edit: UnixMillis) -> Option<Proposal> {
    let context = context("orders", edit.plus(5_000));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now: edit.plus(10_000) });
    assert_eq!(said(&opinion), ["orders application bad-config 85"]);
    let Opinion::Cause(vote) = opinion else { panic!() };
    vote.hypotheses[0].remedies.first().cloned()
}

#[test]
fn what_a_config_map_held_when_all_was_well_is_read_again() {
    let (view, edit) = edited();
    assert!(view.references().contains(&("shop".to_owned(), kept("v1").copy())), "{:?}", view.references());
    let proposal = proposed(&view, edit).unwrap();
    let Action::RevertConfig(revert) = &proposal.action else { panic!() };
    assert_eq!((&revert.changed, &revert.healthy, revert.healthy_at), (&kept("v2"), &content("v1"), edit));
    assert_eq!(proposal.target, target("orders"));
}

#[test]
fn where_it_is_not_known_what_else_changes_nothing_is_proposed() {
    for (why, change) in [
        ("no copy was kept", (|view, _| view.configuration_gone("shop", &kept("v1").copy())) as fn(&mut View, UnixMillis)),
        ("the copy holds something else", |view, at| view.configuration("shop", &kept("v1").copy(), content("evil"), at, at)),
        ("it reads another one as well now", |view, at| {
            let reads_two = Template { references: vec!["settings".into(), "zother".into()], ..template("x:2") };
            view.configuration("shop", "zother", content("o2"), START, at);
            view.workload(&service("orders"), Workload { template: reads_two, ..workload("x:2", 2) }, at);
        }),
        ("something that it reads is gone", |view, at| {
            let reads_two = Template { references: vec!["settings".into(), "zother".into()], ..template("x:2") };
            view.workload(&service("orders"), Workload { template: reads_two, ..workload("x:2", 2) }, at);
        }),
        ("another object has its name", |view, at| view.workload(&service("orders"), Workload { uid: "other".into(), ..workload("x:2", 2) }, at)),
    ] {
        let (mut view, edit) = edited();
        change(&mut view, edit);
        assert_eq!(proposed(&view, edit), None, "{why}");
    }
}

#[test]
fn content_that_pods_have_not_read_yet_is_not_taken_for_healthy() {
    let (mut view, rollout) = rolled_out();
    let (orders, digest) = (service("orders"), template("x:2").digest);
    view.tick(rollout.plus(20_000));
    let edit = rollout.plus(60_000);
    view.configuration("shop", "settings", content("v2"), START.plus(-900_000), edit);
    view.tick(edit.plus(600_000));
    assert_eq!(view.memory.healthy(&orders, &digest).unwrap().configurations, [kept("v1")]);
    // Mounted as files, it is read while they run.
    let mounted = |image: &str| {
        Template::of(&json!({"metadata": {}, "spec": {"containers": [{"name": "c", "image": image}],
            "volumes": [{"name": "v", "configMap": {"name": "settings"}}]}}))
    };
    view.revision(&orders, 4, mounted("x:2"), edit, edit);
    view.images(&orders, &mounted("x:2").digest, vec!["x@sha256:2".into()]);
    view.workload(&orders, Workload { template: mounted("x:2"), ..workload("x:2", 3) }, edit);
    view.tick(edit.plus(650_000));
    let healthy = |view: &View| view.memory.healthy(&orders, &mounted("x:2").digest).unwrap().configurations.clone();
    assert_eq!(healthy(&view), [kept("v2")]);
    // But what was edited a moment ago may be to blame for what comes.
    let again = edit.plus(700_000);
    view.configuration("shop", "settings", content("v3"), START.plus(-900_000), again);
    view.tick(again.plus(500_000));
    assert_eq!(healthy(&view), [kept("v2")]);
    view.configuration("shop", &kept("v2").copy(), content("v2"), again, again);
    view.workload(&orders, Workload { template: mounted("x:2"), ..workload("x:2", 2) }, again.plus(500_000));
    let proposal = proposed(&view, again).unwrap();
    assert!(matches!(proposal.action, Action::RevertConfig(revert) if revert.healthy == content("v2")));
    view.tick(again.plus(700_000));
    assert_eq!(healthy(&view), [kept("v3")]);
}

#[test]
fn an_edit_that_no_pod_has_read_is_not_to_blame() {
    let (mut view, rollout) = rolled_out();
    view.tick(rollout.plus(20_000));
    let edit = rollout.plus(900_000);
    view.configuration("shop", "settings", content("v2"), START.plus(-900_000), edit);
    let context = context("orders", edit.plus(5_000));
    assert_eq!(said(&view.cause(&Asked { context: &context, epoch: 1, now: edit.plus(10_000) })), ["healthy"]);
}

/// As a chart does that writes the digest of a ConfigMap onto the template: the edit comes with a rollout that has no way back of its own.
#[test]
fn an_edit_that_a_rollout_brings_is_undone_too() {
    let (mut view, edit) = edited();
    let orders = service("orders");
    let charted = Template::of(&json!({"metadata": {"labels": {"app": "orders"}, "annotations": {"checksum/config": "v2"}},
        "spec": {"containers": [{"name": "c", "image": "x:2", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}));
    view.revision(&orders, 4, charted.clone(), edit.plus(1_000), edit.plus(1_000));
    view.workload(&orders, Workload { template: charted, ..workload("x:2", 2) }, edit.plus(2_000));
    let context = context("orders", edit.plus(5_000));
    let opinion = view.cause(&Asked { context: &context, epoch: 1, now: edit.plus(10_000) });
    assert_eq!(said(&opinion), ["orders application bad-rollout 85"]);
    let Opinion::Cause(vote) = opinion else { panic!() };
    assert!(matches!(&vote.hypotheses[0].remedies[0].action, Action::RevertConfig(revert) if revert.healthy == content("v1")));
}

#[test]
fn stances() {
    let (view, edit) = edited();
    let good = proposed(&view, edit).unwrap();
    let Action::RevertConfig(revert) = good.action.clone() else { panic!() };
    let other = |change: fn(&mut RevertConfig)| {
        let mut revert = revert.clone();
        change(&mut revert);
        Proposal { action: Action::RevertConfig(revert), target: target("orders") }
    };
    let restart = Proposal { action: Action::RestartWorkload(Restart { marker: "i.1".into() }), target: target("orders") };
    for (proposal, expected) in [
        (good, StanceVerdict::Support),
        (other(|r| r.healthy = Digest::of_bytes(b"evil")), StanceVerdict::Veto),
        (other(|r| r.changed.digest = Digest::of_bytes(b"v3")), StanceVerdict::Veto),
        (other(|r| r.changed.name = "other".into()), StanceVerdict::Veto),
        (other(|r| r.healthy_at = r.healthy_at.plus(3_600_000)), StanceVerdict::Veto),
        (restart, StanceVerdict::NoObjection),
    ] {
        assert_eq!(bare_position(&view, &context("orders", edit.plus(5_000)), edit.plus(12_000), &proposal).verdict, expected, "{proposal:?}");
    }
}
