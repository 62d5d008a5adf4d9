//! The injector against a real API server: what a created pod looks like, who gets none, and that holes are reported.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use assent_runtime::CancellationToken;
use assent_webhook::injector::{Args, serve};
use base64::Engine as _;
use clap::Parser as _;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_labelled_namespaces_get_a_sidecar_and_holes_are_reported() {
    let cluster = assent_cluster::api_only("injector").await.unwrap();
    let client = cluster.client().await.unwrap();
    for (name, labels) in [("shop", json!({ "assent.dev/inject": "enabled" })), ("other", json!({}))] {
        create::<Namespace>(Api::all(client.clone()), json!({ "metadata": { "name": name, "labels": labels } })).await.unwrap();
    }
    // Before the injector is there: this one is the hole.
    pod(&client, "shop", "early", json!({})).await;

    let directory = tempfile::tempdir().unwrap();
    let authority = authority(directory.path());
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/inject", listener.local_addr().unwrap());
    let args = Command::parse_from([
        "injector",
        "--sidecar-image=localhost/assent:test",
        "--coverage-seconds=1",
        "--admin-address=127.0.0.1:0",
        "--serving-mint=127.0.0.1",
        &format!("--serving-certificate-file={}", directory.path().join("ca.crt").display()),
        &format!("--serving-key-file={}", directory.path().join("ca.key").display()),
        &format!("--kubeconfig={}", kubeconfig.display()),
    ]);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(args.args, listener, stop.clone()));
    create::<MutatingWebhookConfiguration>(Api::all(client.clone()), configuration(&url, &authority)).await.unwrap();

    // A configuration takes effect within moments, and there is no event for it.
    let injected = within(Duration::from_secs(20), async || {
        let pod = pod(&client, "shop", "web", json!({})).await;
        if containers(&pod) == ["assent-sidecar", "assent-redirect"] {
            return Some(pod);
        }
        Api::<Pod>::namespaced(client.clone(), "shop").delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
        None
    })
    .await;
    let sidecar = &injected["spec"]["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(injected["metadata"]["annotations"]["assent.dev/injected"], "localhost/assent:test");
    let volumes: Vec<&str> = injected["spec"]["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    assert!(["assent-identity-token", "assent-trust", "assent-state"].iter().all(|name| volumes.contains(name)), "{volumes:?}");

    let opted_out = json!({ "metadata": { "annotations": { "assent.dev/inject": "disabled" } } });
    assert!(containers(&pod(&client, "shop", "plain", opted_out).await).is_empty());
    let same_user = json!({ "spec": { "securityContext": { "runAsUser": 2102 } } });
    assert!(containers(&pod(&client, "shop", "clash", same_user).await).is_empty(), "admitted all the same");
    assert!(containers(&pod(&client, "other", "elsewhere", json!({})).await).is_empty());

    let events = Api::<Event>::namespaced(client.clone(), "shop");
    let reported = within(Duration::from_secs(20), async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let mut about: Vec<String> =
            events.iter().filter(|event| event.reason.as_deref() == Some("Unmeshed")).filter_map(|event| event.involved_object.name.clone()).collect();
        about.sort();
        (about.len() >= 2).then_some(about)
    })
    .await;
    assert_eq!(reported, ["clash", "early"]);
    stop.cancel();
    serving.await.unwrap().unwrap();
}

async fn create<K>(api: Api<K>, object: Value) -> kube::Result<K>
where
    K: kube::Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await
}

/// Creates a pod; there is no node, so it stays what admission made of it.
async fn pod(client: &Client, namespace: &str, name: &str, change: Value) -> Value {
    let mut pod = json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "app", "image": "localhost/app" }] } });
    json_patch::merge(&mut pod, &change);
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    // A new namespace's service account appears a moment later.
    let created = within(Duration::from_secs(20), async || create(api.clone(), pod.clone()).await.ok()).await;
    serde_json::to_value(created).unwrap()
}

fn containers(pod: &Value) -> Vec<&str> {
    pod["spec"]["initContainers"].as_array().into_iter().flatten().map(|container| container["name"].as_str().unwrap()).collect()
}

/// Polls, where the server has no event to wait for.
async fn within<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(limit, polling).await.unwrap()
}

/// A certificate authority in `directory`; its certificate in PEM.
fn authority(directory: &std::path::Path) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key).unwrap().pem();
    std::fs::write(directory.join("ca.crt"), &pem).unwrap();
    std::fs::write(directory.join("ca.key"), key.serialize_pem()).unwrap();
    pem
}

fn configuration(url: &str, authority: &str) -> Value {
    json!({
        "metadata": { "name": "assent-injector" },
        "webhooks": [{
            "name": "inject.assent.dev",
            "clientConfig": { "url": url, "caBundle": base64::engine::general_purpose::STANDARD.encode(authority) },
            "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
            "namespaceSelector": {
                "matchLabels": { "assent.dev/inject": "enabled" },
                "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["assent-system", "kube-system"] }],
            },
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "timeoutSeconds": 3,
            "admissionReviewVersions": ["v1"],
        }],
    })
}
