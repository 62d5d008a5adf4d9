//! A pod pruned to what seats judge by: where it is, whom it belongs to, what it may use and how its containers fare.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use assent_core::ids::UnixMillis;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;

/// The sidecar is not part of the application.
pub(crate) const SIDECAR: &str = "assent-sidecar";
const MAX_LABELS: usize = 32;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) host_network: bool,
    pub(crate) owner: Option<Owner>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) node: String,
    pub(crate) running: bool,
    /// Whether something on its node goes with it.
    pub(crate) local_data: bool,
    pub(crate) finished: bool,
    pub(crate) started_at: Option<UnixMillis>,
    /// Of all containers, the sidecar included: that is what the scheduler counts.
    pub(crate) request_milli: u64,
    /// Of the application's containers; none if one of them has none.
    pub(crate) own_request_milli: Option<u64>,
    pub(crate) own_request_bytes: Option<u64>,
    pub(crate) limit_milli: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) restarts: u32,
    pub(crate) failed_at: Option<UnixMillis>,
    pub(crate) crash_loop: bool,
    /// Containers that were last killed for want of memory.
    pub(crate) killed: BTreeSet<String>,
    /// Image ids of the application's containers.
    pub(crate) images: Vec<String>,
}

/// Who controls a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

// === impl Pod ===

impl Pod {
    /// `None` if the object was never stored.
    pub(crate) fn of(pod: &core::Pod) -> Option<Self> {
        let spec = pod.spec.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        let application: Vec<&core::Container> = spec.containers.iter().filter(|container| container.name != SIDECAR).collect();
        let statuses: Vec<&core::ContainerStatus> = status.container_statuses.iter().flatten().filter(|container| container.name != SIDECAR).collect();
        let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
        type Amounts = BTreeMap<String, Quantity>;
        let sum = |of: fn(&core::ResourceRequirements) -> Option<&Amounts>, resource: &str| -> Option<u64> {
            application.iter().map(|container| milli(of(container.resources.as_ref()?)?.get(resource)?)).sum()
        };
        let limit = |resource: &str| sum(|resources| resources.limits.as_ref(), resource);
        let own_request = |resource: &str| sum(|resources| resources.requests.as_ref(), resource);
        let ended = statuses.iter().filter_map(|container| Some((&container.name, container.last_state.as_ref()?.terminated.as_ref()?)));
        let failed: Vec<(&String, &core::ContainerStateTerminated)> = ended.filter(|(_, terminated)| terminated.exit_code != 0).collect();
        let time = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| UnixMillis(time.0.as_millisecond());
        let running = statuses.iter().filter_map(|container| container.state.as_ref()?.running.as_ref()?.started_at.as_ref());
        Some(Self {
            uid: pod.uid()?,
            namespace: pod.namespace()?,
            name: pod.name_any(),
            account: spec.service_account_name.clone().unwrap_or_else(|| "default".into()),
            addresses: status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()).take(4).collect(),
            host_network: spec.host_network == Some(true),
            owner: owner.map(|owner| Owner { kind: owner.kind.clone(), name: owner.name.clone(), uid: owner.uid.clone() }),
            labels: pod.labels().iter().take(MAX_LABELS).map(|(key, value)| (key.clone(), value.clone())).collect(),
            node: spec.node_name.clone().unwrap_or_default(),
            // What is going serves nobody any more, however long it takes.
            running: status.phase.as_deref() == Some("Running") && pod.metadata.deletion_timestamp.is_none(),
            local_data: local_data(&spec),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            started_at: running.map(time).max(),
            request_milli: spec
                .containers
                .iter()
                .chain(sidecars)
                .filter_map(|container| milli(container.resources.as_ref()?.requests.as_ref()?.get("cpu")?))
                .sum(),
            own_request_milli: own_request("cpu"),
            own_request_bytes: own_request("memory").map(|request| request / 1000),
            limit_milli: limit("cpu"),
            memory_limit: limit("memory").map(|limit| limit / 1000),
            restarts: statuses.iter().map(|container| u32::try_from(container.restart_count).unwrap_or(0)).sum(),
            failed_at: failed.iter().filter_map(|(_, terminated)| terminated.finished_at.as_ref()).map(time).max(),
            crash_loop: statuses
                .iter()
                .filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref())
                .any(|reason| reason == "CrashLoopBackOff"),
            killed: failed.iter().filter(|(_, terminated)| terminated.reason.as_deref() == Some("OOMKilled")).map(|(name, _)| (*name).clone()).collect(),
            images: statuses.iter().map(|container| container.image_id.clone()).filter(|id| !id.is_empty() && id.len() <= 512).collect(),
        })
    }
}

/// Whether a volume of it stands on the node and goes with the pod. What is in memory goes with the process in any case.
fn local_data(spec: &core::PodSpec) -> bool {
    let on_disk = |volume: &core::Volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.as_deref() != Some("Memory"));
    spec.volumes.iter().flatten().any(on_disk)
}

/// A quantity in thousandths; `None` if it is none or absurd.
pub(crate) fn milli(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Six decimals are more than any quantity means.
    let fraction: String = format!("{fraction:0<6}").chars().take(6).collect();
    let millionths = whole.parse::<u128>().ok()?.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)?;
    let (up, down): (u128, u128) = match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "" => (1, 1),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        _ => return None,
    };
    u64::try_from(millionths.checked_mul(up)? / down / 1_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths() {
        for (text, expected) in [
            ("100m", Some(100)),
            ("2", Some(2_000)),
            ("0.25", Some(250)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("128Mi", Some(134_217_728_000)),
            ("250000000n", Some(250)),
            ("1e3", None),
            ("", None),
            ("-1", None),
            ("99999999999999999999999999999Ti", None),
        ] {
            assert_eq!(milli(&Quantity(text.into())), expected, "{text}");
        }
    }
}
