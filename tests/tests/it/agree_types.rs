//! Our checker and a real API server's, asked about the types of the same policies, say the same; and the schemas that the
//! checker's own tests have are still those of the server.
//!
//! With `ASSENT_REFRESH_TYPES` set, what the server says is written down instead (`scripts/oracle types`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use assent_policies::schema::Schemas;
use assent_policies::spec::PolicySpec;
use assent_policies::typing;
use assent_tests::pruned;
use assent_tests::world::{apply, get};
use kube::Client;
use serde_json::{Value, json};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
/// Longest until a kind is described, or a policy checked.
const LIMIT: Duration = Duration::from_secs(60);

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/tests/data").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_checker_says_what_the_api_server_says() {
    let cases: Vec<Value> = std::fs::read_to_string(data("types.jsonl")).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() > 60, "{} policies", cases.len());
    let cluster = assent_cluster::api_only("types").await.unwrap();
    let admin = cluster.client().await.unwrap();
    let kinds: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(data("types-kinds.json")).unwrap()).unwrap();
    for kind in &kinds {
        apply(&admin, kind).await;
    }
    until("the custom kinds are described", async || {
        let document = get(&admin, "/openapi/v3/apis/example.com/v1").await;
        document.is_ok_and(|document| ["widgets", "limits/{name}"].iter().all(|path| document.to_string().contains(path)))
    })
    .await;

    // Nobody in particular may read what there is.
    let jane = cluster.client_as("jane", &[]).await.unwrap();
    let wanted: BTreeSet<String> = cases.iter().flat_map(|case| typing::group_versions(&spec(case))).chain(pruned::ALSO.map(str::to_owned)).collect();
    let live = documents(&jane, &wanted).await;
    let mut schemas = Schemas::default();
    for (group_version, document) in &live {
        schemas.add(group_version, document.clone()).unwrap();
    }

    let mut refused = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name(index)}, "spec": case["spec"]});
        let request = http::Request::post(POLICIES).header("Content-Type", "application/json").body(serde_json::to_vec(&policy).unwrap()).unwrap();
        if let Err(error) = admin.request::<Value>(request).await {
            refused.push(format!("{}: {error}", case["id"]));
        }
    }
    assert!(refused.is_empty(), "not stored:\n{}", refused.join("\n"));
    let refresh = std::env::var_os("ASSENT_REFRESH_TYPES").is_some();
    let (mut lines, mut differences) = (String::new(), Vec::new());
    for (index, case) in cases.iter().enumerate() {
        let said = checked(&admin, &name(index)).await;
        let ours =
            Value::from_iter(typing::server_warnings(&spec(case), &schemas).into_iter().map(|one| json!({"fieldRef": one.field_ref, "warning": one.warning})));
        if ours != said {
            differences.push(format!("{}\n  server {said}\n  ours   {ours}", case["id"]));
        }
        if !refresh && case["want"] != said {
            differences.push(format!("{}\n  server {said}\n  stored {}", case["id"], case["want"]));
        }
        lines += &format!("{}\n", json!({"id": case["id"], "spec": case["spec"], "want": said}));
    }
    let kept = pruned::prune(&live);
    if refresh {
        std::fs::write(data("types.jsonl"), lines).unwrap();
        std::fs::write(data("openapi.json"), kept.text()).unwrap();
    } else {
        assert!(std::fs::read_to_string(data("openapi.json")).unwrap() == kept.text(), "the server's schemas are others; run scripts/oracle types");
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

fn name(index: usize) -> String {
    format!("types-{index}.example.com")
}

fn spec(case: &Value) -> PolicySpec {
    serde_json::from_value(case["spec"].clone()).unwrap()
}

/// OpenAPI documents by group and version, of those that are there.
async fn documents(client: &Client, wanted: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let index = get(client, "/openapi/v3").await.unwrap();
    let mut found = BTreeMap::new();
    for group_version in wanted {
        let path = if group_version.contains('/') { format!("apis/{group_version}") } else { format!("api/{group_version}") };
        if let Some(url) = index["paths"][&path]["serverRelativeURL"].as_str() {
            // Without the hash it is whatever stands there now: custom kinds are still being added.
            found.insert(group_version.clone(), get(client, url.split('?').next().unwrap()).await.unwrap());
        }
    }
    found
}

/// What stands in the policy's status once it is about the policy as it is, without the numbers in names of types.
async fn checked(admin: &Client, name: &str) -> Value {
    let path = format!("{POLICIES}/{name}");
    until("a policy is checked", async || {
        get(admin, &path).await.is_ok_and(|policy| policy["status"]["observedGeneration"] == policy["metadata"]["generation"])
    })
    .await;
    let policy = get(admin, &path).await.unwrap();
    let warnings = policy["status"]["typeChecking"]["expressionWarnings"].as_array().cloned().unwrap_or_default();
    Value::from_iter(warnings.into_iter().map(|mut warning| {
        warning["warning"] = Value::String(unnumbered(warning["warning"].as_str().unwrap()));
        warning
    }))
}

/// The server makes names of types unique by a number after the kind: `Deployment501347000.spec`.
fn unnumbered(text: &str) -> String {
    let mut kept = String::new();
    let mut number = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_digit() && (!number.is_empty() || kept.ends_with(|before: char| before.is_ascii_alphabetic())) {
            number.push(letter);
            continue;
        }
        if number.len() < 4 {
            kept.push_str(&number);
        }
        number.clear();
        kept.push(letter);
    }
    kept.trim_end_matches('\0').to_owned()
}

/// Bounded: neither of these offers an event.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "still waiting after {LIMIT:?} until {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
