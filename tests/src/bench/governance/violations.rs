//! SC-004: every write of the executor's user that the API server stored is one that an admitted plan speaks of, and the executor's
//! account wrote nothing else.

use assent_api::facts::created_at;
use assent_api::names::{EXECUTOR_USER, account_user, accounts};
use assent_api::parse_plan;
use assent_api::resources::Remediation;
use assent_core::ids::UnixMillis;
use serde_json::{Value, json};

use super::ground::{Ground, rule_in};
use super::report::{Criterion, Section};

/// Groups that the executor's own account writes: its kinds, its lease, its questions.
const OWN: [&str; 5] = ["assent.dev", "coordination.k8s.io", "authorization.k8s.io", "events.k8s.io", ""];

/// SC-004 on what everything before it left, after three attempts at more.
pub(super) async fn compliance(ground: &Ground) -> Vec<Section> {
    ground.no_executor().await;
    let world = &ground.scene.world;
    let case = ground.scale("v-case", 3, &json!({})).await;
    ground.scale("v-other", 3, &json!({})).await;
    let plan = ground.plan(&case).await;
    let before = world.apply_proposal(&case.incident, &case.proposal, None, false).await;
    world.submit(&plan).await.unwrap();
    let more = |old: &Value| {
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(4);
        new
    };
    let voted = world.rewrite(&[case.incident.as_str()], &case.proposal, false, &more).await;
    let path = "/apis/apps/v1/namespaces/shop/deployments/v-other/scale?fieldManager=assent-executor";
    let scale = crate::world::get(&world.admin, path).await.unwrap();
    let elsewhere = world.write(&[case.incident.as_str()], "PUT", path, &more(&scale)).await;
    let log = std::fs::read_to_string(world.cluster.audit_log()).unwrap();
    let plans = world.remediations(&world.admin).list(&kube::api::ListParams::default()).await.unwrap().items;
    let mut section = section("SC-004 governance compliance", &log, &plans);
    for (what, answer) in [("a write before its plan", before), ("another number than voted", voted), ("another service than voted", elsewhere)] {
        let seen = answer.err().map_or_else(|| "stored".to_owned(), |words| format!("refused by {}", rule_in(&words)));
        section.case(what, "refused", &seen, seen != "stored");
    }
    section.counted("SC-004 attempts at more that were refused", 3);
    vec![section]
}

/// What the log holds against the plans.
pub(super) fn section(title: &str, log: &str, plans: &[Remediation]) -> Section {
    let mut section = Section::new(
        title,
        "The API server's audit log, whole: each stored write of the executor's user against the admitted plans, and each of its account's own.",
    );
    let known: Vec<_> = plans.iter().filter_map(|stored| Some((parse_plan(stored).ok()?, created_at(stored)?))).collect();
    let (mut writes, mut others) = (0, Vec::new());
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let stored = event.pointer("/responseStatus/code").and_then(Value::as_u64).is_some_and(|code| (200..300).contains(&code));
        let reads = ["get", "list", "watch"].contains(&text("/verb"));
        if !stored || reads || text("/stage") != "ResponseComplete" || text("/requestURI").contains("dryRun") {
            continue;
        }
        let what = || format!("{} {}", text("/verb"), text("/requestURI"));
        if text("/impersonatedUser/username") == EXECUTOR_USER {
            writes += 1;
            let at = text("/requestReceivedTimestamp").parse::<jiff::Timestamp>().map_or(UnixMillis(0), |at| UnixMillis(at.as_millisecond()));
            let extra = event.pointer("/impersonatedUser/extra").map(Value::to_string).unwrap_or_default();
            let covers = known.iter().any(|(plan, created)| {
                let target = &plan.proposal.target;
                extra.contains(plan.incident.as_str())
                    && (target.namespace.as_str(), target.name.as_str()) == (text("/objectRef/namespace"), text("/objectRef/name"))
                    && *created <= at
            });
            if !covers {
                others.push(what());
            }
        } else if text("/user/username") == account_user(accounts::EXECUTOR) && !OWN.contains(&text("/objectRef/apiGroup")) {
            others.push(what());
        }
    }
    let mut row = Criterion::count("SC-004 writes that no admitted plan covers", others.len(), others.len(), 0);
    row.required = "0".into();
    row.runs = writes;
    row.met = others.is_empty() && writes > 0;
    row.note = Some(if others.is_empty() { format!("{writes} writes, {} plans", plans.len()) } else { others.join("; ") });
    section.rows.push(row);
    section
}
