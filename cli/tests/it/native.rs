//! The native policies, which hold without any process of ours: no gate runs in these tests.

use anyhow::{Context as _, Result, ensure};
use assent_cluster::{Cluster, api_only};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::world::{INCIDENT, apply, client_as, deployment, manifests, objects, refused, until_ok, until_refused};

fn ballot(seat: &str) -> Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "Ballot", "metadata": {"name": format!("{INCIDENT}-1-cause-{seat}")},
        "spec": {"incident": INCIDENT, "seat": seat, "epoch": 1, "round": "cause", "summary": "", "signed": {"payload": "{}", "signature": "", "certificates": [""]}},
    }))?)
}

#[tokio::test]
async fn a_ballot_is_created_by_its_own_seat_and_never_changes() -> Result<()> {
    let cluster = api_only("ballots").await?;
    apply(&cluster, &["crds", "base/namespace", "base/policies", "base/specialists"]).await?;
    let ballots = |client: Client| objects(client, Some("assent-system"), "assent.dev", "v1alpha1", "Ballot");
    let network = ballots(client_as(&cluster, "system:serviceaccount:assent-system:assent-seat-network", &[]).await?);
    let admin = ballots(cluster.client().await?);
    let create = PostParams::default();
    let dry_run = PostParams { dry_run: true, field_manager: None };

    let forged = ballot("compute")?;
    until_refused("is not the account of the seat", async || network.create(&dry_run, &forged).await).await?;
    refused(admin.create(&create, &ballot("compute")?).await, "is not the account of the seat")?;
    let mut misnamed = ballot("network")?;
    misnamed.metadata.name = Some("another".into());
    refused(network.create(&create, &misnamed).await, "a ballot is named")?;
    let mut owned = ballot("network")?;
    owned.metadata.finalizers = Some(vec!["example.org/held".into()]);
    refused(network.create(&create, &owned).await, "neither owner nor finalizers")?;

    let mut stored = network.create(&create, &ballot("network")?).await.context("a seat's own ballot")?;
    let name = stored.metadata.name.clone().context("name")?;
    refused(network.get(&name).await, "cannot get resource")?;
    stored.metadata.labels = Some([("assent.dev/incident-uid".to_owned(), "other".to_owned())].into());
    refused(admin.replace(&name, &create, &stored).await, "never changes")?;
    Ok(())
}

#[tokio::test]
async fn the_director_brings_words_by_slack_and_no_other() -> Result<()> {
    let cluster = api_only("approvals").await?;
    apply(&cluster, &["crds", "base/namespace", "base/policies", "base/director"]).await?;
    let approvals = |client: Client| objects(client, Some("assent-system"), "assent.dev", "v1alpha1", "Approval");
    let director = approvals(client_as(&cluster, "system:serviceaccount:assent-system:assent-director", &[]).await?);
    let admin = approvals(cluster.client().await?);
    let word = |user: &str, slack: Value| -> Result<DynamicObject> {
        let mut word = json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "metadata": {"generateName": "word-"},
            "spec": {"request": "apr-1", "change": "0".repeat(64), "verdict": "Approve", "user": user},
        });
        if !slack.is_null() {
            word["spec"]["slack"] = slack;
        }
        Ok(serde_json::from_value(word)?)
    };
    let signed = json!({"timestamp": "1531420618", "signature": "v0=00", "body": "payload=%7B%7D"});
    let (create, dry_run) = (PostParams::default(), PostParams { dry_run: true, field_manager: None });
    let own = word("alice", Value::Null)?;
    until_refused("creates no such approval", async || director.create(&dry_run, &own).await).await?;
    for (user, slack) in [("slack:T1/U1", Value::Null), ("alice", signed.clone())] {
        refused(director.create(&create, &word(user, slack)?).await, "creates no such approval")?;
    }
    for (user, slack) in [("slack:T1/U1", signed.clone()), ("slack:T1/U1", Value::Null), ("alice", signed.clone())] {
        refused(admin.create(&create, &word(user, slack)?).await, "creates no such approval")?;
    }
    director.create(&create, &word("slack:T1/U1", signed)?).await.context("what Slack signed, for the gate to judge")?;
    admin.create(&create, &own).await.context("a person's word")?;
    Ok(())
}

