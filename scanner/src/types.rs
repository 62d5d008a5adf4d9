//! What the API server's own type checker would list for each guardrail, for its status. Computed again when the guardrails
//! change; a server that describes its kinds not, or not in time, leaves the list empty until the next change.

use std::collections::BTreeMap;
use std::time::Duration;

use assent_api::resources::ExpressionWarning;
use assent_core::canonical::Digest;
use assent_policies::schema::{MAX_DOCUMENT, Schemas};
use assent_policies::spec::PolicySpec;
use assent_policies::typing::{group_versions, server_warnings};
use assent_runtime::openapi;
use kube::Client;

use crate::known::Known;

/// Longest until all documents are here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Warnings by guardrail, as of one version of the rules.
#[derive(Debug, Default)]
pub(crate) struct Types {
    version: Option<Digest>,
    warnings: BTreeMap<String, Vec<ExpressionWarning>>,
}

// === impl Types ===

impl Types {
    /// Looks at the guardrails again, if they are not those of the last look.
    pub(crate) async fn follow(&mut self, client: &Client, known: &Known, version: &Digest) {
        if self.version.as_ref() == Some(version) {
            return;
        }
        match tokio::time::timeout(PATIENCE, read(client, known)).await {
            Ok(Ok(warnings)) => self.warnings = warnings,
            Ok(Err(error)) => tracing::warn!(error = assent_runtime::telemetry::chain(&error), "types of guardrails are not checked"),
            Err(_) => tracing::warn!(seconds = PATIENCE.as_secs(), "types of guardrails are not checked: the API server did not describe its kinds in time"),
        }
        self.version = Some(version.clone());
    }

    /// Of one guardrail.
    pub(crate) fn of(&self, guardrail: &str) -> &[ExpressionWarning] {
        self.warnings.get(guardrail).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Guardrails are looked at one after the other, and each document is dropped when the next one needs others: memory is that
/// of one guardrail's kinds.
async fn read(client: &Client, known: &Known) -> Result<BTreeMap<String, Vec<ExpressionWarning>>, openapi::Error> {
    let index = openapi::index(client).await?;
    let mut warnings = BTreeMap::new();
    let mut schemas = (Vec::new(), Schemas::default());
    for (name, item) in &known.guardrails {
        // One that is no spec is reported as not loading.
        let Ok(spec) = serde_json::from_value::<PolicySpec>(item.spec.clone()) else { continue };
        let wanted: Vec<String> = group_versions(&spec).into_iter().filter(|of| index.contains_key(of)).collect();
        if wanted != schemas.0 {
            schemas = (wanted.clone(), Schemas::default());
            for of in &wanted {
                let Some(address) = index.get(of) else { continue };
                let document = openapi::document(client, address, MAX_DOCUMENT).await?;
                if let Err(error) = schemas.1.read(of, &document) {
                    tracing::warn!(group_version = of, %error, "a description of kinds is not readable");
                }
            }
        }
        let listed = server_warnings(&spec, &schemas.1).into_iter().map(|listed| ExpressionWarning { field_ref: listed.field_ref, warning: listed.warning });
        warnings.insert(name.clone(), listed.collect());
    }
    Ok(warnings)
}
