//! Types of a guardrail, when it is written: by what this very API server describes. That it describes nothing, or not in time,
//! is told and is no refusal: a server that is half up must not keep people from repairing a guardrail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assent_core::refusal::{Refusal, Rule};
use assent_policies::schema::{MAX_DOCUMENT, Schemas};
use assent_policies::spec::PolicySpec;
use assent_policies::typing::{Severity, TypeProblem, group_versions, problems};
use assent_runtime::openapi;
use kube::Client;
use serde_json::Value;

/// Longest until the documents are here.
const DEADLINE: Duration = Duration::from_millis(1500);
/// Most documents that are kept; a guardrail names ten kinds, and most name the same.
const MAX_KEPT: usize = 16;
/// Most warnings; the API server cuts them at 4 KiB together.
const MAX_WARNINGS: usize = 8;

/// Descriptions of kinds, kept by addresses that have the hash of what stands there. No decision but this one rests on them.
#[derive(Clone)]
pub(super) struct Typing {
    client: Client,
    kept: Arc<Mutex<BTreeMap<String, Arc<Value>>>>,
}

// === impl Typing ===

impl Typing {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kept: Arc::default() }
    }

    /// Refuses a guardrail with a type error; gives what its author should know of one that passes.
    pub(super) async fn check(&self, spec: &PolicySpec) -> Result<Vec<String>, Refusal> {
        let (found, unread) = self.problems(spec).await;
        if let Some(error) = found.iter().find(|problem| problem.severity == Severity::Error) {
            let others = found.iter().filter(|problem| problem.severity == Severity::Error).count() - 1;
            let others = if others == 0 { String::new() } else { format!(", and {others} more") };
            let passes = error.suggestion.as_ref().map_or_else(
                || "an expression that is right for every kind that the guardrail names".to_owned(),
                |name| format!("an expression with `{name:.200}` there, if that is meant"),
            );
            return Err(Refusal::new(Rule::Guardrail, format!("{error}{others}"), passes));
        }
        let warned = found.iter().filter(|problem| problem.severity == Severity::Warning).map(ToString::to_string);
        Ok(unread.into_iter().chain(warned).take(MAX_WARNINGS).collect())
    }

    /// All problems by what could be read, and why some could not.
    async fn problems(&self, spec: &PolicySpec) -> (Vec<TypeProblem>, Option<String>) {
        let mut schemas = Schemas::default();
        let unread = match tokio::time::timeout(DEADLINE, self.read(spec, &mut schemas)).await {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(format!("types are checked in part only: {reason:#}")),
            Err(_) => Some(format!("types are checked in part only: the API server did not describe its kinds within {} ms", DEADLINE.as_millis())),
        };
        let mut found = problems(spec, &schemas);
        if unread.is_some() {
            // What could not be read is not unknown to the server.
            found.retain(|problem| problem.severity != Severity::Warning);
        }
        (found, unread)
    }

    async fn read(&self, spec: &PolicySpec, schemas: &mut Schemas) -> anyhow::Result<()> {
        let wanted = group_versions(spec);
        if wanted.is_empty() {
            return Ok(());
        }
        let index = openapi::index(&self.client).await?;
        for (group_version, address) in wanted.iter().filter_map(|wanted| index.get_key_value(wanted)) {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
            if let Some(document) = kept {
                schemas.add_lean(group_version, document)?;
                continue;
            }
            let document = schemas.read(group_version, &openapi::document(&self.client, address, MAX_DOCUMENT).await?)?;
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let path = |address: &str| address.split('?').next().unwrap_or_default().to_owned();
            // Of each document only the newest.
            kept.retain(|known, _| path(known) != path(address));
            if kept.len() >= MAX_KEPT {
                kept.pop_first();
            }
            kept.insert(address.clone(), document);
        }
        Ok(())
    }
}
