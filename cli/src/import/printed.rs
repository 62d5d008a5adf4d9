//! The printed form, field by field. It has no `apiVersion` and `kind`, keeps version, priority and criticality in `metadata`,
//! and has `governance` and `verification` beside `spec`; all of them stand below `spec` here.

use anyhow::ensure;
use assent_core::blueprint::{NEVER, canonical, known};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::describe::plain;

/// What is made of it.
#[derive(Clone, Debug)]
pub(super) enum Made<'a> {
    /// A Blueprint.
    Service { namespace: &'a str, mode: &'a str },
    /// A ClusterBlueprint.
    Cluster,
}

/// Where a field went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Moved {
    /// Its place in the printed form; empty where that has none.
    pub(super) from: String,
    /// Its place here; empty where there is none.
    pub(super) to: String,
    /// What is to be known of it.
    pub(super) note: String,
}

/// How a value is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Same,
    /// A share: a bare number is a percentage.
    Share,
    /// Text: a bare number is put in quotes.
    Text,
}

/// Fields with one place here; only those of [`COMMON`] mean anything above all services.
const SERVICE: [(&str, &str, Form); 17] = [
    ("metadata.version", "version", Form::Text),
    ("metadata.priority", "priority", Form::Same),
    ("metadata.criticality", "criticality", Form::Same),
    ("spec.scaling.target_cpu_utilization", "scaling.targetUtilization", Form::Share),
    ("spec.scaling.scale_up_threshold", "scaling.scaleUpThreshold", Form::Share),
    ("spec.scaling.scale_down_threshold", "scaling.scaleDownThreshold", Form::Share),
    ("spec.performance.latency_target_p50", "objectives.latency 50", Form::Text),
    ("spec.performance.latency_target_p90", "objectives.latency 90", Form::Text),
    ("spec.performance.latency_target_p95", "objectives.latency 95", Form::Text),
    ("spec.performance.latency_target_p99", "objectives.latency 99", Form::Text),
    ("spec.performance.error_rate_threshold", "objectives.errorRate.target", Form::Share),
    ("spec.resources.cpu.min", "limits.containers * cpu.min", Form::Text),
    ("spec.resources.cpu.max", "limits.containers * cpu.max", Form::Text),
    ("spec.resources.cpu.target", "limits.containers * cpu.target", Form::Text),
    ("spec.resources.memory.min", "limits.containers * memory.min", Form::Text),
    ("spec.resources.memory.max", "limits.containers * memory.max", Form::Text),
    ("spec.resources.memory.target", "limits.containers * memory.target", Form::Text),
];
const COMMON: [(&str, &str, Form); 7] = [
    ("spec.scaling.min_replicas", "limits.minReplicas", Form::Same),
    ("spec.scaling.max_replicas", "limits.maxReplicas", Form::Same),
    ("verification.enabled", "verification.enabled", Form::Same),
    ("verification.stabilization_period", "verification.stabilization", Form::Text),
    ("verification.rollback.enabled", "verification.rollback.enabled", Form::Same),
    ("verification.rollback.automatic", "verification.rollback.automatic", Form::Same),
    ("verification.rollback.trigger_on_critical_failure", "verification.rollback.onCriticalFailure", Form::Same),
];
const AUTHORITY: &str = "governance.agent_authority";
const RESTRICTION: [(&str, &str); 5] =
    [("operation", "operation"), ("condition", "condition"), ("approvers", "approvers"), ("min_approvals", "count"), ("count", "count")];
const CHECK: [(&str, &str); 6] =
    [("name", "name"), ("type", "type"), ("query", "query"), ("target", "target"), ("critical", "critical"), ("rollback_trigger", "rollbackTrigger")];
/// Deepest nesting that is looked at.
const MAX_DEPTH: usize = 16;

/// Converts one document.
struct Conversion<'a> {
    left: Value,
    spec: Value,
    moved: Vec<Moved>,
    into: &'a Made<'a>,
}

/// The object, and where each field went.
pub(super) fn convert(document: &Value, into: &Made<'_>) -> anyhow::Result<(Value, Vec<Moved>)> {
    ensure!(document.is_object(), "this is no Blueprint in the printed form");
    ensure!(document.get("apiVersion").and_then(Value::as_str).is_none_or(|version| !version.starts_with("assent.dev/")), "this is an object of ours already");
    let mut conversion = Conversion { left: document.clone(), spec: json!({}), moved: Vec::new(), into };
    let object = conversion.convert()?;
    Ok((object, conversion.moved))
}

