//! The whole loop by Slack: a message with buttons, a button that somebody pressed, and the change is made; whatever else is posted to
//! the same place makes nothing. Gate, director and executor are processes of their own; Slack is played by this test.

use std::collections::BTreeSet;

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Approval, Incident, Remediation};
use assent_tests::slack::{BOT_TOKEN, CHANNEL, Callback, Message, SIGNING_SECRET, Slack, now};
use assent_tests::stage::Stage;
use assent_tests::world::{SHOP, World, get};
use kube::Api;
use kube::api::ListParams;
use kube::runtime::wait::await_condition;

const JANE: &str = "T1DC2JH3J/U2CERLKJA";

async fn generation(world: &World) -> i64 {
    let deployment = get(&world.admin, &format!("/apis/apps/v1/namespaces/{SHOP}/deployments/orders")).await.unwrap();
    deployment["metadata"]["generation"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_in_slack_is_done_once_its_button_was_pressed() {
    let mut world = World::start("slack").await;
    world.kill_gate().await;
    world.sign_with(SIGNING_SECRET);
    world.let_slack_approve(JANE).await;
    let mut slack = Slack::start().await;
    let files = tempfile::tempdir().unwrap();
    let mut stage = Stage::start_with(&world, files.path(), None, &slack.flags(files.path())).await;
    world.deployment("orders", "registry.invalid/x:1").await;
    world.chat_blueprint("orders", "RestartWorkload", &["slack:T1DC2JH3J/U2CERLKJA"]).await;
    let before = generation(&world).await;
    let (uid, _) = stage.report(&world, "orders", &BTreeSet::new()).await;

    let message = slack.messages(1).await.remove(0);
    assert_eq!(message["channel"], CHANNEL);
    let text = message["blocks"].to_string();
    for part in ["on Deployment shop/orders", "Undone by: ", "Until: ", "kubectl get apr -n assent-system apr-"] {
        assert!(text.contains(part), "{text}");
    }
    let asked = Message { value: message.pointer("/blocks/2/elements/0/value").unwrap().as_str().unwrap().to_owned(), blocks: message["blocks"].clone() };
    // Whoever directs next does not ask again, once it is on record that somebody was asked.
    while !stage.ledger().await.contains("slack-told") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stage.restart(&["assent-director"]).await;

    let director = stage.ports.slack;
    let pressed = |secret: &str, user: &str, message: &Message, at: i64| Callback::pressed(secret, user, "approve", message, at);
    let forged = pressed("a secret of another app", JANE, &asked, now());
    // Who brings buttons takes no connection from those who send alerts: a port of its own, with a bound of its own.
    assert_eq!(forged.post(stage.ports.intake).await.0, 404);
    let (status, said) = loop {
        match forged.post(director).await {
            // It does not know yet what is asked.
            (404, _) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            answer => break answer,
        }
    };
    assert!(status == 200 && said.contains("Slack did not sign it"), "{status} {said}");
    let unknown = Message { value: format!("apr-{}:{}", "0".repeat(20), "0".repeat(64)), ..asked.clone() };
    let mut junk = pressed(SIGNING_SECRET, JANE, &asked, now());
    junk.body = "payload=%7B%7D".into();
    let mut large = junk.clone();
    large.body = "x".repeat(64 * 1024);
    for (callback, status, reason) in [
        (pressed(SIGNING_SECRET, JANE, &asked, now() - 310), 400, "its timestamp is"),
        (pressed(SIGNING_SECRET, "T1DC2JH3J/U0000000M", &asked, now()), 200, "may not `approve`"),
        (pressed(SIGNING_SECRET, "T0000000M/U2CERLKJA", &asked, now()), 200, "may not `approve`"),
        (pressed(SIGNING_SECRET, JANE, &unknown, now()), 404, "nobody is asked"),
        (junk, 400, "payload is not readable"),
        (large, 413, "larger than"),
    ] {
        let (got, said) = callback.post(director).await;
        assert!(got == status && said.contains(reason), "{got} {said}, not {status} {reason}");
    }
    let approvals: Api<Approval> = Api::namespaced(world.admin.clone(), SYSTEM_NAMESPACE);
    let plans: Api<Remediation> = Api::namespaced(world.admin.clone(), SYSTEM_NAMESPACE);
    assert!(approvals.list(&ListParams::default()).await.unwrap().items.is_empty(), "nothing of it is a word");
    assert!(plans.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(generation(&world).await, before);

    let (status, said) = pressed(SIGNING_SECRET, JANE, &asked, now()).post(director).await;
    assert!(status == 200 && said.contains("is on record"), "{status} {said}");
    let incidents: Api<Incident> = Api::namespaced(world.admin.clone(), SYSTEM_NAMESPACE);
    let resolved = |incident: Option<&Incident>| incident.and_then(|incident| incident.status.as_ref()?.phase.as_deref()) == Some("Resolved");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(180), await_condition(incidents, &uid, resolved)).await;
    ended.expect("the incident never ended").unwrap();
    assert_eq!(generation(&world).await, before + 1, "one change of the workload");
    assert_eq!(plans.list(&ListParams::default()).await.unwrap().items.len(), 1);
    // The request is over, and so are its buttons.
    let (status, said) = pressed(SIGNING_SECRET, JANE, &asked, now()).post(director).await;
    assert!(status == 404 && said.contains("nobody is asked"), "{status} {said}");

    let ledger = stage.ledger().await;
    for kind in ["slack-due", "slack-told"] {
        assert_eq!(ledger.matches(&format!("\"kind\":\"{kind}\"")).count(), 1, "{kind}: {ledger}");
    }
    assert!(ledger.contains("slack:T1DC2JH3J/U2CERLKJA") && !ledger.contains(BOT_TOKEN) && !ledger.contains(SIGNING_SECRET));
    assert_eq!(slack.messages(1).await.len(), 1, "it was asked once");
    stage.stop().await;
}
