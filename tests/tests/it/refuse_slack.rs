//! Attacks on people's word by Slack: what Slack signed for one request counts once and is counted again at every write; whatever is
//! forged, old, altered or for something else is refused with its reason, whoever brings it.

use assent_api::names::{SYSTEM_NAMESPACE, accounts};
use assent_api::resources::{Approval, ApprovalRequest, Verdict};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::{Planned, refused, refused_natively};
use assent_tests::people::Person;
use assent_tests::seats;
use assent_tests::slack::{Callback, Message, SIGNING_SECRET, now};
use assent_tests::world::{SHOP, World, apply};

const JANE: &str = "T1DC2JH3J/U2CERLKJA";
const ASKED: [&str; 2] = ["group:oncall", "slack:T1DC2JH3J/U2CERLKJA"];

async fn voted(world: &World, name: &str) -> Planned {
    let workload = world.deployment(name, "registry.invalid/x:1").await;
    world.chat_blueprint(name, "ScaleWorkload", &ASKED).await;
    let incident = seats::incident();
    let proposal = seats::scale(&workload, 3);
    world.quorum(&incident, &proposal).await;
    let plan = world.plan(&incident, &proposal).await;
    Planned { incident, proposal, plan, good: Value::Null }
}

async fn asked(world: &World, it: &Planned, seconds: u32) -> ApprovalRequest {
    world.ask(&world.request(&it.incident, &it.proposal, &ASKED, 1, seconds)).await.unwrap()
}

/// An honest director's approval of what `user` pressed a moment ago.
fn approved(user: &str, request: &ApprovalRequest) -> Approval {
    Callback::pressed(SIGNING_SECRET, user, "approve", &Message::of(request), now()).word(user, Verdict::Approve, request)
}

async fn bring(world: &World, account: &str, word: &Approval) -> Result<Approval, kube::Error> {
    Api::namespaced(world.account(account).await, SYSTEM_NAMESPACE).create(&PostParams::default(), word).await
}

