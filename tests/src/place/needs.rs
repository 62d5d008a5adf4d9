//! What somebody else's cluster must have before anything is installed there, told in words when it lacks it: first what can
//! be read from the API server, then what only a pod on a node can try.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use assent_cluster::image::Builder;
use assent_cluster::{Access, Image};
use serde_json::{Value, json};

use super::Place;
use crate::install::{self, Progress, SHOP};

/// Oldest minor version of the API server: ValidatingAdmissionPolicy v1.
const API_SERVER: u32 = 30;
/// Oldest minor version of a kubelet: native sidecars.
const KUBELET: u32 = 29;
/// Longest time for the pod that tries a node, with its images pulled.
const PATIENCE: Duration = Duration::from_secs(180);
const POD: &str = "assent-needs";

/// The image of that pod.
pub(super) fn image() -> anyhow::Result<Image> {
    Ok(Builder::new("assent-needs", "1").package("dash").package("nftables").package("openssl").build_blocking()?)
}

/// What can be read.
pub(super) async fn plain(access: &Access) -> anyhow::Result<()> {
    let version = access.client().await?.apiserver_version().await.context("ask the API server for its version")?;
    let major_minor = minor(&format!("v{}.{}", version.major, version.minor));
    ensure!(major_minor.is_some_and(|is| is >= API_SERVER), "the API server is {}, and Assent needs 1.{API_SERVER}", version.git_version);
    let allowed = access.kubectl(&["auth", "can-i", "*", "*", "--all-namespaces"]).await;
    ensure!(allowed.is_ok_and(|said| said.trim() == "yes"), "installing Assent needs the rights of a cluster administrator, and the context's user has not");
    Ok(())
}

fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("v1.")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// What a pod must try: it is made as a meshed pod would be, and asks every kubelet for its certificate.
pub(super) async fn probe(place: &Place, progress: Progress<'_>) -> anyhow::Result<()> {
    let tried = try_pod(place, progress).await;
    if tried.is_err() {
        // Nothing else has been made yet.
        place.leave(progress).await.context("remove what was made for the checks")?;
    }
    tried
}

async fn try_pod(place: &Place, progress: Progress<'_>) -> anyhow::Result<()> {
    progress("checking what sidecars need: native sidecars, NET_ADMIN, kubelets' certificates");
    let nodes: Value = serde_json::from_str(&place.kubectl(&["get", "nodes", "-o", "json"]).await?)?;
    let addresses = addresses(&nodes)?;
    install::shop_namespace(place).await?;
    let file = place.dir().join("needs.json");
    std::fs::write(&file, pod(place, &addresses).to_string())?;
    let file = file.display().to_string();
    // A namespace's account takes a moment to be there.
    install::patiently(place, &["-n", SHOP, "get", "serviceaccount", "default"]).await?;
    let dry = place.kubectl(&["apply", "-f", &file, "--dry-run=server", "-o", "json"]).await.context("the cluster refuses a pod as sidecars make it")?;
    let would: Value = serde_json::from_str(&dry)?;
    ensure!(would["spec"]["initContainers"][1]["restartPolicy"] == "Always", "the API server knows no native sidecars (feature SidecarContainers)");
    place.kubectl(&["apply", "-f", &file]).await?;
    let said = finished(place).await?;
    place.kubectl(&["-n", SHOP, "delete", "pod", POD, "--wait=true"]).await?;
    kubelets(&said, place.source().kubelet_insecure)
}

/// Internal addresses of the nodes, each of them recent enough.
fn addresses(nodes: &Value) -> anyhow::Result<Vec<String>> {
    let nodes = nodes["items"].as_array().filter(|nodes| !nodes.is_empty()).context("the cluster has no nodes")?;
    let mut addresses = Vec::new();
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default();
        ensure!(minor(version).is_some_and(|is| is >= KUBELET), "the kubelet of `{name}` is {version}, and native sidecars need 1.{KUBELET}");
        let address = node["status"]["addresses"].as_array().into_iter().flatten().find(|address| address["type"] == "InternalIP");
        addresses.push(address.and_then(|address| address["address"].as_str()).with_context(|| format!("node `{name}` has no internal address"))?.to_owned());
    }
    Ok(addresses)
}

fn pod(place: &Place, addresses: &[String]) -> Value {
    let source = place.source();
    let (image, shop) = (source.reference("localhost/assent-needs:1"), source.reference("localhost/assent-shop:v1"));
    let plain = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    let root = json!({
        "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
    });
    let ask = addresses.iter().map(|address| {
        let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        format!("ask {address} {host}\n")
    });
    let script = format!(
        "ask() {{\n  said=$(openssl s_client -connect \"$2:10250\" -CAfile /ca/ca.crt -verify_ip \"$1\" -verify_return_error </dev/null 2>&1)\n  \
         case $said in\n    *'verify error'*) echo \"unverified $1\" ;;\n    *'Verification: OK'*) echo \"verified $1\" ;;\n    \
         *) echo \"unreachable $1\" ;;\n  esac\n}}\n{}",
        ask.collect::<String>()
    );
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "namespace": SHOP, "labels": {super::MARK.0: super::MARK.1}},
        "spec": {
            "restartPolicy": "Never", "activeDeadlineSeconds": PATIENCE.as_secs(), "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1001, "runAsGroup": 1001, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [
                {"name": "net-admin", "image": image, "command": ["/usr/sbin/nft", "add", "table", "inet", "assent_needs"], "securityContext": root,
                 "terminationMessagePolicy": "FallbackToLogsOnError"},
                {"name": "sidecar", "image": shop, "command": ["/assent-shop", "load"], "restartPolicy": "Always", "securityContext": plain},
            ],
            "containers": [
                {"name": "kubelets", "image": image, "command": ["/bin/sh", "-c", script], "securityContext": plain,
                 "volumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": true}]},
            ],
            // The CA that the compute seat trusts too.
            "volumes": [{"name": "ca", "configMap": {"name": "kube-root-ca.crt"}}],
        },
    })
}

