//! What a policy may ask for beside the request: params and Namespaces, from files that the user gave and, as far as it shows
//! them, from the log up to the request. What is not known is never taken for absent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use assent_policies::spec::ParamKind;
use assent_policies::{ParamScope, Params};
use serde_json::{Value, json};

use crate::policy::read;

/// Longest file of params, in bytes: they may be what `kubectl get -o yaml` printed.
const MAX_FILE: u64 = 64 << 20;
/// Most bytes of params that are kept from the log.
const MAX_BYTES: usize = 64 << 20;

/// Objects of one kind.
#[derive(Debug, Default)]
struct Known {
    /// Whether the user gave some. Of params those are then all there are; of Namespaces, those that are named.
    given: bool,
    /// What the log changes nothing of.
    fixed: BTreeSet<(String, String)>,
    /// By namespace and name.
    objects: BTreeMap<(String, String), Value>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    kinds: BTreeMap<ParamKind, Known>,
    namespaces: Known,
    wanted: BTreeSet<ParamKind>,
    bytes: usize,
    missed: AtomicBool,
}

// === impl Surroundings ===

impl Surroundings {
    /// Objects of `paths`, and room for what the log shows of the kinds in `wanted`.
    pub(super) fn read(paths: &[std::path::PathBuf], wanted: BTreeSet<ParamKind>) -> anyhow::Result<Self> {
        let mut surroundings = Self { wanted, ..Self::default() };
        for path in read::files(paths)? {
            surroundings.file(&path)?;
        }
        Ok(surroundings)
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        for (place, object) in read::documents(path, MAX_FILE)? {
            let items = match object.get("items").and_then(Value::as_array) {
                Some(items) => items.clone(),
                None => vec![object],
            };
            for item in items {
                let kind = kind_of(&item).with_context(|| format!("{place} has no apiVersion and kind"))?;
                let known = if is_namespace(&kind) { &mut self.namespaces } else { self.kinds.entry(kind).or_default() };
                known.given = true;
                known.fixed.insert(place_of(&item));
                known.objects.insert(place_of(&item), item);
            }
        }
        Ok(())
    }

    /// What the log shows an object to be from here on; `None` when it is gone.
    pub(super) fn learn(&mut self, kind: Option<ParamKind>, place: (String, String), object: Option<&Value>) {
        let Some(kind) = kind else { return };
        let known = if is_namespace(&kind) {
            &mut self.namespaces
        } else if self.kinds.get(&kind).is_some_and(|known| known.given) {
            return;
        } else if self.wanted.contains(&kind) {
            self.kinds.entry(kind).or_default()
        } else {
            return;
        };
        if known.fixed.contains(&place) {
            return;
        }
        if let Some(before) = known.objects.remove(&place) {
            self.bytes = self.bytes.saturating_sub(before.to_string().len());
        }
        if let Some(object) = object {
            let size = object.to_string().len();
            if self.bytes + size <= MAX_BYTES {
                self.bytes += size;
                known.objects.insert(place, object.clone());
            }
        }
    }

    /// The Namespace of this name, if it is known.
    pub(super) fn namespace(&self, name: &str) -> Option<&Value> {
        self.namespaces.objects.get(&(String::new(), name.to_owned()))
    }

    /// Whether anything is known of a kind.
    pub(super) fn knows(&self, kind: &ParamKind) -> bool {
        self.kinds.contains_key(kind)
    }

    /// Whether a param was asked for since the last time that may exist and is not known.
    pub(super) fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }
}

impl Params for Surroundings {
    fn scope(&self, kind: &ParamKind) -> Result<ParamScope, String> {
        let known = self.kinds.get(kind).ok_or_else(|| format!("params of kind {} are not known", kind.kind))?;
        let namespaced = known.objects.keys().any(|(namespace, _)| !namespace.is_empty());
        Ok(if namespaced { ParamScope::Namespaced } else { ParamScope::Cluster })
    }

    fn get(&self, kind: &ParamKind, namespace: Option<&str>, name: &str) -> Result<Option<&Value>, String> {
        let Some(known) = self.kinds.get(kind) else { return Ok(None) };
        let found = known.objects.get(&(namespace.unwrap_or_default().to_owned(), name.to_owned()));
        self.missed.fetch_or(found.is_none() && !known.given, Ordering::Relaxed);
        Ok(found)
    }

    fn list(&self, kind: &ParamKind, namespace: Option<&str>) -> Result<Vec<&Value>, String> {
        let Some(known) = self.kinds.get(kind) else { return Ok(Vec::new()) };
        // A log shows what changed, never that this is all.
        self.missed.fetch_or(!known.given, Ordering::Relaxed);
        Ok(known.objects.iter().filter(|((place, _), _)| namespace.is_none_or(|namespace| place == namespace)).map(|(_, object)| object).collect())
    }
}

/// A Namespace of which nothing is known but its name, and the label that every one has.
pub(super) fn bare_namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})
}

pub(super) fn kind_of(object: &Value) -> Option<ParamKind> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(ParamKind { api_version: text("apiVersion")?.to_owned(), kind: text("kind")?.to_owned() })
}

fn place_of(object: &Value) -> (String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn is_namespace(kind: &ParamKind) -> bool {
    kind.api_version == "v1" && kind.kind == "Namespace"
}