#[tokio::test]
async fn nobody_deletes_or_edits_our_webhook_configurations_but_for_their_ca() -> Result<()> {
    let cluster = api_only("protection").await?;
    apply(&cluster, &["base/namespace", "base/policies", "base/protection"]).await?;
    for file in ["base/gate/configuration.yaml", "base/injector/configuration.yaml"] {
        cluster.kubectl(&["apply", "-f", &manifests().join(file).display().to_string()]).await?;
    }
    let admin = cluster.client().await?;
    let of = |kind: &str| objects(admin.clone(), None, "admissionregistration.k8s.io", "v1", kind);
    let gate = of("ValidatingWebhookConfiguration");
    let dry_run = DeleteParams::default().dry_run();
    until_refused("is never deleted", async || gate.delete("assent-gate", &dry_run).await.map(|_| ())).await?;
    refused(gate.delete("assent-gate", &DeleteParams::default()).await.map(|_| ()), "is never deleted")?;
    refused(gate.delete_collection(&DeleteParams::default(), &ListParams::default()).await.map(|_| ()), "is never deleted")?;
    refused(of("MutatingWebhookConfiguration").delete("assent-injector", &DeleteParams::default()).await.map(|_| ()), "is never deleted")?;

    let path = |name: &str| format!("/webhooks/0/{name}");
    let edits = [
        json!({"op": "replace", "path": path("failurePolicy"), "value": "Ignore"}),
        json!({"op": "replace", "path": path("clientConfig/service/name"), "value": "another"}),
        json!({"op": "replace", "path": path("rules/0/resources"), "value": ["pods"]}),
        json!({"op": "add", "path": path("matchConditions/-"), "value": {"name": "never", "expression": "false"}}),
        json!({"op": "add", "path": path("namespaceSelector/matchLabels"), "value": {"only": "here"}}),
        json!({"op": "replace", "path": path("timeoutSeconds"), "value": 1}),
        json!({"op": "remove", "path": "/webhooks/1"}),
        json!({"op": "remove", "path": "/webhooks"}),
    ];
    for operation in edits {
        refused(edit(&gate, "assent-gate", &operation).await, "only `caBundle` may change").with_context(|| operation.to_string())?;
    }
    let owner = json!({"op": "add", "path": "/metadata/ownerReferences", "value": [{"apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "1"}]});
    refused(edit(&gate, "assent-gate", &owner).await, "owner references")?;
    // Any self-signed certificate will do: the server only parses it.
    let bundle = json!({"op": "add", "path": path("clientConfig/caBundle"), "value": base64(cluster.ca_pem())});
    edit(&gate, "assent-gate", &bundle).await.context("the CA may be renewed")?;
    let injector = of("MutatingWebhookConfiguration");
    let reinvocation = json!({"op": "replace", "path": path("reinvocationPolicy"), "value": "Never"});
    refused(edit(&injector, "assent-injector", &reinvocation).await, "only `caBundle` may change")?;

    // Other people's configurations are none of our business.
    let mut other = gate.get("assent-gate").await?;
    other.metadata = kube::core::ObjectMeta { name: Some("somebody-elses".into()), ..Default::default() };
    other.data["webhooks"][0]["matchConditions"] = json!([{"name": "never", "expression": "false"}]);
    other.data["webhooks"][1]["matchConditions"] = json!([{"name": "never", "expression": "false"}]);
    gate.create(&PostParams::default(), &other).await?;
    gate.delete("somebody-elses", &DeleteParams::default()).await?;
    Ok(())
}

async fn edit(api: &Api<DynamicObject>, name: &str, operation: &Value) -> kube::Result<DynamicObject> {
    let patch = serde_json::from_value(json!([operation])).map_err(kube::Error::SerdeError)?;
    api.patch(name, &PatchParams::default(), &Patch::<Value>::Json(patch)).await
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn the_executors_user_stays_within_its_limits_without_the_gate() -> Result<()> {
    let cluster = api_only("limits").await?;
    apply(&cluster, &["base/namespace", "base/policies", "base/executor"]).await?;
    cluster.kubectl(&["create", "namespace", "shop"]).await?;
    deployment(&cluster, "shop", "orders").await?;
    deployment(&cluster, "assent-system", "own").await?;
    deployment(&cluster, "kube-public", "theirs").await?;
    let user = "assent:executor";
    let one = client_as(&cluster, user, &[INCIDENT]).await?;
    let deployments = |client: &Client, namespace: &str| objects(client.clone(), Some(namespace), "apps", "v1", "Deployment");
    let shop = deployments(&one, "shop");
    let admin = cluster.client().await?;
    let read = |namespace: &str| deployments(&admin, namespace);

    for incidents in [vec![], vec![INCIDENT, "01890a5d-ac96-774b-bcce-b302099a8058"]] {
        let client = client_as(&cluster, user, &incidents).await?;
        let api = deployments(&client, "shop");
        until_refused("names exactly one incident", async || write(&read("shop"), &api, "orders", "/spec/template/metadata/labels/a", json!("b"), true).await)
            .await?;
    }
    for (namespace, name) in [("assent-system", "own"), ("kube-public", "theirs")] {
        refused(write(&read(namespace), &deployments(&one, namespace), name, "/spec/template/metadata/labels/a", json!("b"), false).await, "never targets")?;
    }
    for (path, value) in [("/spec/replicas", json!(3)), ("/spec/paused", json!(true)), ("/spec/revisionHistoryLimit", json!(0))] {
        refused(write(&read("shop"), &shop, "orders", path, value, false).await, "only `spec.template`").context(path)?;
    }
    refused(write(&read("shop"), &shop, "orders", "/spec/strategy", json!({"type": "Recreate"}), false).await, "keeps its way of rolling out")?;
    // One pod first, and then the rest.
    for (path, value) in [
        ("/spec/strategy/rollingUpdate", json!({"maxSurge": 1, "maxUnavailable": 0})),
        ("/spec/minReadySeconds", json!(60)),
        ("/spec/strategy/rollingUpdate", json!({"maxSurge": "25%", "maxUnavailable": "25%"})),
        ("/spec/minReadySeconds", Value::Null),
    ] {
        write(&read("shop"), &shop, "orders", path, value, false).await.with_context(|| format!("{path} may change"))?;
    }
    for (path, value) in [
        ("/metadata/labels/team", json!("other")),
        ("/metadata/annotations", json!({"a": "b"})),
        ("/metadata/finalizers", json!(["example.org/held"])),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"}])),
    ] {
        refused(write(&read("shop"), &shop, "orders", path, value, false).await, "metadata of a target").context(path)?;
    }
    write(&read("shop"), &shop, "orders", "/spec/template/spec/containers/0/image", json!("localhost/app:2"), false)
        .await
        .context("the template may change")?;
    until_ok(async || {
        let mut scale = read("shop").get_scale("orders").await?;
        scale.spec.get_or_insert_default().replicas = Some(2);
        shop.replace_scale("orders", &PostParams::default(), &scale).await
    })
    .await
    .context("the scale may change")?;

    of_a_daemon_set_the_template_changes_and_what_the_server_counts(&admin, &one).await?;
    a_pod_is_evicted_by_its_uid_and_in_its_own_time(&admin, &one).await?;
    anything_else_is_refused(&cluster, &one).await
}

async fn of_a_daemon_set_the_template_changes_and_what_the_server_counts(admin: &Client, one: &Client) -> Result<()> {
    let [read, agents] = [admin, one].map(|client| objects(client.clone(), Some("shop"), "apps", "v1", "DaemonSet"));
    let agent = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "localhost/app:1"}]}}}});
    read.create(&PostParams::default(), &serde_json::from_value(agent)?).await?;
    write(&read, &agents, "agent", "/spec/template/spec/containers/0/image", json!("localhost/app:2"), false).await.context("its template may change")?;
    let counted = read.get("agent").await?.annotations().get("deprecated.daemonset.template.generation").cloned();
    ensure!(counted.as_deref() == Some("2"), "the server counts templates: {counted:?}");
    refused(write(&read, &agents, "agent", "/metadata/annotations/a", json!("b"), false).await, "metadata of a target")?;
    refused(write(&read, &agents, "agent", "/spec/minReadySeconds", json!(7), false).await, "only `spec.template`")
}

