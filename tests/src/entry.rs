//! Entering a service's CircuitBreaker by hand, as an honest executor does between its plan and its write.

use assent_api::names;
use assent_api::resources::{CircuitBreaker, breaker_name, entered_with};
use assent_core::plan::Plan;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::world::World;

// === impl World ===

impl World {
    /// CircuitBreakers as `client` sees them.
    #[must_use]
    pub fn breakers(&self, client: &Client) -> Api<CircuitBreaker> {
        Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE)
    }

    /// Makes `plan` the last that entered.
    ///
    /// # Errors
    /// If the gate does not let it.
    pub async fn enter(&self, plan: &Plan) -> Result<CircuitBreaker, kube::Error> {
        let api = self.breakers(&self.executor);
        let service = plan.proposal.target.service();
        let stored = match api.get_opt(&breaker_name(&service)).await? {
            Some(stored) => stored,
            None => api.create(&PostParams::default(), &CircuitBreaker::for_service(&service)).await?,
        };
        let entered = stored.status.as_ref().map(|status| status.entered.clone()).unwrap_or_default();
        let entered = entered_with(&entered, &plan.name().unwrap());
        let patch = json!({"metadata": {"resourceVersion": stored.resource_version()}, "status": {"entered": entered}});
        api.patch_status(&stored.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await
    }
}
