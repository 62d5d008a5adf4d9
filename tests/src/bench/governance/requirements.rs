//! SC-001: every derived requirement, and what shows that it is kept: rows of other parts, a probe of its own, or a scenario.

use std::process::Command;
use std::time::Duration;

use assent_api::resources::{Blueprint, RemediationPhase, Verdict};
use assent_core::ledger::Entry;
use futures::future::join_all;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::ground::{ALICE, End, Ground};
use super::report::{Criterion, Section};
use crate::images::{self, program};
use crate::scene::Case;
use crate::world::SHOP;

/// What shows it.
enum Shown {
    /// Rows of which all hold and at least one begins so.
    Rows(&'static str),
    /// A probe of this name.
    Probe(&'static str),
    /// A row that begins so, of what `make demo-blueprints` last saw on a real node.
    Scenario(&'static str),
}
use Shown::{Probe, Rows, Scenario};

const LIST: [(&str, &str, Shown); 26] = [
    ("R1", "parse YAML", Probe("check")),
    ("R2", "validate completely, errors located", Probe("errors")),
    ("R3", "track versions", Probe("versions")),
    ("R4", "react to a change within 60 s", Rows("SC-008")),
    ("R5", "weighted utilisation", Scenario("1 ")),
    ("R6", "scale up above, down below, hold between", Scenario("4 ")),
    ("R7", "tune resources inside bounds", Scenario("6 ")),
    ("R8", "written rationale", Rows("SC-005")),
    ("R9", "three tiers", Rows("SC-002")),
    ("R10", "global rules", Probe("above")),
    ("R11", "approval routed to those who are named", Rows("SC-009")),
    ("R12", "raise the limit after approval", Probe("raised")),
    ("R13", "block within a second", Rows("forbidden blocked")),
    ("R14", "alert security", Rows("forbidden alerts")),
    ("R15", "suggest alternatives", Rows("forbidden answered")),
    ("R16", "circuit breaker", Rows("SC-010")),
    ("R17", "cooldown", Rows("SC-010")),
    ("R18", "rate limit", Rows("SC-010")),
    ("R19", "stabilise before it counts", Probe("soaked")),
    ("R20", "critical and trigger flags of checks", Probe("flags")),
    ("R21", "automatic rollback that can be switched off", Probe("switched")),
    ("R22", "isolation per service", Rows("SC-007")),
    ("R23", "conflicts resolved by priority", Probe("ranked")),
    ("R24", "full audit", Rows("SC-005")),
    ("R25", "readable by kubectl", Probe("kubectl")),
    ("R26", "dashboards", Probe("dashboard")),
];

/// SC-001, given everything that was measured.
pub(super) async fn coverage(ground: &Ground, sections: &[Section]) -> Section {
    let mut section = Section::new(
        "SC-001 blueprint completeness",
        "Each derived requirement against what the other parts measured, or a probe of real objects and commands.",
    );
    let rows: Vec<&Criterion> = sections.iter().flat_map(|section| &section.rows).collect();
    let probes = probes(ground).await;
    for (id, what, shown) in LIST {
        let (seen, holds) = match shown {
            Rows(prefix) => {
                let of: Vec<_> = rows.iter().filter(|row| row.metric.starts_with(prefix)).collect();
                let held = of.iter().filter(|row| row.met).count();
                (format!("{held} of {} rows `{prefix}…` hold", of.len()), held == of.len() && held > 0)
            }
            Probe(name) => {
                let found = probes.iter().find(|(probe, ..)| *probe == name);
                found.map_or_else(|| ("the probe did not run".to_owned(), false), |(_, seen, holds)| (format!("probe: {seen:.300}"), *holds))
            }
            Scenario(prefix) => scenario(prefix),
        };
        section.case(&format!("{id} {what}"), "shown", seen, holds);
    }
    section.counted("SC-001 requirements shown", 26);
    section
}

/// What `make demo-blueprints` wrote beside this benchmark's own file.
fn scenario(prefix: &str) -> (String, bool) {
    let file = images::root().join("target/bench/scenarios.json");
    let Ok(text) = std::fs::read_to_string(&file) else { return ("run `make demo-blueprints` before this".to_owned(), false) };
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let row = rows.iter().find(|row| row["metric"].as_str().is_some_and(|metric| metric.starts_with(prefix)));
    let row = row.unwrap_or_else(|| panic!("{} has no row `{prefix}…`", file.display()));
    (format!("make demo-blueprints: {} {} s ({})", row["metric"], row["ours"], row["note"]), row["met"] == true)
}

/// Name, what was seen, whether that is right.
type Seen = (&'static str, String, bool);

async fn probes(ground: &Ground) -> Vec<Seen> {
    ground.executor(|setting| setting.verify_within_seconds = 12).await;
    let mut probes = desk();
    probes.push(errors(ground).await);
    probes.extend(approved(ground).await);
    probes.push(flags(ground).await);
    probes.push(switched(ground).await);
    probes.push(ranked(ground).await);
    let folder = images::root().join("manifests/optional/grafana").display().to_string();
    let applied = ground.scene.world.cluster.kubectl(&["apply", "--dry-run=server", "-k", &folder]).await;
    probes.push(("dashboard", format!("`kubectl apply -k manifests/optional/grafana`: {applied:?}"), applied.is_ok()));
    let kinds = ground.scene.world.cluster.kubectl(&["get", "bp,dec,apr,cb,rem", "-A", "-o", "name"]).await.unwrap_or_else(|error| error.to_string());
    let names = ["blueprint", "decision", "approvalrequest", "circuitbreaker", "remediation"];
    let there: Vec<&str> = names.into_iter().filter(|name| kinds.contains(&format!("{name}.assent.dev/"))).collect();
    probes.push(("kubectl", format!("kubectl get bp,dec,apr,cb,rem lists {}", there.join(", ")), there.len() == names.len()));
    probes
}

/// What needs no cluster.
fn desk() -> Vec<Seen> {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
    write(
        "own.yaml",
        "apiVersion: assent.dev/v1alpha1\nkind: Blueprint\nmetadata: {name: orders, namespace: shop}\nspec:\n  target: {kind: Deployment, name: orders}\n  mode: autonomous\n  limits: {maxReplicas: 9}\n  operations: {allowed: [ScaleWorkload]}\n",
    );
    write("above.yaml", "apiVersion: assent.dev/v1alpha1\nkind: ClusterBlueprint\nmetadata: {name: all}\nspec:\n  operations: {forbidden: [ScaleWorkload]}\n");
    let assent = |arguments: &[&str]| {
        let output = Command::new(program("kubectl-assent")).current_dir(files.path()).args(arguments).output().unwrap();
        output.status.code().unwrap_or(-1)
    };
    let checked = assent(&["blueprint", "check", "own.yaml"]);
    let scale = ["blueprint", "classify", "ScaleWorkload", "--replicas", "3", "-f", "own.yaml"];
    let (own, above) = (assent(&scale), assent(&[&scale[..], &["-f", "above.yaml"]].concat()));
    vec![
        ("check", format!("`blueprint check` of a YAML file ends with {checked}"), checked == 0),
        ("above", format!("`blueprint classify` ends with {own}, and below a ClusterBlueprint that forbids it with {above}"), (own, above) == (0, 3)),
    ]
}

/// Five services that want to be planned at once, the least important first, where a guardrail lets three plans be open: of those that
/// wait the more important goes first, and the others hear of it, also those for whom no room is left.
async fn ranked(ground: &Ground) -> Seen {
    let ranks = [("low", "low"), ("standard", "low"), ("standard", "medium"), ("standard", "high"), ("high", "low")];
    ground.no_executor().await;
    let mut cases = Vec::new();
    for (number, (criticality, priority)) in ranks.into_iter().enumerate() {
        let case = ground.scale(&format!("r-ranked-{number}"), 3, &json!({"criticality": criticality, "priority": priority})).await;
        ground.scene.decide(&case).await;
        cases.push(case);
    }
    ground.executor(|_| ()).await;
    let ends = join_all(cases.iter().map(|case| ground.end(case, Duration::from_secs(90)))).await;
    let record = &ground.scene.record;
    let intent = |case: &Case| record.of(&case.incident).into_iter().find(|entry| entry.kind == "apply-intended");
    let mut intents: Vec<(usize, Entry)> = cases.iter().enumerate().filter_map(|(rank, case)| Some((rank, intent(case)?))).collect();
    intents.sort_by_key(|(_, entry)| entry.sequence);
    // Whoever comes to an empty queue goes at once.
    let order: Vec<usize> = intents.iter().map(|(rank, _)| *rank).collect();
    let waited = order.get(1..).unwrap_or_default();
    let ordered = waited.windows(2).all(|pair| pair[0] > pair[1]);
    let lost: Vec<(usize, &End)> = ends.iter().enumerate().filter(|(rank, _)| !order.contains(rank)).collect();
    let rightly = lost.iter().all(|(rank, end)| waited.iter().all(|won| won > rank) && end.words.contains("plans are open"));
    let told = intents.iter().filter(|(_, entry)| entry.body["overtakenBy"].is_array()).count();
    let seen = format!(
        "ranks 0 to 4 came in this order and were planned in order {order:?}; {told} of these heard who overtook them, {} heard that there is no room",
        lost.len()
    );
    let shown = order.len() >= 2 && ordered && rightly && told + lost.len() > 0;
    ("ranked", seen, shown)
}

async fn errors(ground: &Ground) -> Seen {
    let spec =
        json!({"target": {"kind": "Deployment", "name": "x"}, "limits": {"minReplicas": 5, "maxReplicas": 2}, "actions": [{"name": "DeleteEverything"}]});
    let wrong: Blueprint =
        serde_json::from_value(json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "wrong"}, "spec": spec})).unwrap();
    let api: Api<Blueprint> = Api::namespaced(ground.scene.world.admin.clone(), SHOP);
    let said = api.create(&PostParams::default(), &wrong).await.err().map_or_else(|| "taken".to_owned(), |error| error.to_string());
    let both = said.contains("limits") && said.contains("actions");
    ("errors", format!("two things are wrong at once: {said}"), both)
}

/// An operation beyond the limit that a person agreed to: whether it soaked, which version its plan names, and what became of the limit.
async fn approved(ground: &Ground) -> Vec<Seen> {
    let api: Api<Blueprint> = Api::namespaced(ground.scene.world.admin.clone(), SHOP);
    ground.scale("r-raised", 3, &json!({"limits": {"maxReplicas": 3}})).await;
    ground.edit("r-raised", &json!({"version": "1.0.1"})).await;
    let case = ground.again("r-raised", 4).await;
    let generation = api.get("r-raised").await.unwrap().metadata.generation;
    ground.scene.decide(&case).await;
    let request = ground.scene.until_request(&case, assent_api::resources::ApprovalPhase::Pending).await;
    ground.says(ALICE, &request, Verdict::Approve).await.unwrap();
    let plan = ground.scene.until_phase(&case, RemediationPhase::Verified).await;
    let pinned = assent_api::parse_plan(&plan).unwrap().blueprint.generation;
    let most = api.get("r-raised").await.unwrap().spec.limits.max_replicas;
    let entries = ground.scene.record.of(&case.incident);
    let at = |kind: &str| entries.iter().find(|entry| entry.kind == kind).map(|entry| entry.at);
    let soaked = at("applied").zip(at("verified")).map_or(0, |(applied, verified)| verified.since(applied));
    vec![
        ("versions", format!("after an edit the plan names generation {pinned}, the Blueprint has {generation:?}"), Some(pinned) == generation && pinned > 1),
        ("raised", format!("4 replicas were approved beyond 3, and `limits.maxReplicas` is {most:?}"), most == Some(4)),
        ("soaked", format!("{soaked} ms from the write to `verified`, with a soak of 2 s"), soaked >= 2000),
    ]
}

async fn flags(ground: &Ground) -> Seen {
    let check = |flag: bool| -> Value {
        let check = json!({"name": "ready_replicas", "type": "threshold", "target": ">= 9", "critical": flag, "rollbackTrigger": flag});
        json!({"verification": {"stabilization": "1s", "checks": [check]}})
    };
    let (lax, strict) = (ground.scale("r-lax", 3, &check(false)).await, ground.scale("r-strict", 3, &check(true)).await);
    for case in [&lax, &strict] {
        ground.scene.decide(case).await;
    }
    let patience = std::time::Duration::from_secs(150);
    let (lax, strict) = tokio::join!(ground.end(&lax, patience), ground.end(&strict, patience));
    let seen = format!("a check that does not hold: without flags {}, critical and a trigger {}", lax.told(), strict.told());
    ("flags", seen, (lax.what.as_str(), strict.what.as_str()) == ("verified", "reverted"))
}

async fn switched(ground: &Ground) -> Seen {
    let mut ends = Vec::new();
    for (name, automatic) in [("r-auto", true), ("r-manual", false)] {
        ground.scene.network.ill_of.lock().unwrap().insert(name.into());
        let case = ground.scale(name, 3, &json!({"verification": {"rollback": {"automatic": automatic}}})).await;
        ground.scene.decide(&case).await;
        ends.push(ground.end(&case, std::time::Duration::from_secs(150)).await);
    }
    let seen = format!("automatic: {}; not automatic: {} ({})", ends[0].told(), ends[1].told(), ends[1].words);
    ("switched", seen, ends[0].what == "reverted" && ends[1].what == "failed" && ends[1].words.contains("leaves undoing it to people"))
}