async fn a_pod_is_evicted_by_its_uid_and_in_its_own_time(admin: &Client, one: &Client) -> Result<()> {
    let pods = objects(admin.clone(), Some("shop"), "", "v1", "Pod");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "localhost/app:1"}]}});
    let uid = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?.metadata.uid;
    let evict = async |name: &str, options: Value, query: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "shop"}, "deleteOptions": options});
        let request = http::Request::post(format!("/api/v1/namespaces/shop/pods/{name}/eviction?fieldManager=assent-executor{query}"));
        let request = request.header("Content-Type", "application/json").body(eviction.to_string().into_bytes()).map_err(kube::Error::HttpError)?;
        one.request::<Value>(request).await.map(|_| ())
    };
    let words = "which pod goes by its UID";
    for options in [json!({}), json!({"preconditions": {}}), json!({"preconditions": {"uid": uid}, "gracePeriodSeconds": 0})] {
        refused(evict("a", options.clone(), "").await, words).with_context(|| options.to_string())?;
    }
    let options = json!({"preconditions": {"uid": uid}});
    evict("a", options.clone(), "&dryRun=All").await.context("as a dry run")?;
    ensure!(pods.get_opt("a").await?.is_some(), "a dry run evicts nobody");
    evict("a", options, "").await.context("by its UID it goes")?;
    ensure!(pods.get_opt("a").await?.is_none(), "it is still there");
    Ok(())
}

