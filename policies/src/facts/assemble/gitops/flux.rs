//! Flux: which Kustomizations and HelmReleases track the target, by its labels or their own inventory.

use serde_json::Value;

use super::super::object::Object;
use super::{Subject, Tracker};
use crate::facts::FactsError;

const TOOL: &str = "Flux";

/// What differs between the two.
struct Kind {
    kind: &'static str,
    /// Prefix of its labels and marks.
    group: &'static str,
    managers: &'static [&'static str],
    /// Where the rules stand that say what is left to others.
    ignore: &'static str,
}

const KUSTOMIZATION: Kind = Kind { kind: "Kustomization", group: "kustomize.toolkit.fluxcd.io", managers: &["kustomize-controller"], ignore: "/spec/ignore" };
const HELM_RELEASE: Kind = Kind { kind: "HelmRelease", group: "helm.toolkit.fluxcd.io", managers: &["helm-controller"], ignore: "/spec/driftDetection/ignore" };

pub(super) fn kustomizations<'a>(subject: &Subject<'a>, all: &'a [Value], owners: &mut Vec<Tracker<'a>>) -> Result<(), FactsError> {
    // Flux reads both on the object as it is in the cluster. `ssa: IfNotPresent` counts in git only, so it tells nothing here.
    let left = subject.says("kustomize.toolkit.fluxcd.io/reconcile", "disabled") || subject.says("kustomize.toolkit.fluxcd.io/ssa", "ignore");
    trackers(&KUSTOMIZATION, subject, all, owners, |object| Ok(!left && !object.flag("/spec/suspend")?))
}

pub(super) fn helm_releases<'a>(subject: &Subject<'a>, all: &'a [Value], owners: &mut Vec<Tracker<'a>>) -> Result<(), FactsError> {
    let left = subject.says("helm.toolkit.fluxcd.io/driftDetection", "disabled");
    let corrects = |object: &Object<'_>| Ok(!left && !object.flag("/spec/suspend")? && object.text("/spec/driftDetection/mode")? == Some("enabled"));
    trackers(&HELM_RELEASE, subject, all, owners, corrects)
}

fn trackers<'a>(
    kind: &Kind,
    subject: &Subject<'a>,
    all: &'a [Value],
    owners: &mut Vec<Tracker<'a>>,
    corrects: impl Fn(&Object<'_>) -> Result<bool, FactsError>,
) -> Result<(), FactsError> {
    let value: &'a Value = subject.object.value;
    let label = |part: &str| value.pointer("/metadata/labels").and_then(|all| all.get(format!("{}/{part}", kind.group))).and_then(Value::as_str);
    let label = label("namespace").zip(label("name"));
    let object = subject.object;
    let entry = format!("{}_{}_{}_{}", object.namespace, object.name, subject.group, object.kind);
    let mut known = false;
    for value in all {
        let owner = Object::of(kind.kind, value)?;
        let labelled = label == Some((owner.namespace, owner.name));
        let listed = owner.list("/status/inventory/entries")?.iter().any(|one| one.get("id").and_then(Value::as_str) == Some(entry.as_str()));
        known |= labelled;
        if labelled || listed {
            owners.push(Tracker {
                tool: TOOL,
                kind: kind.kind,
                namespace: owner.namespace,
                name: owner.name,
                // With a kubeconfig, its inventory is another cluster's.
                certain: labelled || !owner.has("/spec/kubeConfig"),
                corrects: corrects(&owner)?,
                managers: kind.managers,
                leaves: leaves(&owner, kind.ignore, subject)?,
            });
        }
    }
    if let Some((namespace, name)) = label.filter(|_| !known) {
        owners.push(Tracker { tool: TOOL, kind: kind.kind, namespace, name, certain: true, corrects: true, managers: kind.managers, leaves: Vec::new() });
    }
    Ok(())
}

/// Rules with patterns or selectors of labels are not read; what they leave counts as not left.
fn leaves(owner: &Object<'_>, field: &str, subject: &Subject<'_>) -> Result<Vec<String>, FactsError> {
    let mut leaves = Vec::new();
    for rule in owner.list(field)? {
        let text = |key: &str| rule.pointer(&format!("/target/{key}")).and_then(Value::as_str).unwrap_or_default();
        let object = subject.object;
        let wanted = [("group", subject.group), ("kind", object.kind), ("namespace", object.namespace), ("name", object.name)];
        let named = wanted.iter().all(|(key, value)| text(key).is_empty() || text(key) == *value);
        if named && ["version", "labelSelector", "annotationSelector"].iter().all(|key| text(key).is_empty()) {
            let paths = rule.get("paths").and_then(Value::as_array).into_iter().flatten();
            leaves.extend(paths.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    Ok(leaves)
}
