//! From what is known to the rules in force, and from both to the statuses that people read.

use assent_api::resources::{Guardrail, GuardrailBinding};
use assent_core::canonical::Digest;
use assent_runtime::admin::Unready;
use assent_runtime::telemetry;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use crate::backoff;
use crate::known::{Known, Rules};
use crate::metrics::Metrics;
use crate::publish::MANAGER;
use crate::status::{self, Scanned};
use crate::types::Types;
use crate::watching::Latest;

/// The last scan, with the version of the rules that it judged by.
pub(crate) type LastScan = Option<(Digest, Scanned)>;

/// Makes rules of what is known and writes statuses, for the life of the process.
pub(crate) struct Stating {
    pub(crate) client: Client,
    pub(crate) latest: watch::Receiver<Latest>,
    pub(crate) scans: watch::Receiver<LastScan>,
    pub(crate) rules: watch::Sender<Option<Rules>>,
    pub(crate) metrics: Metrics,
}

// === impl Stating ===

impl Stating {
    /// Runs until the process ends. `unready` is dropped with the first rules.
    pub(crate) async fn run(mut self, unready: Unready) {
        let mut unready = Some(unready);
        let mut backoff = backoff();
        let mut types = Types::default();
        loop {
            let known = self.latest.borrow_and_update().clone();
            let scan = self.scans.borrow_and_update().clone();
            let mut retry = None;
            if let Some(known) = known {
                let rules = self.rules_of(&known);
                unready.take();
                let scanned = scan.filter(|(version, _)| *version == rules.version).map(|(_, scanned)| scanned);
                types.follow(&self.client, &known, &rules.version).await;
                if self.write(&known, &rules, &types, scanned.as_ref()).await {
                    backoff.reset();
                } else {
                    retry = Some(backoff.delay());
                }
            }
            let again = async {
                match retry {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                changed = self.latest.changed() => changed.is_err(),
                changed = self.scans.changed() => changed.is_err(),
                () = again => false,
            };
            // The other parts end with the process only.
            if ended {
                return;
            }
        }
    }

    fn rules_of(&self, known: &Known) -> Rules {
        let before = self.rules.borrow().clone();
        let version = known.version();
        if let Some(before) = before.as_ref().filter(|before| before.version == version) {
            return before.clone();
        }
        let rules = known.rules(before.as_ref());
        for problem in rules.set.broken() {
            tracing::warn!(%problem, "a guardrail does not load");
        }
        tracing::info!(guardrails = known.guardrails.len(), bindings = known.bindings.len(), set = %rules.set.digest(), "guardrails changed");
        self.metrics.rules(known, &rules);
        self.rules.send_replace(Some(rules.clone()));
        rules
    }

    /// Writes every status that is not what it should be; false if one could not be written.
    async fn write(&self, known: &Known, rules: &Rules, types: &Types, scanned: Option<&Scanned>) -> bool {
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string();
        let mut written = true;
        for (name, item) in &known.guardrails {
            let wanted = status::guardrail(known, name, item, rules, scanned, types.of(name), &now);
            written &= self.one(&ApiResource::erase::<Guardrail>(&()), name, &wanted, &item.status).await;
        }
        for (name, item) in &known.bindings {
            let wanted = status::binding(known, name, item, rules, scanned, &now);
            written &= self.one(&ApiResource::erase::<GuardrailBinding>(&()), name, &wanted, &item.status).await;
        }
        written
    }

    async fn one<S: Serialize>(&self, resource: &ApiResource, name: &str, wanted: &S, stands: &serde_json::Value) -> bool {
        let wanted = json!(wanted);
        if wanted == *stands {
            return true;
        }
        let object = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "status": wanted});
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
        let written = match api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 => return true,
            Err(error) => {
                tracing::warn!(kind = resource.kind, name, error = telemetry::chain(&error), "its status could not be written; it is tried again");
                false
            }
        };
        self.metrics.status(written);
        written
    }
}
