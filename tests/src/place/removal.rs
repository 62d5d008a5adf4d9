//! What of Assent and the shop is on a cluster, whose it is, and removing what the demo made: by its label, in the order that
//! docs/install.md gives, and looked at again afterwards.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use assent_api::names::{SYSTEM_NAMESPACE, TRUST_CONFIG_MAP};
use assent_cli::{bundle, crds};
use assent_cluster::Access;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{MARK, Place};
use crate::install::{self, Progress, SHOP};

const LONGEST: &str = "--timeout=180s";
const DEFINITION: &str = "CustomResourceDefinition";
/// How often the API server is reminded of a definition that it does not finish removing, ten seconds apart.
const REMINDERS: usize = 18;

/// One object on the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Thing {
    /// When it is removed, by [`ORDER`].
    rank: usize,
    /// `Kind.group`, as kubectl takes it.
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Made by the demo.
    pub(super) ours: Vec<Thing>,
    /// Made by somebody else.
    pub(super) strangers: Vec<Thing>,
}

/// What is removed first, kind and name: while the binding stands nobody can remove the configurations, and while those
/// stand nobody can remove our objects. Everything else follows, then the definitions of our kinds, and copies of the trust
/// bundle last, since the identity service would write them again.
const ORDER: [(&str, &str); 5] = [
    ("ValidatingAdmissionPolicyBinding", "assent-gate-protection"),
    ("ValidatingWebhookConfiguration", ""),
    ("MutatingWebhookConfiguration", ""),
    ("Namespace", SHOP),
    ("Namespace", SYSTEM_NAMESPACE),
];

// === impl Thing ===

impl Thing {
    fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (kind, name) = (text("/kind")?, text("/metadata/name")?.to_owned());
        let first = ORDER.iter().position(|(of, named)| *of == kind && (named.is_empty() || *named == name));
        let late = ["", DEFINITION, "ConfigMap"].iter().position(|of| *of == kind).unwrap_or_default();
        let rank = first.unwrap_or(ORDER.len() + late);
        let (group, _) = text("/apiVersion")?.split_once('/').unwrap_or_default();
        let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        Some(Self { rank, kind, namespace: text("/metadata/namespace").map(str::to_owned), name })
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// One a line, for people.
pub(super) fn lines(things: &[Thing]) -> String {
    things.iter().map(|thing| format!("  {thing}")).collect::<Vec<_>>().join("\n")
}

/// Everything of ours by its label, whatever has the name of something that Assent or the shop needs cluster-wide, namespaces
/// that are opted in to the mesh, and copies of the trust bundle.
pub(super) async fn look(access: &Access) -> anyhow::Result<Found> {
    access.client().await?.apiserver_version().await.context("reach the cluster's API server")?;
    let mark = format!("{}={}", MARK.0, MARK.1);
    let shipped = shipped()?;
    let kinds = shipped.iter().map(|thing| thing.kind.as_str()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",");
    let named: Vec<String> = shipped.iter().filter(|thing| thing.namespace.is_none()).map(|thing| format!("{}/{}", thing.kind, thing.name)).collect();
    let mut by_name = vec!["get", "--ignore-not-found", "-o", "json"];
    by_name.extend(named.iter().map(String::as_str));
    let copy = format!("metadata.name={TRUST_CONFIG_MAP}");
    let mut objects = list(access, &by_name).await?;
    objects.extend(list(access, &["get", &kinds, "--all-namespaces", "-l", &mark, "-o", "json"]).await?);
    objects.extend(list(access, &["get", "namespaces", "-l", "assent.dev/inject", "-o", "json"]).await?);
    let copies = list(access, &["get", "configmaps", "--all-namespaces", "--field-selector", &copy, "-o", "json"]).await?;

    let is_ours = |object: &Value| object["metadata"]["labels"][MARK.0] == MARK.1;
    // A copy of the bundle that our own identity service publishes is ours wherever it is.
    let bundle = copies.iter().find(|copy| copy["metadata"]["namespace"] == SYSTEM_NAMESPACE && is_ours(copy)).map(|copy| copy["data"].clone());
    let (mut ours, mut strangers) = (BTreeSet::new(), BTreeSet::new());
    for object in objects.iter().chain(&copies) {
        let mine = is_ours(object) || (object["kind"] == "ConfigMap" && bundle.as_ref() == Some(&object["data"]));
        let into = if mine { &mut ours } else { &mut strangers };
        into.insert(Thing::of(object).context("kubectl listed something without a name")?);
    }
    // What is in a namespace of ours came with it and goes with it.
    let whole: BTreeSet<String> = ours.iter().filter(|thing| thing.kind == "Namespace").map(|thing| thing.name.clone()).collect();
    let apart = |thing: &Thing| thing.namespace.as_ref().is_none_or(|namespace| !whole.contains(namespace));
    Ok(Found { ours: ours.into_iter().filter(apart).collect(), strangers: strangers.into_iter().filter(apart).collect() })
}

/// What the overlay holds, but for our own kinds, which go with their definitions; and the shop.
fn shipped() -> anyhow::Result<Vec<Thing>> {
    let texts = bundle::FILES.iter().map(|(_, text)| (*text).to_owned()).chain(crds::files()?.into_iter().map(|(_, text)| text));
    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}});
    let mut things: Vec<Thing> = Thing::of(&shop).into_iter().collect();
    for text in texts {
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).context("read a manifest")?;
            if object["kind"] != "Kustomization" {
                things.extend(Thing::of(&object));
            }
        }
    }
    Ok(things)
}

