//! RevertConfig: a workload reads the ConfigMap as it was when all was well, from a copy that nobody can change.
//!
//! The ConfigMap itself stays as it is: others may read it, and people see what was changed. The template refers to the copy
//! instead, so one write of one workload brings the old content and the pods that read it, a few at a time, and puts both back
//! if it did not help. A copy is immutable and carries the digest of its content in its name; that it was the ConfigMap's
//! content once, the gate saw when it was made, so no seat can write a configuration of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Act, Inverse, Part, Risk, rolls_both_ways, template_of, with_template};
use crate::canonical::Digest;
use crate::ids::UnixMillis;

pub(super) const NAME: &str = "RevertConfig";
const PART: Part = Part { subresource: "", roots: &["/spec/template/spec"] };
/// Digits of the digest in the name of a copy.
const DIGITS: usize = 10;
/// Longest name of an object.
const MAX_NAME: usize = 253;
/// As deep as a pod template is looked through.
const MAX_DEPTH: usize = 32;

/// Parameters of RevertConfig.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevertConfig {
    /// The ConfigMap that was changed, and what it holds now: changed once more, it is another one.
    pub changed: Configuration,
    /// Digest of what it held when the workload was last seen healthy with it.
    pub healthy: Digest,
    /// When that was.
    pub healthy_at: UnixMillis,
}

/// A ConfigMap by name and content. Secrets are not read; a template's Secrets stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// Name of the ConfigMap, in the target's namespace.
    pub name: String,
    /// Digest of `data` and `binaryData`.
    pub digest: Digest,
}

// === impl Configuration ===

impl Configuration {
    /// Name of the copy that keeps this content.
    #[must_use]
    pub fn copy(&self) -> String {
        let digits = self.digest.as_str().get(..DIGITS).unwrap_or_default();
        let end = self.name.floor_char_boundary(MAX_NAME - DIGITS - 1);
        // What is cut off at a dot or a hyphen would be no name.
        format!("{}-{digits}", self.name.get(..end).unwrap_or_default().trim_end_matches(['.', '-']))
    }
}

// === impl RevertConfig ===

impl RevertConfig {
    /// The copy that the workload reads afterwards.
    #[must_use]
    pub fn copy(&self) -> Configuration {
        let healthy = Configuration { name: self.changed.name.clone(), digest: self.healthy.clone() };
        Configuration { name: healthy.copy(), digest: healthy.digest }
    }

    /// Whether `workload` reads the copy and no longer what was changed.
    #[must_use]
    pub fn holds(&self, workload: &Value) -> bool {
        let names = configurations_of(workload);
        names.contains(&self.copy().name) && !names.contains(&self.changed.name)
    }
}

impl Act for RevertConfig {
    fn name(&self) -> &'static str {
        NAME
    }

    fn risk(&self) -> Risk {
        Risk::Medium
    }

    fn part(&self) -> Part {
        PART
    }

    fn preconditions(&self, workload: &Value) -> Result<(), String> {
        rolls_both_ways(workload)?;
        let names = configurations_of(workload);
        if !names.contains(&self.changed.name) {
            return Err(format!("its template does not refer to ConfigMap `{:.253}`", self.changed.name));
        }
        if self.changed.digest == self.healthy {
            return Err(format!("ConfigMap `{:.253}` is as it was when all was well", self.changed.name));
        }
        Ok(())
    }

    fn expected(&self, old: &Value, _material: Option<&Value>) -> Result<Value, String> {
        let mut template = old.pointer("/spec/template").ok_or("object has no `/spec/template`")?.clone();
        let copy = self.copy().name;
        let pod = template.get_mut("spec").ok_or("object has no `/spec/template/spec`")?;
        each_reference(pod, 0, &mut |name| {
            if *name == self.changed.name {
                name.clone_from(&copy);
            }
        });
        with_template(old, template)
    }

    fn inverse(&self, workload: &Value) -> Result<Inverse, String> {
        template_of(workload)
    }

    fn describe(&self) -> String {
        format!("read ConfigMap {:.253} as it was when healthy (content {:.12})", self.changed.name, self.healthy.as_str())
    }
}

/// Names of the ConfigMaps that a pod template refers to, sorted and without repeats.
#[must_use]
pub fn referenced_configurations(template: &Value) -> Vec<String> {
    let mut names = Vec::new();
    // Looked through as a copy, so that there is one reader of references.
    each_reference(&mut template.pointer("/spec").cloned().unwrap_or(Value::Null), 0, &mut |name| names.push(name.clone()));
    names.sort_unstable();
    names.dedup();
    names
}

/// The same of a workload's own template.
#[must_use]
pub fn configurations_of(workload: &Value) -> Vec<String> {
    workload.pointer("/spec/template").map(referenced_configurations).unwrap_or_default()
}

/// Of those, the ones that a pod reads once, when it starts: as environment, or mounted by `subPath`. Others follow the ConfigMap.
#[must_use]
pub fn configurations_at_start(template: &Value) -> Vec<String> {
    let list = |pointer: &str| template.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let containers = || list("/spec/containers").chain(list("/spec/initContainers"));
    let mut names = Vec::new();
    for container in containers() {
        let mut environment = [container.get("env"), container.get("envFrom")].map(|part| part.cloned().unwrap_or(Value::Null));
        environment.iter_mut().for_each(|part| each_reference(part, 0, &mut |name| names.push(name.clone())));
    }
    let mounts = || containers().filter_map(|container| container.get("volumeMounts")?.as_array()).flatten();
    let fixed = |volume: &Value| mounts().any(|mount| mount.get("name") == volume.get("name") && mount.get("subPath").is_some());
    for volume in list("/spec/volumes").filter(|volume| fixed(volume)) {
        each_reference(&mut volume.clone(), 0, &mut |name| names.push(name.clone()));
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Every way to refer to a ConfigMap in a pod spec is a field `configMap`, `configMapRef` or `configMapKeyRef`.
fn each_reference(value: &mut Value, depth: usize, look: &mut impl FnMut(&mut String)) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter_mut() {
                if matches!(key.as_str(), "configMap" | "configMapRef" | "configMapKeyRef")
                    && let Some(Value::String(name)) = inner.get_mut("name")
                {
                    look(name);
                }
                each_reference(inner, depth + 1, look);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_reference(item, depth + 1, look)),
        _ => {}
    }
}
