//! An overlay of `init`, applied in its two stages; the definitions; and what the rules inside them refuse.

use anyhow::{Context as _, Result, ensure};
use assent_cli::init::{InitArgs, Settings, Sources};
use assent_cluster::{Cluster, api_only};
use kube::api::{DeleteParams, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::world::{INCIDENT, apply, manifests, objects, parse, refused, until_ok};

fn init(directory: &std::path::Path, force: bool) -> Result<()> {
    let settings = Settings {
        registry: "registry.local/assent".into(),
        tag: "t1".into(),
        api_server: vec!["10.9.8.7/32".into()],
        ledger_size: "1Gi".into(),
        sidecar_digest: None,
        ephemeral_ledger: false,
        keep_configuration: true,
        kubelet_insecure: true,
        slack_channel: Some("C024BE91L".into()),
        sources: Sources { prometheus_url: Some("http://prometheus.monitoring.svc:9090".into()), loki_url: None, pod_logs: true, traces: true },
    };
    assent_cli::init::write(&InitArgs { directory: directory.to_owned(), force, settings })
}

#[test]
fn committed_definitions_are_those_of_the_types() -> Result<()> {
    let files = assent_cli::crds::files()?;
    let folder = manifests().join("crds");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let all = files.iter().cloned().chain([("kustomization.yaml".to_owned(), assent_cli::crds::kustomization(&files))]);
    for (name, text) in all {
        if update {
            std::fs::write(folder.join(&name), &text)?;
        }
        let committed = std::fs::read_to_string(folder.join(&name)).with_context(|| format!("read {name}"))?;
        ensure!(committed == text, "manifests/crds/{name} is stale: run this test with UPDATE_EXPECT=1");
    }
    ensure!(std::fs::read_dir(&folder)?.count() == files.len() + 1, "manifests/crds holds a definition that no type has");
    Ok(())
}

#[test]
fn init_overwrites_nothing_and_keeps_its_keys_when_forced() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let overlay = directory.path().join("assent");
    init(&overlay, false)?;
    let read = |name: &str| std::fs::read_to_string(overlay.join(name));
    let before = [read("gate/secrets.yaml")?, read("secrets.yaml")?, read("kustomization.yaml")?];
    let refusal = init(&overlay, false).err().context("a second run must refuse")?.to_string();
    ensure!(refusal.contains("--force"), "{refusal}");
    let roster = read("roster.yaml")?.replace("quorum: 3", "quorum: 4");
    std::fs::write(overlay.join("roster.yaml"), &roster)?;
    std::fs::write(overlay.join("base/stale.yaml"), "")?;
    init(&overlay, true)?;
    ensure!(before == [read("gate/secrets.yaml")?, read("secrets.yaml")?, read("kustomization.yaml")?], "keys must stay");
    ensure!(read("roster.yaml")?.contains("quorum: 4") && !overlay.join("base/stale.yaml").exists());
    use std::os::unix::fs::PermissionsExt as _;
    ensure!(std::fs::metadata(overlay.join("secrets.yaml"))?.permissions().mode() & 0o077 == 0, "keys are for their owner only");

    let foreign = directory.path().join("foreign");
    std::fs::create_dir(&foreign)?;
    std::fs::write(foreign.join("diary.txt"), "mine")?;
    ensure!(init(&foreign, true).is_err() && std::fs::read_dir(&foreign)?.count() == 1, "a foreign directory is never touched");
    Ok(())
}

