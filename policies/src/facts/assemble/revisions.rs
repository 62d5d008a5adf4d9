//! Templates that seats saw healthy, with content from the revisions that hold them, and whether the write puts one back.
//!
//! A revision is known by the digest of its template. A number or an owner proves nothing and is not asked, since
//! anybody who may create a revision can write both; a template whose digest a seat signed is the one that the seat saw, whoever
//! holds it.

use std::collections::BTreeMap;

use assent_core::canonical::Digest;
use assent_core::workload::plain_template;
use serde_json::{Value, json};

use super::object::Object;
use super::{Healthy, Sources, time};
use crate::facts::{Container, FactsError, MAX_REVISIONS, Revision};

/// Most containers of a template, and most Secrets that it refers to.
const MAX_PARTS: usize = 64;

/// Newest first.
pub(super) fn revisions(sources: &Sources<'_>) -> Result<Vec<Revision>, FactsError> {
    let mut wanted = newest(sources.healthy);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let own = sources.workload.pointer("/spec/template").map(plain_template);
    let mut found = Vec::new();
    for template in own.iter().chain(sources.templates) {
        // What has no digest is none that a seat could have signed.
        let Ok(digest) = Digest::of(template) else { continue };
        if let Some(healthy) = wanted.remove(&digest) {
            let holder = json!({"metadata": {"name": healthy.revision.to_string()}, "spec": {"template": template}});
            found.push((healthy.healthy_at, revision(&Object::of("revision", &holder)?, healthy)?));
        }
    }
    found.sort_by(|(a, x), (b, y)| (b, y.revision).cmp(&(a, x.revision)));
    found.truncate(MAX_REVISIONS);
    Ok(found.into_iter().map(|(_, revision)| revision).collect())
}

/// The healthy revision whose whole template the write puts back, by digest.
pub(super) fn restores(sources: &Sources<'_>) -> Result<Option<i64>, FactsError> {
    let digest = |value: &Value| match value.pointer("/spec/template") {
        None | Some(Value::Null) => Ok(None),
        Some(template) => Digest::of(&plain_template(template)).map(Some).map_err(|error| error.to_string()),
    };
    let unreadable = |reason: String| FactsError::Unreadable { object: "the object of the write".into(), field: "/spec/template".into(), reason };
    let (old, new) = (digest(sources.old).map_err(unreadable)?, digest(sources.new).map_err(unreadable)?);
    let Some(new) = new.filter(|new| Some(new) != old.as_ref()) else { return Ok(None) };
    Ok(newest(sources.healthy).get(&new).map(|healthy| healthy.revision))
}

/// The last time that each template was seen healthy.
fn newest(healthy: &[Healthy]) -> BTreeMap<Digest, &Healthy> {
    let mut all: BTreeMap<Digest, &Healthy> = BTreeMap::new();
    for one in healthy {
        let kept = all.entry(one.template.clone()).or_insert(one);
        if (one.healthy_at, one.revision) > (kept.healthy_at, kept.revision) {
            *kept = one;
        }
    }
    all
}

fn revision(object: &Object<'_>, healthy: &Healthy) -> Result<Revision, FactsError> {
    let (containers, secrets) = (containers(object)?, secrets(object)?);
    for (field, count) in [("containers of a revision", containers.len()), ("Secrets of a revision", secrets.len())] {
        if count > MAX_PARTS {
            return Err(FactsError::Bound { field, count, most: MAX_PARTS });
        }
    }
    Ok(Revision { revision: healthy.revision, healthy_at: time(healthy.healthy_at)?, containers, secrets })
}

const CONTAINERS: [&str; 2] = ["/spec/template/spec/containers", "/spec/template/spec/initContainers"];

fn containers(object: &Object<'_>) -> Result<Vec<Container>, FactsError> {
    let mut containers = Vec::new();
    for field in CONTAINERS {
        for container in object.list(field)? {
            let text = |key: &str| {
                let text = container.get(key).and_then(Value::as_str).map(str::to_owned);
                text.ok_or_else(|| object.unreadable(field, format!("a container has no `{key}`")))
            };
            containers.push(Container { name: text("name")?, image: text("image")? });
        }
    }
    Ok(containers)
}

/// Wherever a template names a Secret that a guardrail of the library asks about: volumes, projected volumes, pull secrets
/// and environments. What is listed is what may be read again, so nothing else is.
fn secrets(object: &Object<'_>) -> Result<Vec<String>, FactsError> {
    let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let mut names = Vec::new();
    for volume in object.list("/spec/template/spec/volumes")? {
        names.extend(text(volume, "/secret/secretName"));
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
        names.extend(sources.into_iter().flatten().filter_map(|source| text(source, "/secret/name")));
    }
    names.extend(object.list("/spec/template/spec/imagePullSecrets")?.iter().filter_map(|secret| text(secret, "/name")));
    for field in CONTAINERS {
        for container in object.list(field)? {
            let items = |key: &str| container.get(key).and_then(Value::as_array).into_iter().flatten();
            names.extend(items("envFrom").filter_map(|source| text(source, "/secretRef/name")));
            names.extend(items("env").filter_map(|variable| text(variable, "/valueFrom/secretKeyRef/name")));
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