/// What `kubectl get -o json` prints: nothing, one object, or a list.
async fn list(access: &Access, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = access.kubectl(arguments).await?;
    if text.trim().is_empty() {
        return Ok(vec![]);
    }
    let mut found: Value = serde_json::from_str(&text).context("read what kubectl listed")?;
    Ok(match found["items"].take() {
        Value::Array(items) => items,
        _ => vec![found],
    })
}

/// Removes what the demo made; `false` when there was nothing.
pub(super) async fn remove(place: &Place, progress: Progress<'_>) -> anyhow::Result<bool> {
    let mut ours = look(place).await?.ours;
    if ours.is_empty() {
        return Ok(false);
    }
    ours.sort();
    for group in ours.chunk_by(|a, b| a.rank == b.rank && a.namespace == b.namespace) {
        let names: Vec<String> = group.iter().map(|thing| format!("{}/{}", thing.kind, thing.name)).collect();
        progress(&format!("removing {}", if names.len() > 3 { format!("{} and {} more", names[0], names.len() - 1) } else { names.join(", ") }));
        let wait = if group[0].kind.starts_with(DEFINITION) { "--wait=false" } else { "--wait=true" };
        let mut delete = vec!["delete", "--ignore-not-found", wait, LONGEST];
        if let Some(namespace) = &group[0].namespace {
            delete.extend(["-n", namespace]);
        }
        delete.extend(names.iter().map(String::as_str));
        install::patiently(place, &delete).await?;
        if group[0].kind.starts_with(DEFINITION) {
            definitions_gone(place, &names).await?;
        }
    }
    let left = look(place).await?.ours;
    ensure!(left.is_empty(), "this is still there:\n{}", lines(&left));
    Ok(true)
}

/// Waits until definitions that are being removed are gone.
///
/// The API server's finalizer tries again where a definition's storage was not ready, but from what it had read before its
/// own note of that, runs into a conflict, and then waits for a change that nobody makes, for minutes. So somebody makes one.
async fn definitions_gone(place: &Place, names: &[String]) -> anyhow::Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for reminder in 1..REMINDERS {
        if place.kubectl(&[&["wait", "--for=delete", "--timeout=10s"], &names[..]].concat()).await.is_ok() {
            return Ok(());
        }
        let left = place.kubectl(&[&["get", "--ignore-not-found", "-o", "name"], &names[..]].concat()).await?;
        for name in left.lines() {
            // One that went in this moment needs no reminder; the next wait tells.
            let _gone = place.kubectl(&["annotate", "--overwrite", name, &format!("assent.dev/removal-reminder={reminder}")]).await;
        }
    }
    place.kubectl(&[&["wait", "--for=delete", "--timeout=10s"], &names[..]].concat()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_goes_first_and_copies_of_the_trust_bundle_last() {
        let mut things = shipped().unwrap();
        things.retain(|thing| thing.namespace.is_none());
        let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TRUST_CONFIG_MAP, "namespace": "elsewhere"}});
        things.extend(Thing::of(&copy));
        things.sort();
        let names: Vec<String> = things.iter().map(ToString::to_string).collect();
        assert_eq!(
            names[..5],
            [
                "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io/assent-gate-protection",
                "ValidatingWebhookConfiguration.admissionregistration.k8s.io/assent-gate",
                "MutatingWebhookConfiguration.admissionregistration.k8s.io/assent-injector",
                "Namespace/shop",
                "Namespace/assent-system",
            ]
        );
        assert!(names.last().unwrap().ends_with(" in elsewhere"), "{names:?}");
        assert!(names.iter().any(|name| name.contains("CustomResourceDefinition")) && names.iter().any(|name| name.contains("ClusterRole.")));
    }
}
