//! The end-to-end suites against real servers, one binary. The first word of a file says its tier: `admit_` what is let
//! through, `agree_` what two must say alike, `refuse_` attacks, `survive_` faults of Assent itself, `heal_` faults of an
//! application, `demo_` how the demo behaves as a guest, `house_` rules of the repository.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod admit_slack;
mod admit_writes;
mod agree_costs;
mod agree_past;
mod agree_policies;
mod agree_types;
mod demo_guest;
mod house;
mod keep_configuration;
mod keep_revisions;
mod propose_operations;
mod refuse_authority;
mod refuse_people;
mod refuse_plans;
mod refuse_slack;
mod refuse_types;
mod refuse_votes;
mod refuse_weakened;
mod refuse_writes;
mod survive_gate;
mod survive_steps;
mod upgrade_kinds;

use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_core::plan::Plan;
use assent_tests::seats;
use assent_tests::world::World;
use serde_json::Value;

/// A Deployment `orders` at its second revision with a Blueprint, all seats for rolling it back, and an admitted plan.
struct Planned {
    incident: IncidentUid,
    proposal: Proposal,
    plan: Plan,
    good: Value,
}

async fn planned(world: &World) -> Planned {
    let voted = voted(world).await;
    world.submit(&voted.plan).await.unwrap();
    voted
}

async fn voted(world: &World) -> Planned {
    let first = world.deployment("orders", "registry.invalid/orders:1").await;
    let good = first.pointer("/spec/template").unwrap().clone();
    let second = world.deployment("orders", "registry.invalid/orders:2").await;
    world.blueprint("orders").await;
    let incident = seats::incident();
    let proposal = seats::rollback(&second, &good);
    world.quorum(&incident, &proposal).await;
    let plan = world.plan(&incident, &proposal).await;
    Planned { incident, proposal, plan, good }
}

/// A Deployment with a Blueprint and all seats for scaling it to `replicas`, and an admitted plan.
async fn planned_scale(world: &World, name: &str, replicas: u32) -> Planned {
    let voted = voted_scale(world, name, replicas).await;
    world.submit(&voted.plan).await.unwrap();
    voted
}

async fn voted_scale(world: &World, name: &str, replicas: u32) -> Planned {
    let deployment = world.deployment(name, "registry.invalid/x:1").await;
    world.blueprint(name).await;
    let incident = seats::incident();
    let proposal = seats::scale(&deployment, replicas);
    world.quorum(&incident, &proposal).await;
    let plan = world.plan(&incident, &proposal).await;
    Planned { incident, proposal, plan, good: Value::Null }
}

/// The refusal must name this rule of the gate.
fn refused<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>, rule: &str) {
    match result {
        Ok(value) => panic!("was admitted, but `{rule}` should refuse it: {value:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&format!("assent[{rule}]")), "refused, but not by `{rule}`: {text}");
            assert!(text.contains("would pass:"), "does not say what would have passed: {text}");
        }
    }
}

/// The refusal must contain these words of a native policy or of RBAC.
fn refused_natively<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>, words: &str) {
    let text = result.expect_err("was admitted").to_string();
    assert!(text.contains(words), "refused, but not for `{words}`: {text}");
}
