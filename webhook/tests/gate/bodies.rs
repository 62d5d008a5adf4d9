//! Strange bodies over HTTPS: each gets a clear answer, and the same connection serves the next review.

use assent_webhook::review::MAX_BYTES;
use serde_json::json;

use super::client::Client;
use super::{Gate, guardrail, review};

async fn refused(client: &mut Client, body: impl Into<axum::body::Bytes>, code: u16, said: &str) {
    let (status, answer) = client.post(body).await.unwrap();
    assert_eq!(status, code, "{answer}");
    assert_eq!((&answer["kind"], &answer["status"], &answer["code"]), (&json!("Status"), &json!("Failure"), &json!(code)));
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains(said) && message.len() < 1024, "wanted `{said}`, got `{message}`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_body_is_refused_with_what_is_wrong_and_where() {
    let gate = Gate::start().await;
    let mut client = gate.connect().await;
    let whole = review("u1", &guardrail()).to_string();
    refused(&mut client, "", 400, "the body ends early, after 0 bytes").await;
    refused(&mut client, "not json", 400, "the body is not JSON in `the body`").await;
    refused(&mut client, whole[..whole.len() / 2].to_owned(), 400, "the body ends early").await;
    refused(
        &mut client,
        whole.replace("\"g\"", "\"\u{fffd}\"").into_bytes().into_iter().filter(|byte| *byte != 0xbf).collect::<Vec<u8>>(),
        400,
        "is not UTF-8",
    )
    .await;
    refused(&mut client, whole.replace(r#""uid":"u1""#, r#""uid":"u1","uid":"u2""#), 400, "`request` has the key `uid` twice").await;
    let twice = r#""expression":"false","expression":"object.spec.replicas > 0""#;
    let body = whole.replace(r#""expression":"object.spec.replicas > 0""#, twice);
    refused(&mut client, body, 400, "`request.object.spec.validations.0` has the key `expression` twice").await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    refused(&mut client, whole.replace(r#""dryRun":false"#, &format!(r#""x":{deep},"dryRun":false"#)), 400, "nested deeper than 120 levels").await;
    let open = format!(r#"{{"request":{}"#, "{\"a\":".repeat(10_000));
    refused(&mut client, open, 400, "nested deeper than 120 levels").await;
    refused(&mut client, whole.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), 400, "send `admission.k8s.io/v1` `AdmissionReview`").await;
    refused(&mut client, whole.replace("AdmissionReview", "TokenReview"), 400, "`TokenReview`").await;
    refused(&mut client, json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}).to_string(), 400, "`request`: it is missing").await;
    refused(&mut client, whole.replace(r#""operation":"UPDATE","#, ""), 400, "missing field `operation`").await;
    refused(&mut client, whole.replace(r#""operation":"UPDATE""#, r#""operation":"PATCH""#), 400, "`PATCH` is none of CREATE, UPDATE, DELETE, CONNECT").await;
    assert!(gate.metric("assent_gate_unreadable_total").await >= 12.0);

    let (status, answer) = client.post(whole).await.unwrap();
    assert_eq!((status, &answer["response"]["allowed"], &answer["response"]["uid"]), (200, &json!(true), &json!("u1")), "{answer}");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_three_mebibytes_are_judged_and_more_than_the_bound_is_refused() {
    let gate = Gate::start().await;
    let mut client = gate.connect().await;
    let mut large = guardrail();
    let entry = json!({"name": "LOG_LEVEL", "value": "debug"});
    large["metadata"]["annotations"] = json!({"text": "x".repeat(1 << 20)});
    large["spec"]["env"] = vec![entry; (2 << 20) / 37].into();
    let (status, answer) = client.post(review("u1", &large).to_string()).await.unwrap();
    assert_eq!((status, &answer["response"]["uid"]), (200, &json!("u1")), "{answer}");
    let mut update = review("u2", &large);
    update["request"]["oldObject"] = large;
    update["request"]["operation"] = json!("UPDATE");
    let update = update.to_string();
    assert!(update.len() > 6 << 20);
    let (status, answer) = client.post(update).await.unwrap();
    assert_eq!((status, &answer["response"]["uid"]), (200, &json!("u2")), "{answer}");
    for more in [1, MAX_BYTES] {
        refused(&mut client, vec![b' '; MAX_BYTES + more], 413, "at most 8388608 are read").await;
    }
    let (status, _) = client.post(review("u3", &guardrail()).to_string()).await.unwrap();
    assert_eq!(status, 200);
    gate.stop().await;
}
