//! SC-009: ten ways in which people answer, or do not, and what comes of each.

use std::time::Duration;

use assent_api::resources::{ApprovalPhase, Verdict};
use futures::future::join_all;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use super::ground::{ALICE, BOB, Ground, rule_in};
use super::report::Section;
use crate::people::Person;
use crate::scene::Case;
use crate::world::SHOP;

/// How long people have.
const ASKED_SECONDS: u32 = 40;
/// Longest that a case may take to its end.
const PATIENCE: Duration = Duration::from_secs(90);

/// A case that asks so many people on call, and its request.
async fn asking(ground: &Ground, name: &str, count: u32) -> Case {
    let spec = json!({"mode": "approve", "operations": {"allowed": ["ScaleWorkload"], "approvers": ["group:oncall", "group:leavers"], "count": count}});
    let case = ground.scale(name, 3, &spec).await;
    ground.scene.decide(&case).await;
    case
}

/// SC-009.
pub(super) async fn workflows(ground: &Ground) -> Vec<Section> {
    ground.executor(|setting| setting.approve_within_seconds = ASKED_SECONDS).await;
    let mut section = Section::new(
        "SC-009 approval reliability",
        "Ten workflows through a running executor; people answer under their own names, as the API server authenticates them.",
    );
    for group in ["leavers", "others"] {
        ground.scene.world.let_approve(group).await;
    }
    // Nobody answers these three, or not enough of them; their time runs out while the others are asked.
    let expires = asking(ground, "p-expires", 1).await;
    let left = asking(ground, "p-left", 2).await;
    let twice = asking(ground, "p-twice", 2).await;
    let pending = ApprovalPhase::Pending;
    let leaver = Person { user: "lea", groups: &["leavers"] };
    let request = ground.scene.until_request(&left, pending).await;
    let heard = ground.says(leaver, &request, Verdict::Approve).await.is_ok();
    let bindings: Api<RoleBinding> = Api::namespaced(ground.scene.world.admin.clone(), SHOP);
    bindings.delete("approvers-leavers", &DeleteParams::default()).await.unwrap();
    let heard = heard && ground.says(BOB, &request, Verdict::Approve).await.is_ok();
    let request = ground.scene.until_request(&twice, pending).await;
    let first = ground.says(ALICE, &request, Verdict::Approve).await.is_ok();
    let again = ground.says(ALICE, &request, Verdict::Approve).await;

    for (name, verdict, expected) in [("p-approved", Verdict::Approve, "verified"), ("p-denied", Verdict::Deny, "refused by approval")] {
        let case = asking(ground, name, 1).await;
        let request = ground.scene.until_request(&case, pending).await;
        ground.says(ALICE, &request, verdict).await.unwrap();
        let end = done(ground, &case).await;
        section.case(&format!("one person: {verdict:?}"), expected, &end, end == expected);
    }
    let case = asking(ground, "p-two", 2).await;
    let request = ground.scene.until_request(&case, pending).await;
    ground.says(ALICE, &request, Verdict::Approve).await.unwrap();
    let early = ground.scene.planned(&case).await;
    ground.says(BOB, &request, Verdict::Approve).await.unwrap();
    let end = done(ground, &case).await;
    let by = ground.scene.record.until(&case.incident, "apply-intended").await.body["approvedBy"].to_string();
    section.case("two people of two", "verified, by alice and bob", format!("{end}, by {by}"), end == "verified" && !early && by == r#"["alice","bob"]"#);

    // The same change in the next incident is asked anew.
    let next = ground.again("p-approved", 4).await;
    ground.scene.decide(&next).await;
    let end = ground.end(&next, PATIENCE).await;
    section.case("a word that was used, in the next incident", "asked", end.told(), end.what == "asked");

    let case = asking(ground, "p-forged", 1).await;
    let request = ground.scene.until_request(&case, pending).await;
    let world = &ground.scene.world;
    let mallory = Person { user: "mallory", groups: &["others"] };
    let machine = Person { user: "system:serviceaccount:shop:robot", groups: &["oncall"] };
    let mut elsewhere = world.word(ALICE, &request, Verdict::Approve);
    elsewhere.spec.change = "0".repeat(64);
    for (what, said, rule) in [
        ("by somebody whom nobody asks", ground.says(mallory, &request, Verdict::Approve).await, "approval"),
        ("in another's name", world.says(mallory, &world.word(ALICE, &request, Verdict::Approve)).await, "approval"),
        ("by a machine", ground.says(machine, &request, Verdict::Approve).await, "account"),
        ("for another change", world.says(ALICE, &elsewhere).await, "approval"),
    ] {
        let seen = said.err().map_or_else(|| "taken".to_owned(), |words| format!("refused by {}", rule_in(&words)));
        let planned = ground.scene.planned(&case).await;
        section.case(what, &format!("refused by {rule}, nothing planned"), &seen, seen == format!("refused by {rule}") && !planned);
    }
    let ends = join_all([&expires, &left, &twice].map(|case| done(ground, case))).await;
    let expired = |end: &str| end == "refused by approval";
    section.case("nobody answers in time", "refused by approval", &ends[0], expired(&ends[0]));
    section.case("two people, of whom one may no longer approve", "both heard, refused by approval", &ends[1], heard && expired(&ends[1]));
    let told = again.as_ref().err().map_or("taken", |words| if words.contains("already exists") { "already said" } else { "refused" });
    section.case(
        "twice by one person of two",
        "already said, refused by approval",
        format!("{told}, {}", ends[2]),
        first && told == "already said" && expired(&ends[2]),
    );
    section.counted("SC-009 approval workflows", 10);
    vec![section]
}

/// How a case that asked ended at last.
async fn done(ground: &Ground, case: &Case) -> String {
    let entry = tokio::time::timeout(PATIENCE, ground.scene.record.first(&case.incident, &["verified", "reverted", "failed", "refused"])).await;
    entry.map_or_else(|_| "nothing".into(), |entry| entry.body["rule"].as_str().map_or_else(|| entry.kind.clone(), |rule| format!("{} by {rule}", entry.kind)))
}
