//! Attacks on people's word, and on the breaker: what asks is done once those who are asked agreed, and never on a word that is
//! forged, old, borrowed, for something else, or used.

use assent_api::names::accounts;
use assent_api::resources::{Approval, ApprovalRequest, CircuitBreaker, Verdict, breaker_name};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Planned, refused, refused_natively};
use assent_tests::people::Person;
use assent_tests::seats;
use assent_tests::world::World;

const ALICE: Person<'_> = Person { user: "alice", groups: &["oncall"] };
const BOB: Person<'_> = Person { user: "bob", groups: &["oncall"] };

/// A Deployment whose Blueprint asks `count` people on call, and all seats for scaling it.
async fn voted(world: &World, name: &str, count: u32) -> Planned {
    let workload = world.deployment(name, "registry.invalid/x:1").await;
    world.asking_blueprint(name, &["group:oncall"], count).await;
    let incident = seats::incident();
    let proposal = seats::scale(&workload, 3);
    world.quorum(&incident, &proposal).await;
    let plan = world.plan(&incident, &proposal).await;
    Planned { incident, proposal, plan, good: serde_json::Value::Null }
}

async fn asked(world: &World, it: &Planned, count: u32, seconds: u32) -> ApprovalRequest {
    world.ask(&world.request(&it.incident, &it.proposal, &["group:oncall"], count, seconds)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_is_done_once_two_people_agreed() {
    let world = World::start("people").await;
    world.let_approve("oncall").await;
    let it = voted(&world, "orders", 2).await;
    refused(world.submit(&it.plan).await, "approval");
    let request = asked(&world, &it, 2, 600).await;
    refused(world.submit(&it.plan).await, "approval");
    world.says(ALICE, &world.word(ALICE, &request, Verdict::Approve)).await.unwrap();
    refused(world.submit(&it.plan).await, "approval");
    // Twice by one person is once.
    refused_natively(world.says(ALICE, &world.word(ALICE, &request, Verdict::Approve)).await, "already exists");
    world.says(BOB, &world.word(BOB, &request, Verdict::Approve)).await.unwrap();
    world.submit(&it.plan).await.unwrap();
    // Whoever may no longer approve does not count any more, up to the write itself.
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(world.admin.clone(), "shop");
    bindings.delete("approvers-oncall", &DeleteParams::default()).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, None, false).await, "approval");
    world.let_approve("oncall").await;
    world.apply_proposal(&it.incident, &it.proposal, None, false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_is_forged_borrowed_or_for_something_else_is_none() {
    let world = World::start("people").await;
    world.let_approve("oncall").await;
    world.let_approve("others").await;
    let it = voted(&world, "orders", 1).await;
    let request = asked(&world, &it, 1, 600).await;
    let mallory = Person { user: "mallory", groups: &["others"] };
    // In another's name, for a group that one is not in, or is no longer in.
    refused(world.says(mallory, &world.word(ALICE, &request, Verdict::Approve)).await, "approval");
    refused(world.says(Person { user: "alice", groups: &["others"] }, &world.word(ALICE, &request, Verdict::Approve)).await, "approval");
    // By somebody whom nobody asks, and by somebody who may not.
    refused(world.says(mallory, &world.word(mallory, &request, Verdict::Approve)).await, "approval");
    let guest = Person { user: "guest", groups: &["nobody"] };
    refused_natively(world.says(guest, &world.word(guest, &request, Verdict::Approve)).await, "forbidden");
    // By a machine, whatever it may do else.
    let machine = Person { user: "system:serviceaccount:shop:robot", groups: &["oncall"] };
    refused(world.says(machine, &world.word(machine, &request, Verdict::Approve)).await, "account");
    // For another change, to no request, and under another name.
    let mut other = world.word(ALICE, &request, Verdict::Approve);
    other.spec.change = "0".repeat(64);
    refused(world.says(ALICE, &other).await, "approval");
    let mut nothing = world.word(ALICE, &request, Verdict::Approve).spec;
    nothing.request = "apr-0".into();
    refused(world.says(ALICE, &Approval::named(nothing).unwrap()).await, "approval");
    let mut twice = world.word(ALICE, &request, Verdict::Approve);
    twice.metadata.name = Some("again".into());
    refused(world.says(ALICE, &twice).await, "approval");
    refused(world.submit(&it.plan).await, "approval");
    // A word does not change and is not taken back.
    world.says(ALICE, &world.word(ALICE, &request, Verdict::Deny)).await.unwrap();
    let words: Api<Approval> = Api::namespaced(world.admin.clone(), "assent-system");
    let name = world.word(ALICE, &request, Verdict::Deny).name_any();
    refused(words.delete(&name, &DeleteParams::default()).await, "immutable");
    refused_natively(words.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"verdict": "Approve"}}))).await, "never changes");
    // One refusal suffices.
    world.says(BOB, &world.word(BOB, &request, Verdict::Approve)).await.unwrap();
    refused(world.submit(&it.plan).await, "approval");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_came_too_late_or_was_used_is_none() {
    let world = World::start("people").await;
    world.let_approve("oncall").await;
    let late = voted(&world, "orders", 1).await;
    let request = asked(&world, &late, 1, 2).await;
    world.says(ALICE, &world.word(ALICE, &request, Verdict::Approve)).await.unwrap();
    // Server times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    refused(world.submit(&late.plan).await, "approval");
    refused(world.says(BOB, &world.word(BOB, &request, Verdict::Approve)).await, "approval");
    // It is for this incident: the same change in the next one is asked anew.
    let it = voted(&world, "web", 1).await;
    let request = asked(&world, &it, 1, 600).await;
    world.says(ALICE, &world.word(ALICE, &request, Verdict::Approve)).await.unwrap();
    let next = seats::incident();
    world.quorum(&next, &it.proposal).await;
    refused(world.submit(&world.plan(&next, &it.proposal).await).await, "approval");
    world.submit(&it.plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_executor_asks_what_was_voted_for_and_those_whom_the_blueprint_names() {
    let world = World::start("people").await;
    let it = voted(&world, "orders", 1).await;
    let ask = |approvers: &[&str], count| world.request(&it.incident, &it.proposal, approvers, count, 600);
    refused(world.ask(&ask(&["group:friends"], 1)).await, "payload");
    refused(world.ask(&ask(&["group:oncall"], 0)).await, "payload");
    let other = seats::scale(&world.read_deployment("orders").await, 4);
    refused(world.ask(&world.request(&it.incident, &other, &["group:oncall"], 1, 600)).await, "tally");
    let mut lying = ask(&["group:oncall"], 1);
    lying.spec.action = "nothing much".into();
    refused(world.ask(&lying).await, "payload");
    let mut hidden = ask(&["group:oncall"], 1);
    hidden.metadata.labels = None;
    refused(world.ask(&hidden).await, "payload");
    let director: Api<ApprovalRequest> = Api::namespaced(world.account(accounts::DIRECTOR).await, "assent-system");
    refused_natively(director.create(&PostParams::default(), &ask(&["group:oncall"], 1)).await, "forbidden");
    let admin: Api<ApprovalRequest> = Api::namespaced(world.admin.clone(), "assent-system");
    refused(admin.create(&PostParams::default(), &ask(&["group:oncall"], 1)).await, "account");
    world.ask(&ask(&["group:oncall"], 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_enter_one_after_the_other_and_nobody_edits_the_breaker() {
    let world = World::start("people").await;
    let first = super::voted_scale(&world, "orders", 3).await;
    world.submit_only(&first.plan).await.unwrap();
    // Not before it entered.
    refused(world.apply_proposal(&first.incident, &first.proposal, None, false).await, "breaker");
    world.enter(&first.plan).await.unwrap();
    // Another of the same service waits until it is over.
    let next = seats::incident();
    world.quorum(&next, &first.proposal).await;
    refused(world.submit(&world.plan(&next, &first.proposal).await).await, "conflict");
    let name = breaker_name(&first.proposal.target.service());
    let own = world.breakers(&world.executor);
    let status = |entered: &[&str]| Patch::Merge(json!({"status": {"entered": entered}}));
    for entered in [&[] as &[&str], &["rem-1"], &["rem-1", "rem-2"]] {
        assert!(own.patch_status(&name, &PatchParams::default(), &status(entered)).await.is_err(), "{entered:?}");
    }
    refused_natively(own.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"promotions": []}}))).await, "forbidden");
    let admin = world.breakers(&world.admin);
    refused(admin.patch_status(&name, &PatchParams::default(), &status(&[])).await, "account");
    // People lift under their own name, now.
    let lift = |by: &str, at: &str| Patch::Merge(json!({"spec": {"lifted": {"by": by, "at": at}}}));
    let now = jiff::Timestamp::now().to_string();
    refused(admin.patch(&name, &PatchParams::default(), &lift("somebody", &now)).await, "breaker");
    let me = whoami(&world).await;
    refused(admin.patch(&name, &PatchParams::default(), &lift(&me, "2031-01-01T00:00:00Z")).await, "breaker");
    admin.patch(&name, &PatchParams::default(), &lift(&me, &now)).await.unwrap();
    let mut wrong = CircuitBreaker::for_service(&first.proposal.target.service());
    wrong.metadata.name = Some("shop.other".into());
    refused(admin.create(&PostParams::default(), &wrong).await, "breaker");
    world.apply_proposal(&first.incident, &first.proposal, None, false).await.unwrap();
}

async fn whoami(world: &World) -> String {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews").body(serde_json::to_vec(&body).unwrap()).unwrap();
    let review: serde_json::Value = world.admin.request(request).await.unwrap();
    review["status"]["userInfo"]["username"].as_str().unwrap().to_owned()
}
