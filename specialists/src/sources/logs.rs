//! Logs, for the change seat, where they are asked for: lines are counted by template while they are read, and never kept, sent or
//! shown. From a store of logs, or from the API server where there is none.

mod loki;
mod miner;
mod pods;
mod templates;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use assent_core::diagnosis::Series;
use assent_core::ids::UnixMillis;
use assent_runtime::store::{Error, Store};
use kube::Client;
use tokio::time::Instant;

use super::names::Names;
use crate::args::LogsArgs;
use miner::Miner;

/// Times in a minute that logs are read at most, whatever the number of incidents.
const IN_A_MINUTE: usize = 6;
/// Stretches before the onset, in seconds, that tell what is usual; a stretch holds so many lines.
const BEFORE_S: [(i64, i64); 3] = [(900, 600), (600, 300), (300, 60)];
const AFTER_S: i64 = 300;

/// Where lines come from.
enum Origin {
    Store(Store),
    Pods(Client),
}

/// The logs that the change seat reads.
pub(crate) struct Logs {
    origin: Origin,
    read: Mutex<VecDeque<Instant>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("source", &self.source()).finish_non_exhaustive()
    }
}

// === impl Logs ===

impl Logs {
    /// None if nobody asks for them.
    pub(crate) fn new(args: &LogsArgs, client: &Client) -> anyhow::Result<Option<Self>> {
        let origin = match &args.loki_url {
            Some(url) => {
                let store = Store::new(url, args.loki_token_file.as_deref(), args.loki_ca_file.as_deref())?;
                Origin::Store(match &args.loki_tenant {
                    Some(tenant) => store.header("x-scope-orgid", tenant)?,
                    None => store,
                })
            }
            None if args.pod_logs => Origin::Pods(client.clone()),
            None => return Ok(None),
        };
        Ok(Some(Self { origin, read: Mutex::default() }))
    }

    /// What failures are counted under.
    pub(crate) fn source(&self) -> &'static str {
        match self.origin {
            Origin::Store(_) => "loki",
            Origin::Pods(_) => "pod-logs",
        }
    }

    /// Counts of the time around the onset; what was not read until `until` is missing. With the first failure.
    pub(crate) async fn read(&self, names: &Names, service: &str, onset: UnixMillis, now: UnixMillis, until: Instant) -> (Vec<Series>, Option<String>) {
        if !self.may_read() {
            return (Vec::new(), Some("it was read too often in the last minute".into()));
        }
        let mut miner = Miner::default();
        let failure = match &self.origin {
            Origin::Store(store) => {
                let onset = onset.0.div_euclid(1_000);
                let now = now.0.div_euclid(1_000).min(onset.saturating_add(AFTER_S));
                let mut failure = None;
                // The incident first: without it the rest says nothing.
                let mut stretches = vec![(onset.saturating_sub(60), now)];
                stretches.extend(BEFORE_S.map(|(from, to)| (onset.saturating_sub(from), onset.saturating_sub(to))));
                for stretch in stretches {
                    let read = tokio::time::timeout_at(until, loki::read(store, names, stretch, &mut miner)).await.unwrap_or(Err(Error::Late));
                    if let Err(error) = read {
                        failure = Some(assent_runtime::telemetry::chain(&error));
                        break;
                    }
                }
                failure
            }
            Origin::Pods(client) => match tokio::time::timeout_at(until, pods::read(client, names, service, now, &mut miner)).await {
                Ok(failure) => failure.map(|error| assent_runtime::telemetry::chain(&error)),
                Err(_) => Some(Error::Late.to_string()),
            },
        };
        let failure = failure.or_else(|| miner.is_empty().then(|| "it has no lines".into()));
        (miner.series(), failure)
    }

    fn may_read(&self) -> bool {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        read.retain(|time| now.duration_since(*time) < Duration::from_secs(60));
        let may = read.len() < IN_A_MINUTE;
        if may {
            read.push_back(now);
        }
        may
    }
}
