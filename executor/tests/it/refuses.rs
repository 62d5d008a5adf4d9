//! What may not be done is not done, and the director hears of it.

use std::sync::atomic::Ordering;

use assent_api::names::{PAUSE, SYSTEM_NAMESPACE};
use assent_api::resources::{Blueprint, Pause, Roster, RosterSpec};
use assent_tests::world::{SHOP, apply, get};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use assent_tests::scene::{Case, Scene};

const GATE: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/assent-gate";

/// Waits for the refusal in the ledger, and checks that nothing else happened.
async fn refused(scene: &Scene, case: &Case, words: &str) {
    let entry = scene.record.until(&case.incident, "refused").await;
    let reason = entry.body["reason"].as_str().unwrap();
    assert!(reason.contains(words), "refused, but not for `{words}`: {reason}");
    assert!(!scene.planned(case).await, "there is a plan");
    untouched(scene, case).await;
}

/// What `kubectl assent explain` tells of the incident from its record.
fn explained(scene: &Scene, case: &Case) -> String {
    let ledger = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = scene.record.of(&case.incident).iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    std::fs::write(ledger.path(), lines.join("\n")).unwrap();
    let plugin = std::process::Command::new(assent_tests::images::program("kubectl-assent"))
        .args(["explain", case.incident.as_str(), "--ledger", &ledger.path().display().to_string()])
        .output()
        .unwrap();
    assert!(plugin.status.success(), "{}", String::from_utf8_lossy(&plugin.stderr));
    String::from_utf8_lossy(&plugin.stdout).into_owned()
}

