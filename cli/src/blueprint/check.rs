//! `blueprint check`: every problem of every file at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use assent_core::blueprint::{ClusterBlueprint, Problem, effective, read, read_cluster};
use assent_core::target::is_system_namespace;
use serde::Serialize;
use serde_json::Value;

use super::report;
use crate::output::{Format, bad, bold, good};
use crate::policy::read::{MAX_FILE, documents, files};

/// Flags of `blueprint check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent blueprint check blueprints/
  kubectl assent blueprint check orders.yaml organisation.yaml     what the organisation's rules leave of it, too
  kubectl assent blueprint check blueprints/ -o json

The exit code is 1 when the gate would refuse one.")]
pub(crate) struct CheckArgs {
    /// Files, or folders whose YAML files are read (not those below them).
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What was found of one object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    place: String,
    kind: String,
    name: String,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

/// A Blueprint that can be read, and where its answer stands in the list.
struct Service {
    at: usize,
    namespace: String,
    blueprint: assent_core::blueprint::Blueprint,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut objects = Vec::new();
    for file in files(&args.paths)? {
        objects.extend(documents(&file, MAX_FILE)?);
    }
    let (checked, others) = check(&objects);
    ensure!(!checked.is_empty(), "there is no Blueprint and no ClusterBlueprint in these files, and {others} objects of other kinds");
    let failed = checked.iter().any(|one| !one.problems.is_empty());
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&checked).context("print as json")?);
    } else {
        for one in &checked {
            let mark = if one.problems.is_empty() { good("ok") } else { bad("refused") };
            anstream::println!("{mark}: {} `{}` ({})", one.kind, bold(&one.name), one.place);
            anstream::print!("{}", report(&one.problems, &one.notes));
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// What is to be said of each of these objects, and how many are of other kinds.
pub(super) fn check(objects: &[(String, Value)]) -> (Vec<Checked>, usize) {
    let (mut checked, mut services, mut above, mut others) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (place, object) in objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name, spec) = (text("/kind"), text("/metadata/name"), object.get("spec").unwrap_or(&Value::Null));
        if !text("/apiVersion").starts_with("assent.dev/") {
            others += 1;
            continue;
        }
        let (mut problems, notes) = match kind.as_str() {
            "Blueprint" => {
                let reading = read(spec);
                let namespace = text("/metadata/namespace");
                services.push(Service { at: checked.len(), namespace, blueprint: reading.value });
                (reading.problems, reading.notes)
            }
            "ClusterBlueprint" => {
                let reading = read_cluster(&name, spec);
                if reading.problems.is_empty() {
                    above.push(reading.value);
                }
                (reading.problems, reading.notes)
            }
            _ => {
                others += 1;
                continue;
            }
        };
        if kind == "Blueprint" && is_system_namespace(&text("/metadata/namespace")) {
            let hint = "a Blueprint beside its workload".to_owned();
            problems.push(Problem { path: "metadata.namespace".into(), value: text("/metadata/namespace"), rule: "is never a target".into(), hint });
        }
        checked.push(Checked { place: place.clone(), kind, name, problems, notes });
    }
    twice(&services, &mut checked);
    for service in &services {
        if let Some(one) = checked.get_mut(service.at).filter(|one| one.problems.is_empty()) {
            let concerned: Vec<ClusterBlueprint> = above.iter().filter(|rules| rules.concerns(&service.namespace)).cloned().collect();
            one.notes.extend(effective(&concerned, &service.blueprint).overruled());
        }
    }
    (checked, others)
}

/// Two Blueprints that speak of one workload both count for nothing.
fn twice(services: &[Service], checked: &mut [Checked]) {
    let mut first: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for service in services {
        for target in &service.blueprint.targets {
            let key = (service.namespace.clone(), target.kind.clone(), target.name.clone());
            let Some(other) = first.get(&key).copied() else {
                first.insert(key, service.at);
                continue;
            };
            let rule = checked.get(other).map(|other| format!("Blueprint `{}` speaks of it too, so neither counts", other.name));
            if let (Some(one), Some(rule)) = (checked.get_mut(service.at), rule) {
                let hint = "one Blueprint for one workload".to_owned();
                one.problems.push(Problem { path: "spec.target".into(), value: format!("{} {}", target.kind, target.name), rule, hint });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(all: &[Value]) -> Vec<(String, Value)> {
        all.iter().map(|object| ("f.yaml".to_owned(), object.clone())).collect()
    }

    fn blueprint(name: &str, spec: Value) -> Value {
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    }

    fn spec(target: &str) -> Value {
        json!({"target": {"kind": "Deployment", "name": target}, "limits": {"minReplicas": 1, "maxReplicas": 9}, "operations": {"allowed": ["ScaleWorkload", "EvictPod"]}})
    }

    #[test]
    fn each_object_is_told_all_that_is_wrong_with_it() {
        let mut wrong = spec("b");
        wrong["mode"] = json!("auto");
        wrong["safety"] = json!({"cooldown": 1});
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let (checked, others) = check(&objects(&[blueprint("a", spec("a")), blueprint("b", wrong), other]));
        assert_eq!((checked.len(), others), (2, 1));
        assert_eq!((checked[0].problems.len(), checked[1].problems.len()), (0, 2));
    }

    #[test]
    fn two_that_speak_of_one_workload_are_told_and_so_is_a_system_namespace() {
        let mut system = blueprint("s", spec("s"));
        system["metadata"]["namespace"] = json!("kube-system");
        let (checked, _) = check(&objects(&[blueprint("a", spec("x")), blueprint("b", spec("x")), system]));
        assert!(checked[0].problems.is_empty() && checked[1].problems[0].rule.contains("`a` speaks of it too"));
        assert_eq!(checked[2].problems[0].path, "metadata.namespace");
    }

    #[test]
    fn what_the_organisation_takes_back_is_noted() {
        let above = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "ClusterBlueprint", "metadata": {"name": "all"},
            "spec": {"operations": {"forbidden": ["EvictPod"]}, "limits": {"maxReplicas": 4}}});
        let (checked, _) = check(&objects(&[blueprint("a", spec("a")), above]));
        let notes: Vec<(&str, &str)> = checked[0].notes.iter().map(|note| (note.path.as_str(), note.value.as_str())).collect();
        assert_eq!(notes, [("spec.operations.allowed", "EvictPod"), ("spec.limits.maxReplicas", "9")]);
        assert!(checked.iter().all(|one| one.problems.is_empty()));
    }
}
