//! What is looked at before the rest of a change may follow its first pod: whether that pod is ready, whether its containers stay up,
//! and how it answers by its own sidecar's count.

use assent_core::ballot::Principal;
use assent_core::canary::newest;
use assent_core::ids::UnixMillis;
use assent_core::verification::Reading;
use assent_core::workload::Kind;
use assent_live::{Live, own_clock};
use serde_json::{Value, json};

use super::{Signals, ask, hindered, indicated, is_ready, is_since, list_path, request_of, steady};

/// Most pods that are asked about, when a rollback finds some of the template that it goes back to.
const MOST_PODS: usize = 16;

impl Signals {
    /// One reading of each signal for the pods of `target`'s newest template, which was written at `written_at`.
    pub(crate) async fn first(&self, live: &Live, target: &Value, written_at: UnixMillis) -> Vec<Reading> {
        let of = |principal, healthy, summary: String| Reading { at: own_clock(), principal, healthy, summary };
        let pods = match first_pods(live, target).await {
            Ok(pods) => pods,
            Err((healthy, reason)) => return vec![of(Principal::ApiServer, healthy, reason)],
        };
        let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Where the template gone back to still had pods, those that came since are the first; until there are some, the others show it.
        let made: Vec<Value> = pods.iter().filter(|pod| is_since(pod, written_at)).cloned().collect();
        let pods = if made.is_empty() { pods } else { made.clone() };
        let ready = pods.iter().find(|pod| is_ready(pod)).map(|pod| text(pod, "/metadata/name"));
        let said = ready.as_ref().map_or_else(|| "the first pod is not ready".to_owned(), |name| format!("pod {name:.253} is ready"));
        let mut readings = vec![of(Principal::ApiServer, Some(ready.is_some()), said)];
        let (uids, uid) = (pods.iter().take(MOST_PODS).map(|pod| text(pod, "/metadata/uid")).collect(), text(target, "/metadata/uid"));
        if let Ok(mut all) = self.restarts.lock()
            && let Err(reason) = steady(&json!({"items": made}), written_at, all.entry(uid).or_default())
        {
            readings.push(of(Principal::Kubelet, Some(false), reason));
        }
        let mut request = request_of(&text(target, "/metadata/namespace"), &text(target, "/metadata/name"), written_at);
        request.pods = uids;
        let (healthy, summary) = indicated(ask(&self.network, &request).await);
        readings.push(of(Principal::Sidecar, healthy, summary));
        readings
    }
}

/// The pods of the newest template, or what is known without one.
async fn first_pods(live: &Live, target: &Value) -> Result<Vec<Value>, (Option<bool>, String)> {
    if !Kind::of_object(target).is_ok_and(|kind| kind.counts(target).observed) {
        return Err((Some(false), "the controller has not seen the write yet".into()));
    }
    let (pods, sets) = (list_path(target, "/api/v1", "pods"), list_path(target, "/apis/apps/v1", "replicasets"));
    let (pods, sets) = tokio::try_join!(live.object(&pods), live.object(&sets)).map_err(|refusal| (None, refusal.reason))?;
    let items = |list: Option<Value>| list.and_then(|mut list| list.get_mut("items").map(Value::take)).unwrap_or_default();
    let (pods, sets) = (items(pods), items(sets));
    let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let first: Vec<Value> = newest(target, &all(&sets), &all(&pods)).into_iter().cloned().collect();
    if first.is_empty() { Err((Some(false), format!("no pod runs the new template yet{}", hindered(target)))) } else { Ok(first) }
}
