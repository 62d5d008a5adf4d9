//! What is looked at after a write: the network seat (what sidecars counted, of the target and of its neighbours), the compute seat
//! (what kubelets measured) and the API server (what controllers report). Each says well, not well, or that it has no data; what they
//! mean together is judged in `core`.

mod first;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use assent_api::names::{self, accounts};
use assent_api::proto::seat_client::SeatClient;
use assent_api::proto::{IndicatorReply, IndicatorRequest, IndicatorWindow};
use assent_core::action::Evict;
use assent_core::ballot::Principal;
use assent_core::ids::UnixMillis;
use assent_core::verification::{Look, Measured, Reading, Window};
use assent_core::workload::{Counts, Kind};
use assent_live::{Live, own_clock};
use assent_runtime::mtls;
use assent_runtime::workload::Workload;
use serde_json::Value;
use tonic::transport::Channel;

/// How long a seat may take; a later answer is no data.
const PATIENCE: Duration = Duration::from_millis(900);

/// Longest line of figures, in characters.
const MAX_SUMMARY: usize = 300;
/// Most neighbours that are read.
const MOST_NEIGHBOURS: usize = 16;

/// Where readings come from.
pub(crate) struct Signals {
    network: Channel,
    compute: Channel,
    /// Restarts of each pod of a target when it was first seen; kept for the targets that are watched.
    restarts: Mutex<HashMap<String, HashMap<String, i64>>>,
}

// === impl Signals ===

impl Signals {
    /// Clients of the two seats; they connect when they are needed.
    pub(crate) fn new(workload: &Workload, network: &str, compute: &str) -> anyhow::Result<Self> {
        let seat = |name: &str| workload.own_name().sibling(names::SYSTEM_NAMESPACE, &accounts::seat(name));
        Ok(Self {
            network: mtls::channel(workload, network, &seat("network")?)?,
            compute: mtls::channel(workload, compute, &seat("compute")?)?,
            restarts: Mutex::default(),
        })
    }

    /// One reading of each signal for `target`, a workload, which was written at `applied_at` or lost the `evicted` pod then, and a look
    /// at its neighbours.
    pub(crate) async fn read(&self, live: &Live, target: &Value, evicted: Option<&Evict>, applied_at: UnixMillis) -> (Vec<Reading>, Look) {
        let text = |pointer: &str| target.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let request = request_of(namespace, name, applied_at);
        let (network, compute, rollout) =
            tokio::join!(ask(&self.network, &request), ask(&self.compute, &request), self.rollout(live, target, evicted, applied_at));
        let look =
            Look { at: own_clock(), neighbours: network.as_ref().ok().map(|reply| reply.neighbours.iter().take(MOST_NEIGHBOURS).map(Into::into).collect()) };
        let of = |principal, (healthy, summary): (Option<bool>, String)| Reading { at: own_clock(), principal, healthy, summary };
        let readings = vec![of(Principal::Sidecar, indicated(network)), of(Principal::Kubelet, indicated(compute)), of(Principal::ApiServer, rollout)];
        (readings, look)
    }

    /// What sidecars counted of a workload since then, window by window and together; nothing where the seat does not answer.
    pub(crate) async fn counted(&self, namespace: &str, name: &str, since: UnixMillis) -> (Vec<Window>, Measured) {
        let Ok(reply) = ask(&self.network, &request_of(namespace, name, since)).await else { return Default::default() };
        let window = |told: &IndicatorWindow| Window { at: UnixMillis(told.at_ms), requests: told.requests, errors: told.errors, mean_us: told.mean_us };
        let measured = Measured { requests: reply.requests, errors: reply.errors, latency: reply.latency, ..Measured::default() };
        (reply.windows.iter().map(window).collect(), measured)
    }

    /// What kubelets measured that a workload's containers use of what they ask for since then: processor and memory, in millionths.
    pub(crate) async fn used(&self, namespace: &str, name: &str, since: UnixMillis) -> (Option<u64>, Option<u64>) {
        ask(&self.compute, &request_of(namespace, name, since)).await.map_or((None, None), |reply| (reply.cpu_share, reply.memory_share))
    }

    /// Forgets what was remembered of a target that is not watched any more.
    pub(crate) fn forget(&self, uid: &str) {
        if let Ok(mut restarts) = self.restarts.lock() {
            restarts.remove(uid);
        }
    }