/// Refused by the gate, for this reason.
fn not_taken(result: Result<Approval, kube::Error>, reason: &str) {
    let said = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    refused(result, "approval");
    assert!(said.contains(reason), "{said} does not say: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_of_slack_counts_once_and_is_verified_at_every_count() {
    let world = World::start("slack").await;
    world.let_approve("oncall").await;
    let it = voted(&world, "orders").await;
    let request = asked(&world, &it, 600).await;
    not_taken(bring(&world, accounts::DIRECTOR, &approved(JANE, &request)).await, "the signing secret cannot be read");
    world.sign_with(SIGNING_SECRET);
    not_taken(bring(&world, accounts::DIRECTOR, &approved(JANE, &request)).await, "may not `approve`");
    world.let_slack_approve(JANE).await;
    refused(world.submit(&it.plan).await, "approval");
    bring(&world, accounts::DIRECTOR, &approved(JANE, &request)).await.unwrap();
    // The same word again, also one that was pressed later, is the same object.
    refused_natively(bring(&world, accounts::DIRECTOR, &approved(JANE, &request)).await, "already exists");
    // It is for this incident: the same change in the next one is asked anew.
    let next = seats::incident();
    world.quorum(&next, &it.proposal).await;
    refused(world.submit(&world.plan(&next, &it.proposal).await).await, "approval");
    world.submit(&it.plan).await.unwrap();
    // A word that Slack no longer vouches for is none at the write, whatever the plan was admitted on.
    world.sign_with("another secret of the same app");
    refused(world.apply_proposal(&it.incident, &it.proposal, None, false).await, "approval");
    world.sign_with(SIGNING_SECRET);
    world.apply_proposal(&it.incident, &it.proposal, None, false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slack_did_not_sign_for_this_is_refused_with_its_reason() {
    let world = World::start("slack").await;
    world.let_approve("oncall").await;
    world.sign_with(SIGNING_SECRET);
    let mallory = "T1DC2JH3J/U0000000M";
    for user in [JANE, mallory] {
        world.let_slack_approve(user).await;
    }
    let (it, other) = (voted(&world, "orders").await, voted(&world, "web").await);
    let (request, others) = (asked(&world, &it, 600).await, asked(&world, &other, 600).await);
    let press = Callback::pressed;
    let good = || press(SIGNING_SECRET, JANE, "approve", &Message::of(&request), now());
    let bring = async |word: &Approval| bring(&world, accounts::DIRECTOR, word).await;
    // Forged, old, of a time to come, altered.
    not_taken(
        bring(&press("a secret of another app", JANE, "approve", &Message::of(&request), now()).word(JANE, Verdict::Approve, &request)).await,
        "did not sign",
    );
    for at in [now() - 310, now() + 400] {
        let late = press(SIGNING_SECRET, JANE, "approve", &Message::of(&request), at).word(JANE, Verdict::Approve, &request);
        not_taken(bring(&late).await, "its timestamp is");
    }
    let mut fresh = press(SIGNING_SECRET, JANE, "approve", &Message::of(&request), now() - 310);
    fresh.timestamp = now().to_string();
    not_taken(bring(&fresh.word(JANE, Verdict::Approve, &request)).await, "did not sign");
    let mut altered = press(SIGNING_SECRET, mallory, "approve", &Message::of(&request), now());
    altered.body = altered.body.replace("U0000000M", "U2CERLKJA");
    not_taken(bring(&altered.word(JANE, Verdict::Approve, &request)).await, "did not sign");
    // Signed for something else: another person, verdict, request or change.
    not_taken(
        bring(&press(SIGNING_SECRET, mallory, "approve", &Message::of(&request), now()).word(JANE, Verdict::Approve, &request)).await,
        "the button that was pressed says",
    );
    not_taken(
        bring(&press(SIGNING_SECRET, JANE, "deny", &Message::of(&request), now()).word(JANE, Verdict::Approve, &request)).await,
        "the button that was pressed says",
    );
    not_taken(bring(&good().word(JANE, Verdict::Approve, &others)).await, "the button that was pressed says");
    let change = Message { value: format!("{}:{}", request.name_any(), "0".repeat(64)), ..Message::of(&request) };
    let digest = press(SIGNING_SECRET, JANE, "approve", &change, now());
    not_taken(bring(&digest.word(JANE, Verdict::Approve, &request)).await, "the button that was pressed says");
    let mut elsewhere = digest.word(JANE, Verdict::Approve, &request).spec;
    elsewhere.change = "0".repeat(64);
    not_taken(bring(&Approval::named(elsewhere).unwrap()).await, "another change");
    // Pressed below a message that says something else: another request's text, or one that nobody posts.
    for blocks in [Message::of(&others).blocks, json!([{"type": "section", "text": {"type": "mrkdwn", "text": "lunch?"}}]), Value::Null] {
        let lying = press(SIGNING_SECRET, JANE, "approve", &Message { blocks, ..Message::of(&request) }, now());
        not_taken(bring(&lying.word(JANE, Verdict::Approve, &request)).await, "the message says something else");
    }
    // More than Slack signed: a comment, groups, another name for the same word.
    let mut commented = good().word(JANE, Verdict::Approve, &request);
    commented.spec.comment = "looks fine".into();
    not_taken(bring(&commented).await, "nothing that Slack signed");
    let mut twice = good().word(JANE, Verdict::Approve, &request);
    twice.metadata.name = Some("again".into());
    not_taken(bring(&twice).await, "the one name");
    // Somebody whom nobody asks.
    not_taken(
        bring(&press(SIGNING_SECRET, mallory, "approve", &Message::of(&request), now()).word(mallory, Verdict::Approve, &request)).await,
        "not among those who are asked",
    );
    // Somebody whom the Blueprint heard in chat when it asked, and no longer does.
    let dropped = voted(&world, "mail").await;
    let asked_before = asked(&world, &dropped, 600).await;
    world.chat_blueprint("mail", "ScaleWorkload", &["group:oncall", "slack:T1DC2JH3J/U0000000A"]).await;
    not_taken(bring(&approved(JANE, &asked_before)).await, "the Blueprint does not ask");
    // Too late. Server times are whole seconds.
    let late = voted(&world, "cart").await;
    let short = asked(&world, &late, 2).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    not_taken(bring(&approved(JANE, &short)).await, "expired at");
    refused(world.submit(&it.plan).await, "approval");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_director_brings_what_slack_signed_and_nobody_else_does() {
    let world = World::start("slack").await;
    world.let_approve("oncall").await;
    world.let_slack_approve(JANE).await;
    world.sign_with(SIGNING_SECRET);
    let it = voted(&world, "orders").await;
    let request = asked(&world, &it, 600).await;
    // The director has no word of its own, whose name it may take.
    let own = |user: &str| {
        let mut spec = approved(JANE, &request).spec;
        (spec.user, spec.slack) = (user.into(), None);
        Approval::named(spec).unwrap()
    };
    for user in ["slack:T1DC2JH3J/U2CERLKJA", "alice", "system:serviceaccount:assent-system:assent-director"] {
        let word = own(user);
        refused_natively(bring(&world, accounts::DIRECTOR, &word).await, "creates no such approval");
    }
    // Nobody else brings what Slack signed, nor is anybody of Slack for being called so.
    for user in ["alice", "slack:T1DC2JH3J/U2CERLKJA"] {
        let person = Person { user, groups: &["oncall"] };
        refused_natively(world.says(person, &approved(JANE, &request)).await, "creates no such approval");
        refused_natively(world.says(person, &own("slack:T1DC2JH3J/U2CERLKJA")).await, "creates no such approval");
    }
    refused_natively(bring(&world, accounts::EXECUTOR, &approved(JANE, &request)).await, "forbidden");
    refused(world.submit(&it.plan).await, "approval");
    // Where two must agree, a Blueprint that names chat is none, and what stands above is not agreed to in passing.
    let two = json!({"operation": "ScaleWorkload", "approvers": ASKED, "count": 2, "chat": true});
    let spec =
        json!({"target": {"kind": "Deployment", "name": "two"}, "mode": "autonomous", "limits": {"maxReplicas": 5}, "operations": {"restricted": [two]}});
    let blueprint = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "two", "namespace": SHOP}, "spec": spec});
    let admin = Person { user: "root", groups: &["system:masters"] };
    let said = world.acts(admin, "POST", &format!("/apis/assent.dev/v1alpha1/namespaces/{SHOP}/blueprints"), &blueprint).await.unwrap_err();
    assert!(said.contains("an answer in chat never counts for two people"), "{said}");
    let above = json!({"operations": {"restricted": [{"operation": "ScaleWorkload", "approvers": ["group:oncall"], "count": 2}]}});
    apply(&world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "ClusterBlueprint", "metadata": {"name": "two"}, "spec": above})).await;
    let both = voted(&world, "both").await;
    let mut spec = world.request(&both.incident, &both.proposal, &["group:oncall"], 2, 600).spec;
    spec.approvals.extend(world.request(&both.incident, &both.proposal, &ASKED, 1, 600).spec.approvals);
    let request = world.ask(&ApprovalRequest::named(&world.cluster_uid, spec).unwrap()).await.unwrap();
    bring(&world, accounts::DIRECTOR, &approved(JANE, &request)).await.unwrap();
    let said = world.submit(&both.plan).await.unwrap_err().to_string();
    assert!(said.contains("approval by 2 of group:oncall (0 so far)"), "{said}");
    for user in ["alice", "bob"] {
        let person = Person { user, groups: &["oncall"] };
        world.says(person, &world.word(person, &request, Verdict::Approve)).await.unwrap();
    }
    world.submit(&both.plan).await.unwrap();
}
