//! Logs as the API server hands them out, where nobody keeps a store of them: of few pods, little of each.

use std::collections::HashMap;

use assent_core::ids::UnixMillis;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};

use super::miner::Miner;
use crate::sources::names::Names;

/// Pods of one question.
const MAX_PODS: usize = 8;
/// Of each.
const MAX_BYTES: i64 = 256 << 10;
const MAX_LINES: i64 = 1_000;
const SINCE_S: i64 = 16 * 60;

/// Reads and counts; the first error, if there was one.
pub(super) async fn read(client: &Client, names: &Names, first: &str, now: UnixMillis, miner: &mut Miner) -> Option<kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), names.namespace());
    let mut failure = None;
    for (pod, workload) in chosen(names.running(), first) {
        let parameters =
            LogParams { limit_bytes: Some(MAX_BYTES), tail_lines: Some(MAX_LINES), since_seconds: Some(SINCE_S), timestamps: true, ..LogParams::default() };
        match api.logs(pod, &parameters).await {
            Ok(text) => text.lines().for_each(|line| count(workload, line, now, miner)),
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    failure
}

/// A pod of each workload, of the one that alerts first, then further ones.
fn chosen<'a>(running: impl Iterator<Item = (&'a str, &'a str)>, first: &str) -> Vec<(&'a str, &'a str)> {
    let mut pods: Vec<(&str, &str)> = running.collect();
    pods.sort_unstable_by_key(|(pod, workload)| (*workload != first, *workload, *pod));
    let mut turns: HashMap<&str, usize> = HashMap::new();
    pods.sort_by_cached_key(|(_, workload)| {
        let turn = turns.entry(*workload).or_default();
        *turn += 1;
        *turn
    });
    pods.truncate(MAX_PODS);
    pods
}

/// A line begins with its time, which the kubelet wrote.
fn count(workload: &str, line: &str, now: UnixMillis, miner: &mut Miner) {
    let Some((time, text)) = line.split_once(' ') else { return };
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return };
    if time.as_millisecond() <= now.0.saturating_add(60_000) {
        miner.add(workload, time.as_second(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_alerts_comes_first_and_nobody_crowds_out_the_others() {
        let many: Vec<String> = (0..20).map(|n| format!("orders-{n}")).collect();
        let running = many.iter().map(|pod| (pod.as_str(), "orders")).chain([("redis-0", "redis"), ("front-0", "front")]);
        let chosen = chosen(running, "front");
        assert_eq!(chosen.len(), MAX_PODS);
        assert_eq!(chosen[..4], [("front-0", "front"), ("orders-0", "orders"), ("redis-0", "redis"), ("orders-1", "orders")]);
    }

    #[test]
    fn lines_count_at_the_time_that_the_kubelet_wrote() {
        let mut miner = Miner::default();
        for line in ["2023-11-14T22:13:20.5Z error x", "2099-01-01T00:00:00Z error x", "error without a time", "2023-11-14T22:13:20Z", ""] {
            count("orders", line, UnixMillis(1_700_000_000_000), &mut miner);
        }
        assert_eq!(miner.series()[0].points, [(1_699_999_980, 1.0)]);
    }
}