#[tokio::test]
async fn an_overlay_installs_the_gate_first_and_then_what_must_pass_it() -> Result<()> {
    let cluster = api_only("install").await?;
    let directory = tempfile::tempdir()?;
    let overlay = directory.path().join("assent");
    init(&overlay, false)?;
    let all = overlay.display().to_string();
    cluster.kubectl(&["apply", "-k", &format!("{all}/gate")]).await?;
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await?;

    let stored = parse(&cluster.kubectl(&["get", "validatingwebhookconfiguration", "assent-gate", "-o", "json"]).await?)?;
    let digest = assent_api::gate::configuration_digest(&stored)?;
    let roster: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(overlay.join("roster.yaml"))?)?;
    ensure!(roster["spec"]["gate"] == digest.as_str(), "the roster pins another configuration than the server returns");
    ensure!(stored["webhooks"].as_array().is_some_and(|all| all.iter().all(|webhook| webhook["clientConfig"]["caBundle"].is_string())));

    // No gate runs here, so our own kinds are closed to everybody, and pausing still works.
    let roster_at = overlay.join("roster.yaml").display().to_string();
    let closed = cluster.kubectl(&["apply", "-f", &roster_at]).await;
    ensure!(closed.as_ref().is_err_and(|error| error.to_string().contains("kinds.gate.assent.dev")), "{closed:?}");
    let pause = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Pause", "metadata": {"name": "all"}, "spec": {"reason": "test"}});
    let pauses = objects(cluster.client().await?, Some("assent-system"), "assent.dev", "v1alpha1", "Pause");
    pauses.create(&PostParams::default(), &serde_json::from_value(pause)?).await.context("a pause needs no gate")?;
    refused(pauses.delete("all", &DeleteParams::default()).await.map(|_| ()), "kinds.gate.assent.dev")?;

    // The rest is accepted by the server. For that the gate is taken out of the way, which nothing protects yet.
    cluster.kubectl(&["delete", "validatingwebhookconfiguration", "assent-gate"]).await?;
    std::fs::write(
        directory.path().join("kustomization.yaml"),
        "resources: [assent]\npatches: [{target: {kind: ValidatingWebhookConfiguration}, patch: '{\"$patch\": \"delete\", \"apiVersion\": \"admissionregistration.k8s.io/v1\", \"kind\": \"ValidatingWebhookConfiguration\", \"metadata\": {\"name\": \"assent-gate\"}}'}]\n",
    )?;
    let without_gate = directory.path().display().to_string();
    until_ok(async || cluster.kubectl(&["apply", "-k", &without_gate]).await).await?;
    cluster.kubectl(&["get", "validatingadmissionpolicybinding", "assent-gate-protection"]).await?;
    pods_are_restricted(&cluster).await?;
    let images = cluster
        .kubectl(&["get", "deployments", "-n", "assent-system", "-o", "jsonpath={..image}{' '}{..env[?(@.name=='ASSENT_SIDECAR_IMAGE')].value}"])
        .await?;
    ensure!(images.split_whitespace().all(|image| image.starts_with("registry.local/assent/assent-") && image.ends_with(":t1")), "{images}");
    let pinned = cluster.kubectl(&["get", "validatingadmissionpolicy", "assent-sidecar-image", "-o", "jsonpath={.spec.variables[0].expression}"]).await?;
    ensure!(pinned == r#"["registry.local/assent/assent-sidecar:t1"]"#, "{pinned}");
    let claim = cluster.kubectl(&["get", "deployment", "assent-director", "-n", "assent-system", "-o", "jsonpath={..volumes[?(@.name=='store')]}"]).await?;
    ensure!(claim.contains("persistentVolumeClaim") && !claim.contains("emptyDir"), "{claim}");
    let told = cluster.kubectl(&["get", "deployment", "assent-director", "-n", "assent-system", "-o", "jsonpath={..env[*].value}"]).await?;
    ensure!(told.contains("C024BE91L") && told.contains("/var/run/assent/slack/token") && told.contains("/var/lib/assent"), "{told}");
    let slack = cluster.kubectl(&["get", "networkpolicy", "assent-director-slack", "-n", "assent-system", "-o", "jsonpath={.spec.egress}"]).await?;
    ensure!(slack.contains("443"), "{slack}");
    let egress = cluster.kubectl(&["get", "networkpolicy", "assent-common", "-n", "assent-system", "-o", "jsonpath={.spec.egress[1].to}"]).await?;
    ensure!(egress.contains("10.9.8.7/32") && !egress.contains("192.168"), "{egress}");
    let ledger = cluster.kubectl(&["get", "networkpolicy", "assent-director", "-n", "assent-system", "-o", "jsonpath={.spec.ingress[3]}"]).await?;
    ensure!(ledger.contains("10.9.8.7/32") && ledger.contains("8081"), "{ledger}");
    let kubelet = cluster.kubectl(&["get", "deployment", "assent-seat-compute", "-n", "assent-system", "-o", "jsonpath={..env[*].name}"]).await?;
    ensure!(kubelet.contains("ASSENT_KUBELET_INSECURE") && !kubelet.contains("ASSENT_KUBELET_CA_FILE"), "{kubelet}");
    Ok(())
}

