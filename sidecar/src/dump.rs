//! What the sidecar shows of itself on the admin port, to the pod itself: its effective configuration, and the last failures.
//!
//! Names, times and fingerprints, no key and no token. Nothing can be changed here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use assent_runtime::workload::Workload;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Args;
use crate::directory::Directory;
use crate::metrics::Counters;

/// Where the dumps come from.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) args: Args,
    pub(crate) workload: Workload,
    pub(crate) directory: Arc<Directory>,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Serialize)]
struct Configuration<'a> {
    version: &'static str,
    flags: &'a Args,
    identity: Value,
    trust_roots: Value,
    destinations: Value,
}

/// `/config` and `/failures`.
pub(crate) fn routes(dump: Dump) -> Router {
    let dump = Arc::new(dump);
    let failures = dump.counters.clone();
    let lines = move || std::future::ready(([("content-type", "application/jsonl")], failures.causes.lines()));
    let configuration = move || std::future::ready(dump.json());
    Router::new().route("/config", get(configuration)).route("/failures", get(lines))
}

// === impl Dump ===

impl Dump {
    fn json(&self) -> Json<Value> {
        let certified = self.workload.watch().borrow().clone();
        let certificate = certified.map(|certified| {
            json!({
                "not_before": seconds(certified.not_before()),
                "not_after": seconds(certified.not_after()),
                "sha256": certified.chain().first().map(|leaf| fingerprint(leaf)),
            })
        });
        let roots = self.workload.trust().current();
        let configuration = Configuration {
            version: env!("CARGO_PKG_VERSION"),
            flags: &self.args,
            identity: json!({ "name": self.workload.own_name().as_str(), "certificate": certificate }),
            trust_roots: roots.certificates().iter().map(|root| fingerprint(root)).collect(),
            destinations: self.directory.described().into(),
        };
        Json(serde_json::to_value(configuration).unwrap_or_else(|error| json!({ "error": error.to_string() })))
    }
}

/// Of the Unix epoch.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn fingerprint(der: &[u8]) -> String {
    hex::encode(Sha256::digest(der))
}