async fn untouched(scene: &Scene, case: &Case) {
    let (now, later) = scene.now(case).await;
    assert_eq!((&now["spec"], later), (&case.before["spec"], 0));
    assert_eq!(scene.audited(&case.incident).len(), 0, "no write was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_authority_does_not_allow_is_refused_before_the_intent() {
    let scene = Scene::start().await;
    let _executor = scene.executor();
    let guardrail = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": "not-that-one"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}]},
        "validations": [{"expression": "object.metadata.name != 'denied'", "message": "never that one"}]}});
    apply(&scene.world.admin, &guardrail).await;
    let binding = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailBinding", "metadata": {"name": "not-that-one"},
        "spec": {"policyName": "not-that-one", "validationActions": ["Deny"]}});
    apply(&scene.world.admin, &binding).await;
    // A guardrail of the same second is not older than the vote.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;

    let paused = scene.scale("paused", 3).await;
    let pause =
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Pause", "metadata": {"name": PAUSE, "namespace": SYSTEM_NAMESPACE}, "spec": {"reason": "lunch"}});
    apply(&scene.world.admin, &pause).await;
    scene.decide(&paused).await;
    refused(&scene, &paused, "assent[paused]").await;
    assert_eq!(scene.record.kinds(&paused.incident), ["refused"], "no intent was recorded");
    let pauses: Api<Pause> = Api::namespaced(scene.world.admin.clone(), SYSTEM_NAMESPACE);
    pauses.delete(PAUSE, &DeleteParams::default()).await.unwrap();

    let stale = scene.scale("stale", 3).await;
    scene.world.deployment("stale", "registry.invalid/x:2").await;
    scene.decide(&stale).await;
    let entry = scene.record.until(&stale.incident, "refused").await;
    assert!(entry.body["reason"].as_str().unwrap().contains("assent[stale]"));

    let beyond = scene.scale("beyond", 6).await;
    scene.decide(&beyond).await;
    refused(&scene, &beyond, "assent[blueprint]").await;

    let denied = scene.scale("denied", 3).await;
    scene.decide(&denied).await;
    refused(&scene, &denied, "never that one").await;
    let entry = scene.record.until(&denied.incident, "refused").await;
    let said: assent_policies::Outcome = serde_json::from_value(entry.body["guardrails"]["write"].clone()).unwrap();
    let denial = said.denial().unwrap();
    let seen = &denial.explanation.as_ref().unwrap().seen[0];
    assert_eq!((denial.policy.as_str(), denial.binding.as_deref(), denial.index), ("not-that-one", Some("not-that-one"), Some(0)));
    assert_eq!((seen.what.as_str(), seen.value.as_str(), &entry.body["rule"]), ("object.metadata.name", "\"denied\"", &json!("guardrail")));
    let told = explained(&scene, &denied);
    for line in [
        "guardrail `not-that-one`, binding `not-that-one` denies the write by validations[0]",
        "object.metadata.name = \"denied\"",
        "`object.metadata.name != 'denied'` is true",
    ] {
        assert!(told.contains(line), "`{line}` is missing in:\n{told}");
    }

    // Where it only looks, nothing is refused and nothing is done.
    let looks = scene.scale("looks", 4).await;
    let blueprints: Api<Blueprint> = Api::namespaced(scene.world.admin.clone(), SHOP);
    let mode = |mode: &str| Patch::Merge(json!({"spec": {"mode": mode}}));
    blueprints.patch("looks", &PatchParams::default(), &mode("observe")).await.unwrap();
    scene.decide(&looks).await;
    // A later decision that is refused shows that the one before it was looked at.
    let marker = scene.scale("marker", 6).await;
    scene.decide(&marker).await;
    refused(&scene, &marker, "assent[blueprint]").await;
    assert_eq!(scene.record.kinds(&looks.incident), Vec::<String>::new());
    untouched(&scene, &looks).await;

    // What asks people needs somebody who is asked.
    let asks = scene.scale("asks", 4).await;
    blueprints.patch("asks", &PatchParams::default(), &mode("approve")).await.unwrap();
    let asks = Case { incident: assent_tests::seats::incident(), ..asks };
    scene.world.quorum(&asks.incident, &asks.proposal).await;
    let asks = scene.renamed(asks);
    scene.decide(&asks).await;
    refused(&scene, &asks, "names none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_gate_the_executor_does_not_act() {
    let mut scene = Scene::start().await;
    scene.setting.apply_within_seconds = 5;
    let _executor = scene.executor();

    // A binding that an administrator took away, as for an upgrade.
    let binding = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/assent-gate-protection";
    let unbound = scene.scale("unbound", 3).await;
    let saved = get(&scene.world.admin, binding).await.unwrap();
    let delete = http::Request::delete(binding).body(Vec::new()).unwrap();
    assent_tests::world::send(&scene.world.admin, delete).await.unwrap();
    scene.decide(&unbound).await;
    refused(&scene, &unbound, "is not bound").await;

    // The configuration is another one than the roster pins.
    let narrowed = scene.scale("narrowed", 3).await;
    let patch = |rules: serde_json::Value| {
        let body = json!([{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": rules}]).to_string().into_bytes();
        http::Request::patch(GATE).header("content-type", "application/json-patch+json").body(body).unwrap()
    };
    // The policy forgets its binding a moment after it is gone.
    let mut last = Err(String::new());
    for _ in 0..100 {
        last = assent_tests::world::send(&scene.world.admin, patch(json!({"matchLabels": {"never": "there"}}))).await;
        if last.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    last.unwrap();
    let saved = json!({"apiVersion": saved["apiVersion"], "kind": saved["kind"], "metadata": {"name": "assent-gate-protection"}, "spec": saved["spec"]});
    apply(&scene.world.admin, &saved).await;
    scene.decide(&narrowed).await;
    refused(&scene, &narrowed, "the roster pins").await;

    // The roster pins it, so only the challenge can tell that nobody judges the executor's writes any more.
    let live = get(&scene.world.admin, GATE).await.unwrap();
    scene.world.roster.gate = assent_api::gate::configuration_digest(&live).unwrap();
    let rosters: Api<Roster> = Api::all(scene.world.admin.clone());
    let spec = json!({"spec": RosterSpec::from(&scene.world.roster)});
    rosters.patch("default", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    let open = scene.scale("open", 3).await;
    scene.decide(&open).await;
    refused(&scene, &open, "a write without proof was let through").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_nothing_happens_until_it_would_be_pointless() {
    let mut scene = Scene::start().await;
    scene.setting.apply_within_seconds = 3;
    let _executor = scene.executor();
    let case = scene.scale("unrecorded", 3).await;
    scene.record.down.store(true, Ordering::Relaxed);
    scene.decide(&case).await;
    scene.record.until_denied("apply-intended").await;
    scene.record.until_denied("refused").await;
    assert!(!scene.planned(&case).await);
    scene.record.down.store(false, Ordering::Relaxed);
    refused(&scene, &case, "the ledger refused").await;
    assert_eq!(scene.record.kinds(&case.incident), ["refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gate_that_answers_nothing_happens() {
    let mut scene = Scene::start().await;
    scene.setting.apply_within_seconds = 3;
    let case = scene.scale("unjudged", 3).await;
    scene.decide(&case).await;
    scene.world.kill_gate().await;
    let _executor = scene.executor();
    refused(&scene, &case, "no verdict").await;
    assert_eq!(scene.record.kinds(&case.incident), ["refused"], "no intent was recorded");
}