/// Even with every right in the cluster.
async fn anything_else_is_refused(cluster: &Cluster, one: &Client) -> Result<()> {
    cluster.kubectl(&["create", "clusterrolebinding", "too-much", "--clusterrole=cluster-admin", "--user=assent:executor"]).await?;
    let words = "and nothing else";
    let deployments = objects(one.clone(), Some("shop"), "apps", "v1", "Deployment");
    let delete = DeleteParams::default().dry_run();
    until_refused(words, async || deployments.delete("orders", &delete).await.map(|_| ())).await?;
    refused(deployments.delete("orders", &DeleteParams::default()).await.map(|_| ()), words)?;
    refused(deployments.delete_collection(&DeleteParams::default(), &ListParams::default()).await.map(|_| ()), words)?;
    let map: DynamicObject = serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}))?;
    refused(objects(one.clone(), Some("shop"), "", "v1", "ConfigMap").create(&PostParams::default(), &map).await, words)?;
    let status = json!({"status": {"replicas": 9}});
    refused(deployments.patch_status("orders", &PatchParams::default(), &Patch::Merge(status)).await, words)?;
    let exec = http::Request::get("/api/v1/namespaces/shop/pods/any/exec?command=id").body(Vec::new())?;
    let exec = one.request::<Value>(exec).await;
    ensure!(exec.is_err(), "exec went through: {exec:?}");
    refused(cluster_wide_binding(one).await, words)
}

async fn cluster_wide_binding(one: &Client) -> kube::Result<DynamicObject> {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "mine"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [],
    });
    let binding = serde_json::from_value(binding).map_err(kube::Error::SerdeError)?;
    objects(one.clone(), None, "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding").create(&PostParams::default(), &binding).await
}