// === impl Conversion ===

impl Conversion<'_> {
    fn convert(&mut self) -> anyhow::Result<Value> {
        for field in ["apiVersion", "kind"] {
            if let Some(value) = self.take(field) {
                self.told(field, field, format!("`{}` is written anew", shown(&value)));
            }
        }
        // Both stand below `spec` in some files.
        for part in ["governance", "verification"] {
            if let Some(inner) = self.take(&format!("spec.{part}"))
                && self.left.get(part).is_none()
                && let Some(fields) = self.left.as_object_mut()
            {
                fields.insert(part.into(), inner);
            }
        }
        let name = self.take("metadata.name").as_ref().and_then(Value::as_str).map(str::to_owned);
        ensure!(name.as_deref().is_some_and(|name| !name.is_empty()), "`metadata.name` is missing, and it names the service");
        let name = name.unwrap_or_default();
        let mut metadata = json!({"name": name});
        self.told("metadata.name", "metadata.name", String::new());
        match self.into {
            Made::Service { namespace, mode } => {
                let given = self.take("metadata.namespace").as_ref().and_then(Value::as_str).map(str::to_owned);
                let (from, note) = if given.is_some() { ("metadata.namespace", "") } else { ("", "it is named by --namespace") };
                self.told(from, "metadata.namespace", note.into());
                put(&mut metadata, "namespace", json!(given.as_deref().unwrap_or(namespace)));
                put(&mut self.spec, "target", json!({"kind": "Deployment", "name": name}));
                self.told("metadata.name", "spec.target", "the printed form names no workload; this is the Deployment of that name".into());
                put(&mut self.spec, "mode", json!(mode));
                self.told("", "spec.mode", "the printed form does not say it; it is named by --mode".into());
                self.fields(&COMMON);
                self.fields(&SERVICE);
            }
            Made::Cluster => self.fields(&COMMON),
        }
        for field in ["labels", "annotations"] {
            if let Some(value) = self.take(&format!("metadata.{field}")) {
                put(&mut metadata, field, value);
                self.told(&format!("metadata.{field}"), &format!("metadata.{field}"), String::new());
            }
        }
        self.operations();
        self.checks();
        let mut rest = Vec::new();
        leaves(&self.left, "", 0, &mut rest);
        for place in rest {
            self.told(&place, "", "there is no field for it".into());
        }
        let kind = if matches!(self.into, Made::Cluster) { "ClusterBlueprint" } else { "Blueprint" };
        Ok(json!({"apiVersion": "assent.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": self.spec}))
    }

    fn fields(&mut self, table: &[(&str, &str, Form)]) {
        for (from, to, form) in table {
            let Some(value) = self.take(from) else { continue };
            let value = written(value, *form);
            if let Some((_, percentile)) = to.split_once(' ').filter(|_| to.starts_with("objectives")) {
                let one = json!({"percentile": percentile.parse::<u32>().unwrap_or(95), "target": value});
                push(&mut self.spec, "objectives.latency", one);
                self.told(from, "spec.objectives.latency", format!("percentile {percentile}"));
            } else if let Some((_, part)) = to.split_once(" * ") {
                if self.spec.pointer("/limits/containers/0").is_none() {
                    push(&mut self.spec, "limits.containers", json!({"name": "*"}));
                }
                if let Some(container) = self.spec.pointer_mut("/limits/containers/0") {
                    put(container, part, value);
                }
                self.told(from, &format!("spec.limits.containers[0].{part}"), "of every container; name them to tell them apart".into());
            } else {
                put(&mut self.spec, to, value);
                self.told(from, &format!("spec.{to}"), String::new());
            }
        }
    }

    fn operations(&mut self) {
        let from = format!("{AUTHORITY}.allowed_operations");
        for (index, value) in self.list(&from).into_iter().enumerate() {
            let place = format!("{from}[{index}]");
            match value.as_str() {
                Some(name) if known(name).is_some() => {
                    let here = canonical(name);
                    push(&mut self.spec, "operations.allowed", json!(here));
                    self.told(&place, "spec.operations.allowed", renamed(name, &here));
                }
                Some(name) => self.told(&place, "", format!("`{}` is nothing that Assent can do by itself; on no list it is restricted", shown(&json!(name)))),
                None => self.told(&place, "", "it is no name".into()),
            }
        }
        let from = format!("{AUTHORITY}.requires_approval");
        for (index, value) in self.list(&from).into_iter().enumerate() {
            let place = format!("{from}[{index}]");
            let mut item = self.item(&place, value, &RESTRICTION, "spec.operations.restricted");
            if let Some(name) = item.get("operation").and_then(Value::as_str).map(str::to_owned) {
                let here = canonical(&name);
                if NEVER.contains(&here.as_str()) {
                    self.told(&place, "", format!("`{here}` is never done, whoever agrees"));
                    continue;
                }
                put(&mut item, "operation", json!(here));
            }
            push(&mut self.spec, "operations.restricted", item);
        }
        let from = format!("{AUTHORITY}.forbidden_operations");
        for (index, value) in self.list(&from).into_iter().enumerate() {
            let here = value.as_str().map(canonical);
            let note = value.as_str().zip(here.as_deref()).map(|(name, here)| renamed(name, here)).unwrap_or_default();
            push(&mut self.spec, "operations.forbidden", here.map_or(value, Value::from));
            self.told(&format!("{from}[{index}]"), "spec.operations.forbidden", note);
        }
    }

    fn checks(&mut self) {
        for (index, value) in self.list("verification.checks").into_iter().enumerate() {
            let item = self.item(&format!("verification.checks[{index}]"), value, &CHECK, "spec.verification.checks");
            push(&mut self.spec, "verification.checks", item);
        }
    }

    /// An item of a list under the names that its fields have here.
    fn item(&mut self, place: &str, value: Value, names: &[(&str, &str)], to: &str) -> Value {
        let Value::Object(fields) = value else { return value };
        let mut item = Map::new();
        for (name, value) in fields {
            let at = format!("{place}.{}", plain(&name));
            match names.iter().find(|(there, _)| *there == name) {
                Some((_, here)) => {
                    item.insert((*here).to_owned(), value);
                    self.told(&at, &format!("{to}[].{here}"), String::new());
                }
                None => self.told(&at, "", "there is no field for it".into()),
            }
        }
        Value::Object(item)
    }

    fn list(&mut self, path: &str) -> Vec<Value> {
        match self.take(path) {
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.told(path, "", "it is no list".into());
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Takes a field out of what is left; null is none.
    fn take(&mut self, path: &str) -> Option<Value> {
        let (parent, name) = path.rsplit_once('.').map_or(("", path), |(parent, name)| (parent, name));
        let pointer = if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
        let fields = self.left.pointer_mut(&pointer)?.as_object_mut()?;
        fields.shift_remove(name).filter(|value| !value.is_null())
    }

    fn told(&mut self, from: &str, to: &str, note: String) {
        self.moved.push(Moved { from: from.to_owned(), to: to.to_owned(), note });
    }
}

fn renamed(name: &str, here: &str) -> String {
    if name == here { String::new() } else { format!("`{}` is `{here}` here", plain(name)) }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    plain(&text).chars().take(63).collect()
}

fn written(value: Value, form: Form) -> Value {
    match (form, &value) {
        (Form::Share, Value::Number(number)) => json!(format!("{number}%")),
        (Form::Text, Value::Number(number)) => json!(number.to_string()),
        _ => value,
    }
}

/// Puts `value` at a path of names, making objects on the way.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value;
}

fn push(object: &mut Value, path: &str, value: Value) {
    let pointer = format!("/{}", path.replace('.', "/"));
    match object.pointer_mut(&pointer).and_then(Value::as_array_mut) {
        Some(list) => list.push(value),
        None => put(object, path, json!([value])),
    }
}

/// Places of what is left, with an end to how deep it is looked.
fn leaves(value: &Value, path: &str, depth: usize, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if depth < MAX_DEPTH && (!fields.is_empty() || path.is_empty()) => {
            for (name, inner) in fields {
                let name = plain(name);
                let place = if path.is_empty() { name } else { format!("{path}.{name}") };
                leaves(inner, &place, depth + 1, found);
            }
        }
        // An object whose fields were all taken.
        Value::Object(fields) if fields.is_empty() => {}
        Value::Null => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests;
