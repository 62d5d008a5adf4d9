//! The guardrails and what binds them, compiled once for as long as they stay as they are.

use std::sync::{Arc, Mutex, PoisonError};

use assent_api::facts;
use assent_api::resources::{ClusterBlueprint, FreezeWindow, Guardrail, GuardrailBinding};
use assent_core::blueprint;
use assent_core::canonical::Digest;
use assent_core::ids::UnixMillis;
use assent_core::refusal::Refusal;
use assent_policies::{Set, specs_of};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde_json::{Value, json};

use crate::reader::{Live, unavailable};

/// The last compiled set. What it holds counts only after what is live was read again and is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled(Arc<Mutex<Option<Arc<Set>>>>);

/// Guardrails in force.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Compiled.
    pub set: Arc<Set>,
    /// Digest of the set and of the ClusterBlueprints: a plan pins it, so that one that is taken away is missed.
    pub digest: Digest,
    /// When anybody last wrote a guardrail, a binding, a freeze window or a ClusterBlueprint that still exists.
    pub changed_at: Option<UnixMillis>,
    /// Names of the guardrails.
    pub names: Vec<String>,
    /// Which guardrail each binding names.
    pub bound: Vec<String>,
    /// Every freeze window, as it is stored.
    pub(crate) freezes: Vec<Value>,
    /// Every ClusterBlueprint.
    pub(crate) above: Vec<blueprint::ClusterBlueprint>,
}

// === impl Live ===

impl Live {
    /// The guardrails, as they are now. A cluster without their definitions has been tampered with: that is no empty set.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn rules(&self) -> Result<Rules, Refusal> {
        let (policies, bindings, freezes, above) =
            tokio::try_join!(self.stored::<Guardrail>(), self.stored::<GuardrailBinding>(), self.stored::<FreezeWindow>(), self.stored::<ClusterBlueprint>())?;
        let changed = policies.iter().chain(&bindings).chain(&freezes).chain(&above).map(changed_at).collect::<Result<Vec<_>, Refusal>>()?;
        let specs = |items: Vec<Value>| specs_of(&json!({"items": items}));
        let (policies, bindings) = (specs(policies), specs(bindings));
        let policy = |spec: &Value| spec.get("policyName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let names = policies.iter().map(|(name, _)| name.clone()).collect();
        let bound = bindings.iter().map(|(_, spec)| policy(spec)).collect();
        let set = self.compiled.current(policies, bindings);
        let digest = pinned(set.digest(), &above)?;
        Ok(Rules { set, digest, changed_at: changed.into_iter().max(), names, bound, freezes, above: understood(&above)? })
    }

    /// The ClusterBlueprints, as they are now.
    ///
    /// # Errors
    /// If one cannot be read or understood: rules that cannot be read are not none.
    pub async fn above(&self) -> Result<Vec<blueprint::ClusterBlueprint>, Refusal> {
        understood(&self.stored::<ClusterBlueprint>().await?)
    }

    /// Cluster-scoped objects as JSON: a typed reader would drop what it does not know, and with it the reason to refuse.
    pub(crate) async fn stored<K: Resource<DynamicType = ()>>(&self) -> Result<Vec<Value>, Refusal> {
        self.served_items(&K::url_path(&(), None)).await
    }
}

fn understood(above: &[Value]) -> Result<Vec<blueprint::ClusterBlueprint>, Refusal> {
    above.iter().map(|stored| facts::cluster_blueprint(stored).map_err(unavailable)).collect()
}

/// The set alone where nothing stands above Blueprints.
fn pinned(set: &Digest, above: &[Value]) -> Result<Digest, Refusal> {
    if above.is_empty() {
        return Ok(set.clone());
    }
    let part = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let mut all: Vec<(String, Value)> = above.iter().map(|object| (part(object, "/metadata/name").to_string(), part(object, "/spec"))).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Digest::of(&(set, all)).map_err(|error| unavailable(format!("the ClusterBlueprints have no digest: {error}")))
}

/// When anybody last wrote the object itself; its creation is a write too.
pub(crate) fn changed_at(object: &Value) -> Result<UnixMillis, Refusal> {
    let metadata: ObjectMeta = serde_json::from_value(object.get("metadata").cloned().unwrap_or_default())
        .map_err(|error| unavailable(format!("an object's metadata is not readable: {error}")))?;
    let created = metadata.creation_timestamp.as_ref().map(|time| UnixMillis(time.0.as_millisecond()));
    facts::changed_at(&metadata).max(created).ok_or_else(|| unavailable("an object has no creation time"))
}

// === impl Compiled ===

impl Compiled {
    /// The set of these specs; compiled only where something differs from the last one.
    fn current(&self, policies: Vec<(String, Value)>, bindings: Vec<(String, Value)>) -> Arc<Set> {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let set = match &before {
            Some(before) => before.updated(policies, bindings),
            None => Set::new(policies, bindings),
        };
        match before.filter(|before| before.digest() == set.digest() && before.problems() == set.problems()) {
            Some(before) => before,
            None => {
                let set = Arc::new(set);
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&set));
                set
            }
        }
    }
}
