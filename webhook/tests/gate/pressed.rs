//! Buttons of Slack at the gate: what Slack did not sign costs the API server nothing, however much of it comes.

use serde_json::{Value, json};

use super::{Gate, client};

/// A callback of 2018, signed then with the secret below.
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const TIMESTAMP: &str = "1531420618";
const BODY: &str = "payload=%7B%7D";
const SIGNATURE: &str = "v0=90020873e6bbe3b3515fec3b8fc08453f30f6b3fccd4d8a47b757f016b7334ae";

fn review(signature: &str) -> String {
    let request = format!("apr-{}", "0".repeat(20));
    let spec = json!({
        "request": request, "change": "ab".repeat(32), "verdict": "Approve", "user": "slack:T1DC2JH3J/U2CERLKJA",
        "slack": {"timestamp": TIMESTAMP, "signature": signature, "body": BODY},
    });
    let object = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "metadata": {"name": format!("{request}-0"), "namespace": "assent-system"}, "spec": spec});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u",
            "kind": {"group": "assent.dev", "version": "v1alpha1", "kind": "Approval"},
            "resource": {"group": "assent.dev", "version": "v1alpha1", "resource": "approvals"},
            "name": object["metadata"]["name"], "namespace": "assent-system", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:assent-system:assent-director", "groups": ["system:authenticated"]},
            "object": object, "oldObject": null, "dryRun": false, "options": null,
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slack_did_not_sign_is_refused_before_anybody_is_asked_for_the_time() {
    let files = tempfile::tempdir().unwrap();
    client::Authority::new().write(files.path());
    let secret = files.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let gate = Gate::with(files, &["--serving-mint=localhost", &format!("--slack-signing-secret-file={}", secret.display())]).await;
    let mut client = gate.connect().await;
    let before = gate.api.asked();
    for forged in ["", "v0=00", &SIGNATURE.replace('0', "1")] {
        let (_, answer) = client.post(review(forged)).await.unwrap();
        let message = answer.pointer("/response/status/message").and_then(Value::as_str).unwrap_or_default();
        assert!(message.contains("Slack did not sign it"), "{answer}");
    }
    assert_eq!(gate.api.asked(), before, "nobody was asked");
    // What Slack did sign is asked about; this one long ago, by whatever clock.
    let (_, answer) = client.post(review(SIGNATURE)).await.unwrap();
    let message = answer.pointer("/response/status/message").and_then(Value::as_str).unwrap_or_default();
    assert!(!message.contains("Slack did not sign it"), "{answer}");
    assert!(gate.api.asked() > before, "{answer}");
    gate.stop().await;
}
