//! A specification as it is written, as a value: everything that is wrong is told at once, and what is right is read all the
//! same. The gate, the plugin and whoever reads stored objects all come through here.

mod actions;
mod rules;
mod service;

use std::collections::BTreeSet;

use serde_json::Value;

use super::problem::{Field, Problem, Problems};
use super::rules::{Rules, Tier};
use super::service::{Blueprint, ClusterBlueprint, Workload};
use crate::incident::Mode;
use crate::workload::Kind;

/// Most items of a list of operations, approvers and the like.
pub(super) const MAX_ITEMS: usize = 32;
/// Longest name of an object.
const MAX_NAME: usize = 253;
/// Longest free text.
pub(super) const MAX_WORDS: usize = 300;

const SPEC: &[&str] = &[
    "version",
    "target",
    "targets",
    "mode",
    "actions",
    "priority",
    "criticality",
    "limits",
    "objectives",
    "scaling",
    "tuning",
    "operations",
    "safety",
    "verification",
    "windows",
    "freezes",
    "gitops",
];
const CLUSTER_SPEC: &[&str] = &["namespaces", "mode", "operations", "limits", "safety", "verification", "windows", "freezes"];
const TARGET: &[&str] = &["kind", "name"];
const ACTION: &[&str] = &["name"];

/// The fields of every object in a specification, by its path; `[]` is an item of a list. The root of a Blueprint is `spec`,
/// that of a ClusterBlueprint `cluster`.
pub const FIELDS: &[(&str, &[&str])] = &[
    ("spec", SPEC),
    ("cluster", CLUSTER_SPEC),
    ("target", TARGET),
    ("targets[]", TARGET),
    ("actions[]", ACTION),
    ("limits", rules::LIMITS),
    ("limits.containers[]", rules::CONTAINER),
    ("limits.containers[].cpu", rules::BOUNDS),
    ("limits.containers[].memory", rules::BOUNDS),
    ("operations", actions::OPERATIONS),
    ("operations.restricted[]", actions::RESTRICTION),
    ("safety", rules::SAFETY),
    ("safety.breaker", rules::BREAKER),
    ("safety.canary", rules::CANARY),
    ("verification", rules::VERIFICATION),
    ("verification.checks[]", rules::CHECK),
    ("verification.rollback", rules::ROLLBACK),
    ("windows[]", rules::WINDOW),
    ("freezes[]", rules::FREEZE),
    ("objectives", service::OBJECTIVES),
    ("objectives.latency[]", service::LATENCY),
    ("objectives.errorRate", service::SHARE),
    ("objectives.availability", service::SHARE),
    ("objectives.saturation", service::SATURATION),
    ("scaling", service::SCALING),
    ("scaling.hysteresis", service::HYSTERESIS),
    ("scaling.weights", service::WEIGHTS),
    ("tuning", service::TUNING),
    ("gitops", service::GITOPS),
];

const MODES: [(&str, Mode); 3] = [("observe", Mode::Observe), ("approve", Mode::Approve), ("autonomous", Mode::Autonomous)];

/// Whose rules are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Service,
    Cluster,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Reading<T> {
    /// The value, with defaults where something was wrong. It counts only if nothing was.
    pub value: T,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is right and may surprise.
    pub notes: Vec<Problem>,
}

// === impl Reading ===

impl<T> Reading<T> {
    /// The value, if nothing is wrong.
    ///
    /// # Errors
    /// Everything that is.
    pub fn into_result(self) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() { Ok(self.value) } else { Err(self.problems) }
    }
}

/// The `spec` of a Blueprint.
#[must_use]
pub fn read(spec: &Value) -> Reading<Blueprint> {
    let mut problems = Problems::default();
    let root = Field::root("spec", spec);
    problems.object(&root, SPEC);
    if !root.is_there() {
        problems.tell(&root, "must be given", "at least `target`, `limits` and `operations.allowed`");
    }
    let targets = targets(&root, &mut problems);
    let version = version(&root.at("version"), &mut problems);
    let mut operations = actions::operations(&root.at("operations"), Layer::Service, &mut problems);
    let first = !root.at("operations").is_there();
    operations.allowed.extend(actions::first_form(&root.at("actions"), &mut problems));
    if first {
        // As the first version of this kind has it: what is not named is not done.
        (operations.unlisted, operations.beyond) = (Tier::Forbidden, Tier::Forbidden);
    }
    let layer = Rules {
        mode: problems.choice(&root.at("mode"), &MODES).unwrap_or(Mode::Observe),
        operations,
        limits: rules::limits(&root.at("limits"), Layer::Service, &mut problems),
        safety: rules::safety(&root.at("safety"), &mut problems),
        verification: rules::verification(&root.at("verification"), &mut problems),
        windows: rules::windows(&root.at("windows"), &mut problems),
        freezes: rules::freezes(&root.at("freezes"), &mut problems),
    };
    if !first {
        notes(&root, &layer, &mut problems);
    }
    let value = Blueprint {
        version,
        targets,
        objectives: service::objectives(&root.at("objectives"), &mut problems),
        scaling: root.at("scaling").is_there().then(|| service::scaling(&root.at("scaling"), &mut problems)),
        tuning: service::tuning(&root.at("tuning"), &mut problems),
        priority: problems.choice(&root.at("priority"), &service::PRIORITIES).unwrap_or_default(),
        criticality: problems.choice(&root.at("criticality"), &service::CRITICALITIES).unwrap_or_default(),
        gitops: service::gitops(&root.at("gitops"), &mut problems),
        rules: layer,
    };
    let (problems, notes) = problems.into_lists();
    Reading { value, problems, notes }
}

