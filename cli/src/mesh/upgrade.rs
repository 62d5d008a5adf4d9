//! `mesh upgrade`: the installed sidecar for living pods. The image of a running native sidecar is changed in the pod itself;
//! the kubelet then restarts that container and no other. One pod at a time; the first that does not come back ends it.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use assent_api::mesh::{INJECTED, REDIRECT, SIDECAR, is_over};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::look::{sidecar, status, why, workload};
use super::prepull::prepull;
use super::{ScopeArgs, check, images, is_labelled};
use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{bold, dim, good};

/// Flags of `mesh upgrade`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The image is first brought to the pod's node by a pod that runs it once. Then the pod's own image is changed, with your rights;
the kubelet asks the old sidecar to stop, which goes on serving until its connections have ended, for twenty seconds at most.
Connections that are still open then break. From its end until the new one listens, usually a second or two, the pod neither
accepts nor opens connections. The application is not restarted.

Pods are taken one after the other, those of a workload together. It stops at the first whose sidecar does not become ready.

Examples:
  kubectl assent mesh upgrade -A --dry-run
  kubectl assent mesh upgrade -n shop
  kubectl assent mesh upgrade -n shop orders-7d4b9c-x2x9z")]
pub(crate) struct UpgradeArgs {
    /// Only these pods.
    #[arg(value_name = "POD")]
    pods: Vec<String>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only say what would be done; the API server is asked whether it would let it pass.
    #[arg(long)]
    dry_run: bool,
    /// Longest wait for a pod's image, and then for its sidecar, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

/// What the restart of one sidecar showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restart {
    /// Seconds between the end of the old and the start of the new one, as the kubelet tells them.
    gap: Option<i64>,
}