    async fn rollout(&self, live: &Live, target: &Value, evicted: Option<&Evict>, applied_at: UnixMillis) -> (Option<bool>, String) {
        if let Err(reason) = rolled_out(target) {
            return (Some(false), reason);
        }
        let pods = match live.object(&list_path(target, "/api/v1", "pods")).await {
            Ok(pods) => pods.unwrap_or(Value::Null),
            Err(refusal) => return (None, refusal.reason),
        };
        if let Some(Err(reason)) = evicted.map(|evict| replaced(target, &pods, evict)) {
            return (Some(false), reason);
        }
        let uid = target.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let Ok(mut all) = self.restarts.lock() else { return (None, "restarts are not known".into()) };
        match steady(&pods, applied_at, all.entry(uid.to_owned()).or_default()) {
            Ok(()) => (Some(true), "rolled out, every replica ready, no new restarts".into()),
            Err(reason) => (Some(false), reason),
        }
    }
}

fn request_of(namespace: &str, name: &str, since: UnixMillis) -> IndicatorRequest {
    IndicatorRequest { namespace: namespace.into(), name: name.into(), since_ms: since.0, pods: Vec::new() }
}

/// A seat's word, or why there is none.
async fn ask(channel: &Channel, request: &IndicatorRequest) -> Result<IndicatorReply, String> {
    let mut client = SeatClient::new(channel.clone());
    match tokio::time::timeout(PATIENCE, client.indicator(request.clone())).await {
        Err(_) => Err(format!("no answer within {} ms", PATIENCE.as_millis())),
        Ok(Err(status)) => Err(format!("no answer: {}", status.message())),
        Ok(Ok(reply)) => Ok(reply.into_inner()),
    }
}

/// What a seat says of the target itself.
fn indicated(word: Result<IndicatorReply, String>) -> (Option<bool>, String) {
    match word {
        Err(reason) => (None, reason),
        Ok(reply) => (reply.live.then_some(reply.healthy), reply.summary.chars().take(MAX_SUMMARY).collect()),
    }
}

/// Whether the workload's controller has seen the newest generation and brought every replica to it.
fn rolled_out(target: &Value) -> Result<(), String> {
    let Counts { observed, wanted, exist, updated, ready, available } = Kind::of_object(target)?.counts(target);
    if !observed {
        return Err("the controller has not seen the write yet".into());
    }
    for (what, have) in [("exist", exist), ("are updated", updated), ("are ready", ready), ("are available", available)] {
        if have != wanted {
            return Err(format!("{have} of {wanted} replicas {what}{}", hindered(target)));
        }
    }
    Ok(())
}

/// Whether as many pods as there should be are ready without the evicted one. An eviction makes no generation, so whether the
/// controller has seen it is in no status; and a pod may take its time to go, or be on a node that nobody hears of.
fn replaced(target: &Value, pods: &Value, evict: &Evict) -> Result<(), String> {
    let wanted = Kind::of_object(target)?.counts(target).wanted;
    let items = pods.get("items").and_then(Value::as_array).into_iter().flatten();
    let stays = |pod: &&Value| pod.pointer("/metadata/deletionTimestamp").is_none() && !evict.is(pod);
    let ready = items.filter(stays).filter(|pod| is_ready(pod)).count();
    if u32::try_from(ready).unwrap_or(u32::MAX) < wanted {
        return Err(format!("{ready} of {wanted} pods are ready beside `{}`", evict.pod));
    }
    Ok(())
}

fn is_ready(pod: &Value) -> bool {
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|all| all.iter().any(is_ready))
}

/// Why pods are not made, in the API server's words, where the controller says so: a quota, a policy.
fn hindered(target: &Value) -> String {
    let conditions = target.pointer("/status/conditions").and_then(Value::as_array);
    let failure = conditions.into_iter().flatten().find(|condition| {
        let is = |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
        is("type", "ReplicaFailure") && is("status", "True")
    });
    let message = failure.and_then(|condition| condition.get("message")).and_then(Value::as_str);
    message.map_or_else(String::new, |message| format!(": {message:.200}"))
}

/// Where what the workload selects of a resource is listed.
fn list_path(target: &Value, root: &str, resource: &str) -> String {
    let namespace = target.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    format!("{root}/namespaces/{namespace}/{resource}?labelSelector={}", percent_encoded(&selector(target)))
}

