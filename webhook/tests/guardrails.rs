//! The entry that judges by guardrails alone, behind a real API server: other writers are held to what is watched.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use assent_api::resources::definitions;
use assent_runtime::CancellationToken;
use assent_webhook::gate::{Args, serve};
use base64::Engine as _;
use clap::Parser as _;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn other_writers_are_held_to_the_guardrails_that_are_watched() {
    let cluster = assent_cluster::api_only("guardrails").await.unwrap();
    let client = cluster.client().await.unwrap();
    for definition in definitions() {
        create::<CustomResourceDefinition>(Api::all(client.clone()), serde_json::to_value(definition).unwrap()).await.unwrap();
    }
    // Also says when the definitions are served.
    within(async || guardrail(&client, "no-secret", "!('password' in object.data)", json!({})).await.ok()).await;
    let directory = tempfile::tempdir().unwrap();
    let authority = authority(directory.path());
    std::fs::write(directory.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/guardrails", listener.local_addr().unwrap().port());
    let path = |flag: &str, name: &str| format!("--{flag}={}", directory.path().join(name).display());
    let args = Args::parse_from([
        "gate",
        "--guardrails-entry",
        "--admin-address=127.0.0.1:0",
        "--serving-mint=localhost",
        &path("serving-certificate-file", "ca.crt"),
        &path("serving-key-file", "ca.key"),
        &path("kubeconfig", "kubeconfig"),
    ]);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(args, listener, stop.clone()));
    create::<ValidatingWebhookConfiguration>(Api::all(client.clone()), configuration(&url, &authority)).await.unwrap();

    // A configuration takes effect within moments, and there is no event for it; so does a watched guardrail.
    let plain = json!({"colour": "red"});
    let refused = within(async || write(&client, json!({"password": "x"})).await.err().filter(|message| message.contains("no-secret"))).await;
    assert!(refused.contains("assent[") && refused.contains("would pass: "), "{refused}");
    write(&client, plain.clone()).await.unwrap();

    guardrail(&client, "no-red", "object.data.?colour.orValue('') != 'red'", json!({})).await.unwrap();
    within(async || write(&client, plain.clone()).await.err().filter(|message| message.contains("no-red"))).await;
    // An expression that does not end is cut off by its cost, and what cannot be judged is denied.
    let many = json!({"many": (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(",")});
    let endless =
        "!has(object.data.many) || object.data.many.split(',').all(a, object.data.many.split(',').all(b, object.data.many.split(',').all(c, a + b + c != '')))";
    guardrail(&client, "endless", endless, json!({})).await.unwrap();
    within(async || write(&client, many.clone()).await.err().filter(|message| message.contains("cost limit"))).await;

    // What only the executor's own entry knows is not known here.
    let facts = json!({"paramKind": {"apiVersion": "assent.dev/v1alpha1", "kind": "Facts"}});
    guardrail(&client, "asks", "params.now != ''", facts).await.unwrap();
    within(async || write(&client, json!({"colour": "blue"})).await.err().filter(|message| message.contains("asks"))).await;
    stop.cancel();
    serving.await.unwrap().unwrap();
}

/// A guardrail for ConfigMaps of the test, bound.
async fn guardrail(client: &Client, name: &str, expression: &str, more: Value) -> kube::Result<()> {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]},
        "validations": [{"expression": expression}],
    });
    json_patch::merge(&mut spec, &more);
    let mut binding = json!({"policyName": name, "validationActions": ["Deny"]});
    if more.get("paramKind").is_some() {
        binding["paramRef"] = json!({"name": "current", "parameterNotFoundAction": "Deny"});
    }
    for (kind, spec) in [("Guardrail", spec), ("GuardrailBinding", binding)] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("assent.dev", "v1alpha1", kind));
        let object = DynamicObject::new(name, &resource).data(json!({"spec": spec}));
        match Api::<DynamicObject>::all_with(client.clone(), &resource).create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created?),
        }
    }
    Ok(())
}

/// Creates nothing, and says why not if it would not.
async fn write(client: &Client, data: Value) -> Result<(), String> {
    let object: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "written"}, "data": data})).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Api::<ConfigMap>::namespaced(client.clone(), "default").create(&dry, &object).await.map(drop).map_err(|error| error.to_string())
}

async fn create<K>(api: Api<K>, object: Value) -> kube::Result<K>
where
    K: kube::Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await
}

fn configuration(url: &str, authority: &str) -> Value {
    json!({
        "metadata": {"name": "platform"},
        "webhooks": [{
            "name": "guardrails.platform.example", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "clientConfig": {"url": url, "caBundle": base64::engine::general_purpose::STANDARD.encode(authority)},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}],
            "matchConditions": [{"name": "of-the-test", "expression": "object.metadata.name == 'written'"}],
        }]
    })
}

async fn within<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.unwrap()
}

/// Writes a CA for the webhook; returns its certificate, PEM.
fn authority(directory: &std::path::Path) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.join("ca.crt"), certificate.pem()).unwrap();
    std::fs::write(directory.join("ca.key"), key.serialize_pem()).unwrap();
    certificate.pem()
}