/// Reads the object (the executor's user cannot), sets one value and puts it back; once more where the deployment controller was faster.
async fn write(reader: &Api<DynamicObject>, api: &Api<DynamicObject>, name: &str, path: &str, value: Value, dry_run: bool) -> kube::Result<()> {
    loop {
        let mut object = serde_json::to_value(reader.get(name).await?).map_err(kube::Error::SerdeError)?;
        set(&mut object, path, value.clone());
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        match api.replace(name, &PostParams { dry_run, field_manager: Some("assent-executor".into()) }, &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            answer => return answer.map(|_| ()),
        }
    }
}

/// As JSON Patch's `add`, for paths whose parents exist and are objects or arrays with that element.
fn set(object: &mut Value, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        other => panic!("{parent} of {other}"),
    }
}

#[tokio::test]
async fn what_calls_itself_our_sidecar_is_the_image_that_was_installed() -> Result<()> {
    let cluster = api_only("sidecar-image").await?;
    apply(&cluster, &["base/namespace", "base/policies"]).await?;
    cluster.kubectl(&["create", "namespace", "shop"]).await?;
    let pods = objects(cluster.client().await?, Some("shop"), "", "v1", "Pod");
    let pod = |container: &str, image: &str| -> Result<DynamicObject> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
                "serviceAccountName": "default", "automountServiceAccountToken": false,
                "initContainers": [{"name": container, "image": image, "restartPolicy": "Always"}],
                "containers": [{"name": "app", "image": "registry.invalid/app:1"}],
            },
        }))?)
    };
    // The namespace's account is made a moment after it, and the policy is in force a moment after it was stored.
    until_ok(async || cluster.kubectl(&["-n", "shop", "get", "serviceaccount", "default"]).await).await?;
    let dry_run = PostParams { dry_run: true, field_manager: None };
    let foreign = pod("assent-sidecar", "registry.invalid/evil:1")?;
    until_refused("not registry.invalid/evil:1", async || pods.create(&dry_run, &foreign).await).await?;
    refused(pods.create(&dry_run, &pod("assent-redirect", "registry.invalid/assent-sidecar")?).await, "runs assent-sidecar, not")?;
    pods.create(&dry_run, &pod("logger", "registry.invalid/evil:1")?).await.context("other containers are not looked at")?;
    let stored = pods.create(&PostParams::default(), &pod("assent-sidecar", "assent-sidecar")?).await.context("the installed image")?;
    let image = json!({"op": "replace", "path": "/spec/initContainers/0/image", "value": "registry.invalid/evil:1"});
    let name = stored.metadata.name.context("name")?;
    refused(edit(&pods, &name, &image).await, "not registry.invalid/evil:1")?;
    a_living_pod_of_an_older_version_stays_editable(&cluster, &pods, &name).await
}

/// As after two upgrades: finalizers go, labels come, and only the installed image may follow.
async fn a_living_pod_of_an_older_version_stays_editable(cluster: &Cluster, pods: &Api<DynamicObject>, name: &str) -> Result<()> {
    let newer = r#"[{"op":"replace","path":"/spec/variables/0/expression","value":"[\"registry.invalid/new:3\", \"registry.invalid/new:2\"]"}]"#;
    cluster.kubectl(&["patch", "validatingadmissionpolicy", "assent-sidecar-image", "--type=json", "-p", newer]).await?;
    let image = |value: &str| json!({"op": "replace", "path": "/spec/initContainers/0/image", "value": value});
    until_refused("runs registry.invalid/new:3 or registry.invalid/new:2, not registry.invalid/evil:2", async || {
        edit(pods, name, &image("registry.invalid/evil:2")).await
    })
    .await?;
    edit(pods, name, &json!({"op": "add", "path": "/metadata/labels", "value": {"team": "a"}})).await.context("a label on an old pod")?;
    edit(pods, name, &image("registry.invalid/new:3")).await.context("the installed image, in place")?;
    Ok(())
}
