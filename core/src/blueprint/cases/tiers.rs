//! The tier of an operation under one Blueprint.

use super::*;
use crate::action::{Action, Scale};
use crate::ids::UnixMillis;
use crate::incident::Mode;

/// A Wednesday morning.
const NOW: UnixMillis = UnixMillis(1_795_600_800_000);

fn classified(spec: &Value, operation: &Operation) -> Classification {
    effective(&[], &good(spec)).classify(operation, NOW)
}

fn tier(spec: &Value, name: &str) -> Tier {
    classified(spec, &Operation::named(name)).tier
}

fn adjust(container: &str, cpu: u64) -> Operation {
    let resources = vec![ResourceChange { container: container.into(), cpu: Some(cpu), ..ResourceChange::default() }];
    Operation { resources, ..Operation::named("AdjustResources") }
}

#[test]
fn every_name_has_a_tier() {
    for (name, wanted) in [
        ("ScaleWorkload", Tier::Allowed),
        ("scale_beyond_limits", Tier::Restricted),
        ("RestartWorkload", Tier::Allowed),
        ("restart_pods", Tier::Allowed),
        ("FailoverDatabase", Tier::Restricted),
        ("RollbackWorkload", Tier::Restricted),
        ("delete_deployment", Tier::Forbidden),
        ("DeleteDeployment", Tier::Forbidden),
        ("change_rbac", Tier::Forbidden),
        ("modify_secret", Tier::Forbidden),
        ("drop_table", Tier::Forbidden),
        ("CordonNode", Tier::Forbidden),
        ("make_coffee", Tier::Restricted),
        ("", Tier::Restricted),
        ("\u{0}💥 OR 1=1", Tier::Restricted),
    ] {
        assert_eq!(tier(&full(), name), wanted, "{name:?}");
    }
    assert_eq!(tier(&full(), &"x".repeat(1 << 16)), Tier::Restricted);
}

#[test]
fn inside_the_limits_by_itself_outside_with_people() {
    let inside = classified(&full(), &scale_to(5));
    assert_eq!((inside.tier, inside.executable, inside.reasons.len(), inside.approvals.len()), (Tier::Allowed, true, 0, 0));
    let outside = classified(&full(), &scale_to(6));
    assert_eq!((outside.tier, outside.executable, outside.alert), (Tier::Restricted, true, false));
    let asked: Vec<String> = outside.approvals.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["approval by 1 of group:devops-team"], "who is named for it, and not whom the rest asks");
    assert!(outside.because().contains("6 replicas are outside the limits (2 to 5 are inside)"), "{}", outside.because());
    // Too few are outside as well, and on no list that names a condition.
    let few = classified(&full(), &scale_to(1));
    assert_eq!(few.approvals.iter().map(ToString::to_string).collect::<Vec<_>>(), ["approval by 1 of group:sre"]);
    // Where nobody is named, nobody can approve.
    let nobody = classified(&minimal(), &scale_to(6));
    assert_eq!(nobody.tier, Tier::Restricted);
    assert!(nobody.approvals.iter().all(|approval| approval.approvers.is_empty()));
}

#[test]
fn resources_have_bounds_for_each_container() {
    for (container, cpu, wanted) in [
        ("app", 100, Tier::Allowed),
        ("app", 1_000, Tier::Allowed),
        ("app", 99, Tier::Restricted),
        ("app", 1_001, Tier::Restricted),
        ("other", 200, Tier::Allowed),
        ("other", 201, Tier::Restricted),
    ] {
        assert_eq!(classified(&full(), &adjust(container, cpu)).tier, wanted, "{container} {cpu}");
    }
    assert_eq!(classified(&with(full(), "/limits/containers", json!([])), &adjust("app", 100)).tier, Tier::Restricted, "no most is no leave");
}