/// Creates a pod of every Deployment by dry run: the namespace enforces the `restricted` profile.
async fn pods_are_restricted(cluster: &Cluster) -> Result<()> {
    let deployments = parse(&cluster.kubectl(&["get", "deployments", "-n", "assent-system", "-o", "json"]).await?)?;
    let items = deployments["items"].as_array().context("items")?;
    ensure!(items.len() == 11, "{} deployments", items.len());
    let pods = objects(cluster.client().await?, Some("assent-system"), "", "v1", "Pod");
    for deployment in items {
        let name = deployment["metadata"]["name"].as_str().context("name")?;
        let pod: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": deployment["spec"]["template"]["spec"],
        }))?;
        let dry_run = PostParams { dry_run: true, field_manager: None };
        pods.create(&dry_run, &pod).await.with_context(|| format!("pod of {name}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn definitions_refuse_what_their_rules_forbid() -> Result<()> {
    let cluster = api_only("definitions").await?;
    apply(&cluster, &["crds", "base/namespace"]).await?;
    let admin = cluster.client().await?;
    let create = PostParams::default();

    let decisions = objects(admin.clone(), Some("assent-system"), "assent.dev", "v1alpha1", "Decision");
    let decision: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "Decision", "metadata": {"name": format!("{INCIDENT}-1")},
        "spec": {"incident": INCIDENT, "epoch": 1, "verdict": "Hold", "cause": "", "action": "", "confidence": "1 %", "ballots": [], "reasons": [], "payload": "{}"},
    }))?;
    let mut stored = decisions.create(&create, &decision).await?;
    stored.data["spec"]["verdict"] = json!("Act");
    refused(decisions.replace(&decision.metadata.name.clone().unwrap_or_default(), &create, &stored).await, "a decision never changes")?;

    let blueprints = objects(admin.clone(), Some("default"), "assent.dev", "v1alpha1", "Blueprint");
    let blueprint = |mode: &str| -> Result<DynamicObject> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "shop"},
            "spec": {"target": {"kind": "Deployment", "name": "shop"}, "mode": mode},
        }))?)
    };
    refused(blueprints.create(&create, &blueprint("reckless")?).await, "spec.mode")?;
    blueprints.create(&create, &blueprint("observe")?).await?;

    let rosters = objects(admin, None, "assent.dev", "v1alpha1", "Roster");
    let roster = json!({
        "apiVersion": "assent.dev/v1alpha1", "kind": "Roster", "metadata": {"name": "default"},
        "spec": {
            "seats": [{"name": "network", "domain": "network", "account": "assent-seat-network"}], "quorum": 1, "supporters": 1, "trustRoots": "", "gate": "0".repeat(64),
            "tally": {"prior": 1, "thresholdLow": 1, "thresholdMedium": 1, "thresholdHigh": 1, "margin": 1, "weights": []},
        },
    });
    refused(rosters.create(&create, &serde_json::from_value(roster)?).await, "spec.supporters")?;
    Ok(())
}