/// The `spec` of a ClusterBlueprint called `name`.
#[must_use]
pub fn read_cluster(name: &str, spec: &Value) -> Reading<ClusterBlueprint> {
    let mut problems = Problems::default();
    let root = Field::root("spec", spec);
    problems.object(&root, CLUSTER_SPEC);
    if !root.is_there() {
        problems.tell(&root, "must be given", "the rules that hold for all");
    }
    let mut namespaces = BTreeSet::new();
    for field in problems.items(&root.at("namespaces"), 256) {
        if let Some(namespace) = problems.needed(&field, 63, "the name of a namespace")
            && !namespaces.insert(namespace.to_owned())
        {
            problems.tell(&field, "is named twice", "leave one out");
        }
    }
    let rules = Rules {
        mode: problems.choice(&root.at("mode"), &MODES).unwrap_or(Mode::Autonomous),
        operations: actions::operations(&root.at("operations"), Layer::Cluster, &mut problems),
        limits: rules::limits(&root.at("limits"), Layer::Cluster, &mut problems),
        safety: rules::safety(&root.at("safety"), &mut problems),
        verification: rules::verification(&root.at("verification"), &mut problems),
        windows: rules::windows(&root.at("windows"), &mut problems),
        freezes: rules::freezes(&root.at("freezes"), &mut problems),
    };
    let (problems, notes) = problems.into_lists();
    Reading { value: ClusterBlueprint { name: name.to_owned(), namespaces, rules }, problems, notes }
}

fn targets(root: &Field<'_>, problems: &mut Problems) -> Vec<Workload> {
    let mut targets: Vec<Workload> = Vec::new();
    let first = root.at("target");
    if !first.is_there() {
        problems.tell(&first, "must be given", "`{kind: Deployment, name: NAME}` (or StatefulSet, DaemonSet), in the Blueprint's own namespace");
    }
    for field in std::iter::once(first).chain(problems.items(&root.at("targets"), MAX_ITEMS)) {
        problems.object(&field, TARGET);
        if !field.is_there() {
            continue;
        }
        let kind = problems.needed(&field.at("kind"), 63, "`Deployment`, `StatefulSet` or `DaemonSet`");
        if let Some(kind) = kind.filter(|kind| Kind::named(kind).is_none()) {
            problems.tell(&field.at("kind"), format!("kind `{kind}` is not modelled"), format!("one of {}", Kind::NAMES.join(", ")));
        }
        let name = problems.text(&field.at("name"), MAX_NAME);
        if name.is_none() && !field.at("name").is_there() {
            problems.tell(&field.at("name"), "must be given", "the workload's name");
        }
        let (Some(kind), Some(name)) = (kind, name) else { continue };
        let target = Workload { kind: kind.to_owned(), name: name.to_owned() };
        if targets.contains(&target) {
            problems.tell(&field, "is named twice", "leave one out");
        } else {
            targets.push(target);
        }
    }
    targets
}

fn version(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = problems.text(field, 63)?;
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let number =
        |part: &&str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit()) && (*part == "0" || !part.starts_with('0'));
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    if numbers.len() != 3 || !numbers.iter().all(number) || !plain {
        problems.tell(field, "must be a semantic version", "for example `1.0.0`");
        return None;
    }
    Some(text.to_owned())
}

/// What is right, and does less than its author may think.
fn notes(root: &Field<'_>, rules: &Rules, problems: &mut Problems) {
    let allowed = |name: &str| rules.operations.allowed.contains(name);
    if allowed("ScaleWorkload") && rules.limits.max_replicas.is_none() {
        problems.note(&root.at("limits").at("maxReplicas"), "ScaleWorkload is allowed, and no most is named, so every scale is restricted", "name one");
    }
    let bounded = rules.limits.containers.iter().any(|bounds| bounds.cpu.max.is_some() || bounds.memory.max.is_some());
    if allowed("AdjustResources") && !bounded {
        let why = "AdjustResources is allowed, and no container has a most, so every change is restricted";
        problems.note(&root.at("limits").at("containers"), why, "name bounds, for every container with `name: \"*\"`");
    }
    if rules.mode == Mode::Autonomous && rules.verification.enabled == Some(false) {
        problems.note(&root.at("verification").at("enabled"), "nothing is checked after an operation, so nothing that harms is undone", "leave it on");
    }
}