/// The workload's selector as the text that lists take.
fn selector(target: &Value) -> String {
    let labels = target.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let mut terms: Vec<String> = labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let expressions = target.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<&str> = values.into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match expression.get("operator").and_then(Value::as_str) {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Whether a pod was made since then. Server times are whole seconds: one of the same second counts.
fn is_since(pod: &Value, at: UnixMillis) -> bool {
    let created = pod.pointer("/metadata/creationTimestamp").and_then(Value::as_str).and_then(|time| time.parse::<jiff::Timestamp>().ok());
    created.is_some_and(|created| created.as_millisecond() >= at.0 - 1000)
}

/// Whether no container was restarted since `seen` was filled, or since the write for pods that are younger.
fn steady(pods: &Value, applied_at: UnixMillis, seen: &mut HashMap<String, i64>) -> Result<(), String> {
    let mut verdict = Ok(());
    let mut present = Vec::new();
    for pod in pods.get("items").and_then(Value::as_array).into_iter().flatten() {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if !text("/metadata/deletionTimestamp").is_empty() {
            continue;
        }
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let restarts: i64 = statuses.into_iter().flatten().filter_map(|status| status.get("restartCount").and_then(Value::as_i64)).sum();
        let before = if is_since(pod, applied_at) { 0 } else { restarts };
        let before = *seen.entry(text("/metadata/uid").to_owned()).or_insert(before);
        present.push(text("/metadata/uid").to_owned());
        if restarts > before && verdict.is_ok() {
            verdict = Err(format!("pod `{}` restarted {} times since the write", text("/metadata/name"), restarts - before));
        }
    }
    seen.retain(|uid, _| present.contains(uid));
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(status: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 3, "namespace": "shop"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "orders"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}}, "status": status})
    }

    #[test]
    fn a_rollout_is_complete_when_every_replica_is_of_the_newest_generation() {
        let whole = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
        assert_eq!(rolled_out(&deployment(whole.clone())), Ok(()));
        for (field, value) in [("observedGeneration", 2), ("replicas", 3), ("updatedReplicas", 1), ("readyReplicas", 1), ("availableReplicas", 0)] {
            let mut partly = whole.clone();
            partly[field] = value.into();
            assert!(rolled_out(&deployment(partly)).is_err(), "{field}");
        }
        assert!(rolled_out(&deployment(json!({}))).is_err());
        let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: exceeded quota: q"}]);
        let hindered = json!({"observedGeneration": 3, "replicas": 1, "conditions": failure});
        assert_eq!(rolled_out(&deployment(hindered)).unwrap_err(), "1 of 2 replicas exist: pods \"x\" is forbidden: exceeded quota: q");
    }

    #[test]
    fn a_restart_after_the_write_is_no_health() {
        let pod = |uid: &str, created: &str, restarts: i64| json!({"metadata": {"uid": uid, "name": uid, "creationTimestamp": created}, "status": {"containerStatuses": [{"restartCount": restarts}]}});
        let applied = UnixMillis("2026-01-01T00:00:10Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let mut seen = HashMap::new();
        let old = pod("old", "2026-01-01T00:00:00Z", 7);
        assert_eq!(steady(&json!({"items": [old, pod("new", "2026-01-01T00:00:11Z", 0)]}), applied, &mut seen), Ok(()));
        assert!(steady(&json!({"items": [pod("old", "2026-01-01T00:00:00Z", 8)]}), applied, &mut seen).is_err());
        assert!(steady(&json!({"items": [pod("other", "2026-01-01T00:00:11Z", 1)]}), applied, &mut HashMap::new()).is_err());
    }

    #[test]
    fn an_evicted_pod_is_replaced_once_as_many_others_are_ready() {
        let pod = |uid: &str, ready: &str, going: bool| {
            let mut pod = json!({"metadata": {"name": uid, "uid": uid}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
            if going {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            pod
        };
        let evict = Evict { pod: "old".into(), uid: "old".into() };
        let judge = |pods: &[Value]| replaced(&deployment(json!({})), &json!({"items": pods}), &evict);
        let (old, stayed) = (pod("old", "True", true), pod("stayed", "True", false));
        assert_eq!(judge(&[old.clone(), stayed.clone(), pod("new", "True", false)]), Ok(()), "the old one may take its time");
        for pods in [vec![old.clone(), stayed.clone()], vec![stayed.clone()], vec![old, stayed.clone(), pod("new", "False", false)]] {
            assert_eq!(judge(&pods).unwrap_err(), "1 of 2 pods are ready beside `old`");
        }
        assert!(judge(&[stayed, pod("old", "True", false)]).is_err(), "as the API server shows it before it heard of the eviction");
    }

    #[test]
    fn the_selector_is_the_workloads() {
        assert_eq!(selector(&deployment(json!({}))), "app=orders,tier in (a,b)");
        assert_eq!(list_path(&deployment(json!({})), "/api/v1", "pods"), "/api/v1/namespaces/shop/pods?labelSelector=app%3Dorders%2Ctier%20in%20%28a%2Cb%29");
    }
}
