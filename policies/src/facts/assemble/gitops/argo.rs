//! Argo CD: which Applications track the target, by its annotation, its label, or their own list of resources.
//!
//! The label is also what Helm charts write, so it alone is not certain; nor is a list of resources in another cluster.

use assent_core::proof::FIELD_MANAGER;
use serde_json::Value;

use super::super::object::Object;
use super::{Subject, Tracker};
use crate::facts::FactsError;

const TOOL: &str = "Argo CD";
const KIND: &str = "Application";
/// Its own name, and that of the process where nobody sets one.
const MANAGERS: [&str; 2] = ["argocd-controller", "argocd-application-controller"];
/// `APPLICATION:GROUP/KIND:NAMESPACE/NAME`, the default since Argo CD 3.
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// The default before, and the one that its documentation advises where charts use that.
const INSTANCES: [&str; 2] = ["app.kubernetes.io/instance", "argocd.argoproj.io/instance"];
/// Longest value of a label, at which Argo CD cuts it.
const LABEL: usize = 63;
/// How this cluster is named by the Argo CD that runs in it.
const HERE: [&str; 2] = ["https://kubernetes.default.svc", "in-cluster"];

pub(super) fn trackers<'a>(subject: &Subject<'a>, all: &'a [Value], owners: &mut Vec<Tracker<'a>>) -> Result<(), FactsError> {
    let id = subject.object.value.pointer("/metadata/annotations").and_then(|all| all.get(TRACKING_ID)).and_then(Value::as_str);
    let id = id.map(|id| id.split(':').next().unwrap_or(id));
    let mut known = false;
    for value in all {
        let application = Object::of(KIND, value)?;
        // Outside of the namespace of Argo CD itself, an Application's name has its namespace before it.
        let qualified = format!("{}_{}", application.namespace, application.name);
        let annotated = id.is_some_and(|id| id == application.name || id == qualified);
        let labelled = INSTANCES.iter().filter_map(|key| subject.label(key)).any(|label| label == cut(application.name) || label == cut(&qualified));
        let listed = lists(&application, subject)?;
        known |= annotated;
        if annotated || labelled || listed {
            let here = ["/spec/destination/server", "/spec/destination/name"]
                .iter()
                .any(|field| application.value.pointer(field).and_then(Value::as_str).is_some_and(|place| HERE.contains(&place)));
            owners.push(Tracker {
                tool: TOOL,
                kind: KIND,
                namespace: application.namespace,
                name: application.name,
                certain: annotated || (listed && here),
                corrects: corrects(&application)?,
                managers: &MANAGERS,
                leaves: leaves(&application, subject)?,
            });
        }
    }
    if let Some(name) = id.filter(|_| !known) {
        owners.push(Tracker { tool: TOOL, kind: KIND, namespace: "", name, certain: true, corrects: true, managers: &MANAGERS, leaves: Vec::new() });
    }
    Ok(())
}

fn cut(name: &str) -> &str {
    name.get(..LABEL).unwrap_or(name)
}

fn lists(application: &Object<'_>, subject: &Subject<'_>) -> Result<bool, FactsError> {
    let object = subject.object;
    let wanted = [("group", subject.group), ("kind", object.kind), ("namespace", object.namespace), ("name", object.name)];
    // The group of core is left out.
    let is = |resource: &&Value| wanted.iter().all(|(key, wanted)| resource.get(*key).and_then(Value::as_str).unwrap_or_default() == *wanted);
    Ok(application.list("/status/resources")?.iter().any(|resource| is(&resource)))
}

/// It syncs by itself, and also when nothing but the cluster changed.
fn corrects(application: &Object<'_>) -> Result<bool, FactsError> {
    const AUTOMATED: &str = "/spec/syncPolicy/automated";
    let enabled = !application.has(&format!("{AUTOMATED}/enabled")) || application.flag(&format!("{AUTOMATED}/enabled"))?;
    Ok(enabled && application.flag(&format!("{AUTOMATED}/selfHeal"))?)
}

/// Differences that it ignores count only if a sync respects them too.
fn leaves(application: &Object<'_>, subject: &Subject<'_>) -> Result<Vec<String>, FactsError> {
    if !application.texts("/spec/syncPolicy/syncOptions")?.contains(&"RespectIgnoreDifferences=true") {
        return Ok(Vec::new());
    }
    let mut leaves = Vec::new();
    for rule in application.list("/spec/ignoreDifferences")? {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        let texts = |key: &str| rule.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let any = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        let named = |pattern: &str, value: &str| pattern.is_empty() || pattern == value;
        let object = subject.object;
        let speaks = any(text("group"), subject.group) && any(text("kind"), object.kind);
        if speaks && named(text("name"), object.name) && named(text("namespace"), object.namespace) {
            leaves.extend(texts("jsonPointers").map(str::to_owned));
            leaves.extend(texts("jqPathExpressions").filter_map(plain_path));
            // What our writes own is ours, then.
            leaves.extend(texts("managedFieldsManagers").filter(|manager| *manager == FIELD_MANAGER).map(|_| String::new()));
        }
    }
    Ok(leaves)
}

/// `.a.b.c` as a pointer; any other jq expression leaves nothing here.
fn plain_path(expression: &str) -> Option<String> {
    let plain = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let names = expression.strip_prefix('.')?;
    names.split('.').all(plain).then(|| names.split('.').map(|name| format!("/{name}")).collect())
}
