//! Copies of ConfigMaps: true when they are made, unchangeable, there for as long as a template reads them, and made by one account.

use assent_api::copies;
use assent_api::names::accounts;
use assent_core::workload::Kind;
use assent_tests::world::{SHOP, World};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use super::{refused, refused_natively};

const SETTINGS: &str = "settings";

async fn send(client: &Client, method: &str, name: &str, body: &Value) -> Result<Value, kube::Error> {
    let path = format!("/api/v1/namespaces/{SHOP}/configmaps/{name}");
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    client.request(Request::builder().method(method).uri(path).header("content-type", "application/json").body(body).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_config_map_holds_is_kept_and_nobody_makes_it_up() {
    let world = World::start("copies").await;
    let settings = world.configuration(SETTINGS, "v1").await;
    let copy = copies::copy_of(&settings).unwrap();
    let name = copy["metadata"]["name"].as_str().unwrap().to_owned();
    let kept = world.keep(&settings).await.unwrap();
    assert_eq!((&kept["data"], &kept["immutable"]), (&json!({"key": "v1"}), &json!(true)));

    // By one account alone, and only what is there at that moment.
    refused_natively(world.keep_as(accounts::EXECUTOR, &copy).await, "forbidden");
    let edited = world.configuration(SETTINGS, "v2").await;
    let of_now = copies::copy_of(&edited).unwrap();
    for (why, forge) in [
        ("other content", (|copy| copy["data"]["key"] = json!("evil")) as fn(&mut Value)),
        ("another name", |copy| copy["metadata"]["name"] = json!("coredns")),
        ("of nobody's", |copy| copy["metadata"]["annotations"] = json!({"assent.dev/copy-of": "strange"})),
        ("with more labels", |copy| copy["metadata"]["labels"]["app"] = json!("orders")),
        ("with more content", |copy| copy["binaryData"] = json!({"b": "ZXZpbA=="})),
    ] {
        let mut forged = of_now.clone();
        forge(&mut forged);
        let answer = world.keep_as(accounts::DIRECTOR, &forged).await;
        assert!(answer.is_err(), "{why}");
        refused(answer, "payload");
    }
    // What it no longer holds is kept no more.
    let admin = &world.admin;
    send(admin, "DELETE", &name, &Value::Null).await.unwrap();
    refused(world.keep_as(accounts::DIRECTOR, &copy).await, "payload");
    // That it could be changed, or has an owner, the native policy refuses without the gate.
    for (part, value) in [("/immutable", json!(false)), ("/metadata/labels", json!({})), ("/metadata/annotations", json!({}))] {
        let mut forged = of_now.clone();
        *forged.pointer_mut(part).unwrap() = value;
        refused_natively(world.keep_as(accounts::DIRECTOR, &forged).await, "copies of ConfigMaps");
    }
    let mut elsewhere = of_now.clone();
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    let request = Request::post("/api/v1/namespaces/kube-system/configmaps").header("content-type", "application/json");
    let request = request.body(elsewhere.to_string().into_bytes()).unwrap();
    refused_natively(world.account(accounts::DIRECTOR).await.request::<Value>(request).await, "nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_stays_while_a_template_reads_it() {
    let world = World::start("read-copies").await;
    let director = world.account(accounts::DIRECTOR).await;
    let settings = world.configuration(SETTINGS, "v1").await;
    let kept = world.keep(&settings).await.unwrap();
    let name = kept["metadata"]["name"].as_str().unwrap();
    world.workload(Kind::Deployment, "orders", "registry.invalid/x:1").await;
    world.refer(Kind::Deployment, "orders", name).await;
    world.until_deployment("orders", |d| d["status"]["observedGeneration"] == d["metadata"]["generation"]).await;
    refused(send(&director, "DELETE", name, &Value::Null).await, "immutable");
    // Nor does the account take away what it did not make.
    refused_natively(send(&director, "DELETE", SETTINGS, &Value::Null).await, "copies of ConfigMaps");
    let mut changed = kept.clone();
    changed["metadata"]["labels"]["app"] = json!("orders");
    refused_natively(send(&director, "PUT", name, &changed).await, "forbidden");
    // Nobody reads the next one.
    let other = world.configuration(SETTINGS, "v2").await;
    let unread = world.keep(&other).await.unwrap();
    send(&director, "DELETE", unread["metadata"]["name"].as_str().unwrap(), &Value::Null).await.unwrap();
}