pub(super) async fn run(args: &UpgradeArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = connect.client().await?;
    let image = images(&client).await?.remove(0);
    let limit = Duration::from_secs(args.timeout);
    let mut outdated = Vec::new();
    for namespace in args.scope.namespaces(&client).await?.into_iter().filter(is_labelled) {
        outdated.extend(check::pods(&client, &namespace.name_any()).await?);
    }
    let outdated = outdated_of(outdated, &image, &args.pods)?;
    anstream::println!("{} pods have another sidecar than {}", outdated.len(), bold(&plain(&image)));
    let mut ready_nodes = HashSet::new();
    for (index, pod) in outdated.iter().enumerate() {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let line = format!("[{}/{}] {namespace}/{name} {}", index + 1, outdated.len(), dim(&format!("of {}", plain(&workload(pod)))));
        if args.dry_run {
            patch(&client, pod, &image, true).await?;
            anstream::println!("{line}: would be upgraded from {}", plain(sidecar(pod).and_then(|sidecar| sidecar.image.as_deref()).unwrap_or_default()));
            continue;
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        // Pull secrets may differ by namespace; the image, once there, does not.
        if ready_nodes.insert(node) {
            prepull(&client, pod, &image, limit).await?;
        }
        let Restart { gap } = upgrade(&client, pod, &image, limit).await.with_context(|| {
            let after = outdated.len() - index - 1;
            format!("stopped at {namespace}/{name}; {after} pods were not touched")
        })?;
        let gap = gap.map(|seconds| format!(", {seconds} s without one")).unwrap_or_default();
        anstream::println!("{line}: {}{gap}", good("the new sidecar is ready"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Living pods with a ready-made sidecar of another image, those of one workload together.
fn outdated_of(pods: Vec<Pod>, image: &str, only: &[String]) -> anyhow::Result<Vec<Pod>> {
    if let Some(absent) = only.iter().find(|name| !pods.iter().any(|pod| pod.name_any() == **name)) {
        bail!("there is no pod `{absent}` in a labelled namespace of these");
    }
    let other = |pod: &Pod| sidecar(pod).is_some_and(|sidecar| sidecar.image.as_deref() != Some(image));
    let mut outdated: Vec<Pod> = pods.into_iter().filter(|pod| !is_over(pod) && other(pod)).collect();
    outdated.retain(|pod| only.is_empty() || only.contains(&pod.name_any()));
    outdated.sort_by_cached_key(|pod| (pod.namespace(), workload(pod), pod.name_any()));
    Ok(outdated)
}

async fn upgrade(client: &Client, pod: &Pod, image: &str, limit: Duration) -> anyhow::Result<Restart> {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    // As it is now: it was listed before all those that came first.
    let now = api.get(&pod.name_any()).await.context("read the pod")?;
    let before = identity(&now).context("its sidecar has never run")?.to_owned();
    let applications = applications(&now);
    patch(client, pod, image, false).await?;
    let uid = pod.uid();
    let name = pod.name_any();
    let seen = until(&api, &name, limit, |seen| {
        if seen.uid() != uid {
            bail!("the pod was replaced by another one");
        }
        let restarted = identity(seen).is_some_and(|now| now != before) && status(seen).is_some_and(|status| status.ready);
        Ok(restarted.then(|| seen.clone()))
    });
    let seen = match seen.await {
        Ok(seen) => seen,
        Err(error) => {
            let now = api.get(&name).await.context("read the pod")?;
            let same = identity(&now) == Some(before.as_str());
            let hint = if same { ": its kubelet may be too old to restart a native sidecar for a new image".to_owned() } else { why(&now) };
            return Err(error.context(format!("its sidecar did not become ready{hint}")));
        }
    };
    if self::applications(&seen) != applications {
        bail!("a container of the application was restarted meanwhile");
    }
    Ok(Restart { gap: gap(&seen) })
}

/// The container that runs, which a restart replaces.
fn identity(pod: &Pod) -> Option<&str> {
    status(pod)?.container_id.as_deref().filter(|id| !id.is_empty())
}

fn applications(pod: &Pod) -> Vec<(String, Option<String>)> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let mut all: Vec<_> = statuses.into_iter().flatten().map(|status| (status.name.clone(), status.container_id.clone())).collect();
    all.sort();
    all
}

fn gap(pod: &Pod) -> Option<i64> {
    let status = status(pod)?;
    let ended = status.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?;
    let started = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?;
    Some(started.0.as_second() - ended.0.as_second())
}

/// Changes the pod that was looked at and no other.
async fn patch(client: &Client, pod: &Pod, image: &str, dry_run: bool) -> anyhow::Result<()> {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let params = PatchParams { dry_run, field_manager: Some("kubectl-assent".into()), ..PatchParams::default() };
    let patch: json_patch::Patch = serde_json::from_value(operations(pod, image)).context("make the patch")?;
    let patched = api.patch(&pod.name_any(), &params, &Patch::Json::<()>(patch)).await;
    patched.map(drop).with_context(|| format!("change the image in pod `{}`", pod.name_any()))
}

fn operations(pod: &Pod, image: &str) -> Value {
    let mut operations = vec![json!({ "op": "test", "path": "/metadata/uid", "value": pod.metadata.uid })];
    let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    for (index, container) in init.into_iter().flatten().enumerate().filter(|(_, container)| matches!(container.name.as_str(), SIDECAR | REDIRECT)) {
        operations.push(json!({ "op": "test", "path": format!("/spec/initContainers/{index}/name"), "value": container.name }));
        operations.push(json!({ "op": "replace", "path": format!("/spec/initContainers/{index}/image"), "value": image }));
    }
    if !pod.annotations().is_empty() {
        operations.push(json!({ "op": "add", "path": format!("/metadata/annotations/{}", INJECTED.replace('/', "~1")), "value": image }));
    }
    Value::Array(operations)
}

/// Follows one object until `found` says what it was waited for.
pub(super) async fn until<T>(api: &Api<Pod>, name: &str, limit: Duration, found: impl Fn(&Pod) -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let following = async {
        let mut events = std::pin::pin!(watcher(api.clone(), config));
        while let Some(event) = events.try_next().await.context("watch the pod")? {
            match event {
                watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                    if let Some(value) = found(&pod)? {
                        return Ok(value);
                    }
                }
                watcher::Event::Delete(_) => bail!("pod `{name}` is gone"),
                watcher::Event::Init | watcher::Event::InitDone => {}
            }
        }
        bail!("the watch of pod `{name}` ended")
    };
    tokio::time::timeout(limit, following).await.with_context(|| format!("pod `{name}` was waited for {} s", limit.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, owner: &str, image: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "annotations": { "team": "a" },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "1", "controller": true }],
            },
            "spec": { "initContainers": [{ "name": "first", "image": "x" }, { "name": SIDECAR, "image": image }, { "name": REDIRECT, "image": image }], "containers": [] },
            "status": { "phase": "Running" },
        }))
        .unwrap()
    }

    #[test]
    fn takes_the_outdated_ones_workload_by_workload() {
        let pods = || vec![pod("b-1", "b", "old"), pod("a-2", "a", "old"), pod("b-0", "b", "old"), pod("a-1", "a", "new")];
        let names = |only: &[String]| outdated_of(pods(), "new", only).map(|pods| pods.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>());
        assert_eq!(names(&[]).unwrap(), ["a-2", "b-0", "b-1"]);
        assert_eq!(names(&["b-1".into()]).unwrap(), ["b-1"]);
        assert!(names(&["c".into()]).unwrap_err().to_string().contains("no pod `c`"));
    }

    #[test]
    fn only_the_images_of_that_very_pod_change() {
        let changed = operations(&pod("a-1", "a", "old"), "new");
        assert_eq!(
            changed,
            json!([
                { "op": "test", "path": "/metadata/uid", "value": "uid-a-1" },
                { "op": "test", "path": "/spec/initContainers/1/name", "value": SIDECAR },
                { "op": "replace", "path": "/spec/initContainers/1/image", "value": "new" },
                { "op": "test", "path": "/spec/initContainers/2/name", "value": REDIRECT },
                { "op": "replace", "path": "/spec/initContainers/2/image", "value": "new" },
                { "op": "add", "path": "/metadata/annotations/assent.dev~1injected", "value": "new" },
            ])
        );
    }
}
