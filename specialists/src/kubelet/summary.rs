//! The kubelet's `/stats/summary`: cumulative processor time and working set of every pod's own containers, each and together.

use assent_core::ids::UnixMillis;
use assent_core::seats::compute::{ContainerSample, Sample};
use serde::Deserialize;

use crate::pods::SIDECAR;

/// Pods of a node that are read.
const MAX_PODS: usize = 1_024;
/// Containers of a pod that are told apart.
const MAX_CONTAINERS: usize = 16;

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    pods: Vec<PodStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodReference,
    #[serde(default)]
    containers: Vec<ContainerStats>,
}

#[derive(Deserialize)]
struct PodReference {
    uid: String,
}

#[derive(Deserialize)]
struct ContainerStats {
    name: String,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: String,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

/// One sample per pod, the sidecar left out. A pod without figures has none.
pub(super) fn samples(body: &[u8]) -> Result<Vec<Sample>, serde_json::Error> {
    let summary: Summary = serde_json::from_slice(body)?;
    Ok(summary.pods.into_iter().take(MAX_PODS).filter_map(sample).collect())
}

fn sample(pod: PodStats) -> Option<Sample> {
    let mut sample = Sample { pod: pod.pod_ref.uid, at: UnixMillis(0), cpu_ns: 0, memory_bytes: 0, containers: Vec::new() };
    for container in pod.containers.into_iter().filter(|container| container.name != SIDECAR) {
        // One container that was not measured would look like use that vanished.
        let cpu = container.cpu?;
        let at = cpu.time.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        sample.at = sample.at.max(UnixMillis(at));
        let cpu_ns = cpu.usage_core_nano_seconds?;
        let memory_bytes = container.memory.and_then(|memory| memory.working_set_bytes);
        sample.cpu_ns = sample.cpu_ns.saturating_add(cpu_ns);
        sample.memory_bytes = sample.memory_bytes.saturating_add(memory_bytes.unwrap_or(0));
        if sample.containers.len() < MAX_CONTAINERS {
            sample.containers.push(ContainerSample { name: container.name, cpu_ns, memory_bytes });
        }
    }
    (sample.at.0 > 0).then_some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_the_sum_of_its_own_containers() {
        let body = br#"{"node": {"nodeName": "n"}, "pods": [
            {"podRef": {"name": "a", "namespace": "shop", "uid": "u1"}, "containers": [
                {"name": "c", "startTime": "2024-01-01T00:00:00Z", "cpu": {"time": "2024-01-01T00:01:00Z", "usageNanoCores": 1, "usageCoreNanoSeconds": 700}, "memory": {"time": "2024-01-01T00:01:00Z", "workingSetBytes": 5}},
                {"name": "d", "cpu": {"time": "2024-01-01T00:01:01Z", "usageCoreNanoSeconds": 50}},
                {"name": "assent-sidecar", "cpu": {"time": "2024-01-01T00:02:00Z", "usageCoreNanoSeconds": 9000}}]},
            {"podRef": {"name": "b", "namespace": "shop", "uid": "u2"}, "containers": [{"name": "c", "cpu": {"time": "2024-01-01T00:01:00Z"}}]},
            {"podRef": {"name": "c", "namespace": "shop", "uid": "u3"}, "containers": [{"name": "c"}]},
            {"podRef": {"name": "d", "namespace": "shop", "uid": "u4"}}]}"#;
        let at = UnixMillis(1_704_067_261_000);
        let of = |name: &str, cpu_ns, memory_bytes| ContainerSample { name: name.into(), cpu_ns, memory_bytes };
        let containers = vec![of("c", 700, Some(5)), of("d", 50, None)];
        assert_eq!(samples(body).unwrap(), [Sample { pod: "u1".into(), at, cpu_ns: 750, memory_bytes: 5, containers }]);
    }

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        assert!(samples(b"{\"pods\": 1}").is_err() && samples(b"").is_err());
        let body = br#"{"pods": [{"podRef": {"uid": "u"}, "containers": [{"name": "c", "cpu": {"time": "soon", "usageCoreNanoSeconds": 1}}]}]}"#;
        assert!(samples(body).unwrap().is_empty());
    }
}
