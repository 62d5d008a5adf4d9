//! Before a sidecar is stopped: is the new image on the node, and does it run there? A kubelet stops the old container before
//! it pulls the image of the new one, so that an image which cannot be had would leave a pod without its network.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::upgrade::until;

/// Brings `image` to the node of `pod` by a pod that runs it once, beside `pod` and with its pull secrets, and removes that again.
///
/// # Errors
/// If it does not run there within `limit`.
pub(super) async fn prepull(client: &Client, pod: &Pod, image: &str, limit: Duration) -> anyhow::Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    let api = Api::<Pod>::namespaced(client.clone(), &namespace);
    let wanted = serde_json::from_value(runs_once(pod, image)?).context("describe a pod that pulls the image")?;
    let made = api.create(&PostParams::default(), &wanted).await.context("create a pod that pulls the image")?;
    let name = made.name_any();
    let ended = until(&api, &name, limit, |seen| {
        let phase = seen.status.as_ref().and_then(|status| status.phase.as_deref());
        Ok(phase.filter(|phase| matches!(*phase, "Succeeded" | "Failed")).map(str::to_owned))
    })
    .await;
    let why = match &ended {
        Ok(_) => None,
        Err(_) => api.get(&name).await.ok().as_ref().and_then(waiting),
    };
    let removed = api.delete(&name, &DeleteParams::default().grace_period(0)).await.context("remove the pod that pulled the image");
    match ended
        .with_context(|| format!("image {image} on the node of `{}`{}", pod.name_any(), why.map(|why| format!(" ({why})")).unwrap_or_default()))?
        .as_str()
    {
        "Succeeded" => removed.map(drop),
        _ => bail!("image {image} does not run on the node of `{}`", pod.name_any()),
    }
}

fn waiting(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses.first()?.state.as_ref()?.waiting.as_ref()?;
    Some([waiting.reason.as_deref(), waiting.message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": "))
}

/// Admitted wherever the sidecar is, and by the strictest standard.
fn runs_once(pod: &Pod, image: &str) -> anyhow::Result<Value> {
    let spec = pod.spec.as_ref().context("the pod has no spec")?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "assent-pull-", "labels": { "app.kubernetes.io/part-of": "assent" },
            "annotations": { "assent.dev/inject": "disabled" },
        },
        "spec": {
            "nodeName": spec.node_name,
            "serviceAccountName": spec.service_account_name,
            "automountServiceAccountToken": false,
            "imagePullSecrets": spec.image_pull_secrets,
            "restartPolicy": "Never",
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "pull",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/assent-sidecar", "--version"],
                "resources": { "requests": { "cpu": "10m", "memory": "24Mi" }, "limits": { "cpu": "100m", "memory": "64Mi" } },
                "securityContext": {
                    "runAsUser": assent_api::mesh::UID, "runAsGroup": assent_api::mesh::UID, "runAsNonRoot": true,
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
                },
            }],
        },
    }))
}