/// Waits for the pod; what it said, or in words why it did not get that far.
async fn finished(place: &Place) -> anyhow::Result<String> {
    let started = Instant::now();
    loop {
        let pod: Value = serde_json::from_str(&place.kubectl(&["-n", SHOP, "get", "pod", POD, "-o", "json"]).await?)?;
        match pod["status"]["phase"].as_str() {
            Some("Succeeded") => return Ok(place.kubectl(&["-n", SHOP, "logs", POD, "-c", "kubelets"]).await?),
            Some("Failed") => bail!("a pod as sidecars make it failed: {}", trouble(&pod)),
            _ if started.elapsed() > PATIENCE => bail!("a pod as sidecars make it did not run: {}", trouble(&pod)),
            // A missing image does not appear by waiting.
            _ if trouble(&pod).contains("ImagePullBackOff") => bail!("a node cannot pull an image that was pushed: {}", trouble(&pod)),
            // The pod is asked again: a watch would have to be renewed as often.
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// What the containers of a pod wait for or ended with, and what the scheduler says.
fn trouble(pod: &Value) -> String {
    let status = &pod["status"];
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for container in list("initContainerStatuses").iter().chain(&list("containerStatuses")) {
        for state in ["waiting", "terminated"] {
            let state = &container["state"][state];
            let reason = state["reason"].as_str().unwrap_or_default();
            if !reason.is_empty() && !["Completed", "PodInitializing"].contains(&reason) {
                lines.push(format!("{}: {reason}: {}", container["name"].as_str().unwrap_or_default(), state["message"].as_str().unwrap_or_default().trim()));
            }
        }
    }
    lines.extend(list("conditions").iter().filter(|it| it["reason"] == "Unschedulable").filter_map(|it| it["message"].as_str().map(str::to_owned)));
    lines.extend(status["message"].as_str().map(str::to_owned));
    if lines.is_empty() { "it says nothing".into() } else { lines.join("; ") }
}

/// Judges what the pod said of each kubelet.
fn kubelets(said: &str, insecure: bool) -> anyhow::Result<()> {
    let of = |word: &str| said.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect::<Vec<_>>().join(", ");
    let (unreachable, unverified) = (of("unreachable"), of("unverified"));
    ensure!(unreachable.is_empty(), "pods cannot reach the kubelets at {unreachable} (port 10250), and the compute seat would have nothing to judge by");
    ensure!(
        unverified.is_empty() || insecure,
        "the cluster's CA did not sign the certificates of the kubelets at {unverified} (kubeadm and kind leave them so). With \
         DEMO_KUBELET_INSECURE=1 the demo believes whoever answers there, and shows them the compute seat's token"
    );
    ensure!(!of("verified").is_empty() || !unverified.is_empty(), "no kubelet was asked: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_are_believed_when_the_ca_signed_them_or_somebody_says_so() {
        kubelets("verified 10.0.0.1\nverified 10.0.0.2\n", false).unwrap();
        let refusal = kubelets("verified 10.0.0.1\nunverified 10.0.0.2\n", false).unwrap_err().to_string();
        assert!(refusal.contains("10.0.0.2") && !refusal.contains("10.0.0.1") && refusal.contains("DEMO_KUBELET_INSECURE=1"), "{refusal}");
        kubelets("unverified 10.0.0.2\n", true).unwrap();
        assert!(kubelets("unreachable fd00::1\n", true).unwrap_err().to_string().contains("fd00::1"));
        assert!(kubelets("", true).is_err());
    }

    #[test]
    fn nodes_are_recent_and_have_an_address() {
        let node = |version: &str| {
            json!({"items": [{"metadata": {"name": "n"}, "status": {"nodeInfo": {"kubeletVersion": version}, "addresses": [
            {"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]}}]})
        };
        assert_eq!(addresses(&node("v1.29.0-eks-1")).unwrap(), ["10.0.0.1"]);
        for old in ["v1.28.9", "v0.30.0", ""] {
            assert!(addresses(&node(old)).is_err(), "{old}");
        }
        assert!(addresses(&json!({"items": []})).is_err());
    }

    #[test]
    fn trouble_names_the_container_and_its_reason() {
        let pod = json!({"status": {"initContainerStatuses": [
            {"name": "net-admin", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}},
            {"name": "sidecar", "state": {"waiting": {"reason": "PodInitializing"}}}]}});
        assert_eq!(trouble(&pod), "net-admin: ImagePullBackOff: no such host");
        assert_eq!(trouble(&json!({})), "it says nothing");
    }
}