#[test]
fn a_condition_says_when_it_asks() {
    let spec = |condition: &str| {
        let restricted = json!([{"operation": "ScaleWorkload", "condition": condition, "approvers": ["sre"]}]);
        with(minimal(), "/operations/restricted", restricted)
    };
    assert_eq!(classified(&spec("target_replicas > 4"), &scale_to(4)).tier, Tier::Allowed);
    assert_eq!(classified(&spec("target_replicas > 4"), &scale_to(5)).tier, Tier::Restricted);
    assert_eq!(classified(&spec("target_replicas < current_replicas"), &scale_to(2)).tier, Tier::Restricted);
    assert_eq!(tier(&spec("target_replicas > 4"), "ScaleWorkload"), Tier::Restricted, "a figure that is not known asks");
    // Listed, and the condition does not hold: it is not allowed by that.
    let only = with(spec("target_replicas > 4"), "/operations/allowed", json!([]));
    assert_eq!(classified(&only, &scale_to(4)).tier, Tier::Restricted);
}

#[test]
fn the_mode_goes_before_the_lists() {
    let mode = |mode: &str| with(full(), "/mode", json!(mode));
    assert_eq!(tier(&mode("approve"), "RestartWorkload"), Tier::Restricted);
    let observed = classified(&mode("observe"), &Operation::named("RestartWorkload"));
    assert_eq!((observed.tier, observed.alert), (Tier::Forbidden, false), "nobody need be alarmed");
    assert_eq!(good(&with(full(), "/mode", Value::Null)).rules.mode, Mode::Observe);
}

#[test]
fn outside_windows_it_asks_and_in_a_freeze_it_does_not_act() {
    let restart = Operation::named("RestartWorkload");
    let blueprint = effective(&[], &good(&full()));
    let at = |text: &str| UnixMillis(text.parse::<i64>().unwrap() * 1000);
    assert_eq!(blueprint.classify(&restart, NOW).tier, Tier::Allowed);
    // Saturday.
    let weekend = blueprint.classify(&restart, NOW.plus(3 * 86_400_000));
    assert_eq!(weekend.tier, Tier::Restricted);
    assert!(weekend.because().contains("no window is open"));
    // 24 December 2026 is a Thursday.
    let frozen = blueprint.classify(&restart, at("1798070400"));
    assert_eq!((frozen.tier, frozen.alert), (Tier::Forbidden, false));
    assert!(frozen.because().contains("holidays"));
    assert_eq!(blueprint.classify(&restart, at("1798070399")).tier, Tier::Allowed);
}

#[test]
fn what_is_forbidden_is_answered_with_what_can_be_done() {
    let forbidden = classified(&full(), &Operation::named("delete_deployment"));
    let names: Vec<&str> = forbidden.alternatives.iter().map(|alternative| alternative.name).collect();
    assert_eq!(names, ["ask_a_person", "disable_ingress", "scale_to_zero"]);
    assert!(forbidden.alert && !forbidden.executable && !forbidden.because().is_empty());
    // What is forbidden itself is not offered.
    let less = classified(&with(full(), "/operations/forbidden/3", json!("disable_ingress")), &Operation::named("delete_deployment"));
    assert!(!less.alternatives.iter().any(|alternative| alternative.name == "disable_ingress"));
    // Who only looks can still tell somebody.
    let observed = classified(&with(full(), "/mode", json!("observe")), &Operation::named("delete_deployment"));
    assert_eq!(observed.alternatives.iter().map(|alternative| alternative.name).collect::<Vec<_>>(), ["ask_a_person"]);
    // What nobody knows is asked for in vain, and says so.
    let unknown = classified(&full(), &Operation::named("make_coffee"));
    assert!(!unknown.executable && !unknown.alternatives.is_empty() && !unknown.alert);
}

#[test]
fn no_list_makes_what_is_never_done_possible() {
    for name in NEVER {
        let spec = with(minimal(), "/operations", json!({"allowed": ["ScaleWorkload"], "approvers": ["sre"]}));
        let said = classified(&spec, &Operation::named(name));
        assert_eq!((said.tier, said.executable, said.alert), (Tier::Forbidden, false, true), "{name}");
    }
}

#[test]
fn a_voted_action_is_an_operation_with_its_figures() {
    let scale = Action::ScaleWorkload(Scale { replicas: 4 });
    let operation = Operation::of(&scale, Some(&json!({"spec": {"replicas": 3}})));
    assert_eq!(operation.replicas, Some(ReplicaChange { from: Some(3), to: 4 }));
    assert_eq!(Operation::of(&scale, None).replicas, Some(ReplicaChange { from: None, to: 4 }));
}
