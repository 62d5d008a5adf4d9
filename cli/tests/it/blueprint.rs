//! `kubectl assent blueprint` and `import` as a user runs them, and the examples of the documentation.

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

fn run(arguments: &[&str]) -> Result<Output> {
    std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-assent")).args(arguments).output().context("run kubectl-assent")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const PRINTED: &str = "\
metadata: {name: frontend, version: 1.0.0, priority: high, criticality: critical}
spec:
  scaling: {min_replicas: 2, max_replicas: 10, target_cpu_utilization: 70%, scale_up_threshold: 80%, scale_down_threshold: 40%}
  mood: good
governance:
  agent_authority:
    allowed_operations: [scale_within_limits, restart_pods]
    requires_approval:
      - {operation: scale_beyond_limits, condition: target_replicas > max_replicas, approvers: [devops-team]}
    forbidden_operations: [delete_deployment, modify_namespace, change_rbac]
";

#[test]
fn what_others_printed_is_imported_checked_and_classified() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("printed.yaml"), PRINTED)?;
    let output = run(&["import", &at("printed.yaml"), "-n", "shop", "--mode", "autonomous"])?;
    let told = text(&output.stderr);
    ensure!(output.status.success() && told.contains("spec.limits.maxReplicas"), "{told}");
    ensure!(told.lines().any(|line| line.contains("left out") && line.contains("spec.mood")), "{told}");
    std::fs::write(at("ours.yaml"), &output.stdout)?;
    let output = run(&["blueprint", "check", &at("ours.yaml")])?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    for (operation, replicas, code, words) in [
        ("ScaleWorkload", Some("10"), 0, "allowed"),
        ("ScaleWorkload", Some("11"), 2, "group:devops-team"),
        ("restart_pods", None, 0, "RestartWorkload"),
        ("delete_deployment", None, 3, "scale_to_zero"),
        ("make_coffee", None, 2, "no action that can be carried out"),
    ] {
        let file = at("ours.yaml");
        let mut arguments = vec!["blueprint", "classify", operation, "-f", &file];
        arguments.extend(replicas.iter().flat_map(|replicas| ["--replicas", replicas]));
        let output = run(&arguments)?;
        let said = text(&output.stdout);
        ensure!(output.status.code() == Some(code) && said.contains(words), "{operation}: {said}{}", text(&output.stderr));
    }
    let output = run(&["import", &at("ours.yaml")])?;
    ensure!(!output.status.success() && text(&output.stderr).contains("an object of ours already"), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn every_problem_of_every_file_is_told_and_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wrong = "{apiVersion: assent.dev/v1alpha1, kind: Blueprint, metadata: {name: a, namespace: shop}, spec: {target: {kind: Job, name: a}, mode: auto}}";
    std::fs::write(folder.path().join("a.yaml"), wrong)?;
    let path = folder.path().display().to_string();
    let output = run(&["blueprint", "check", &path])?;
    let said = text(&output.stdout);
    ensure!(output.status.code() == Some(1) && said.contains("spec.target.kind") && said.contains("spec.mode"), "{said}");
    let output = run(&["blueprint", "check", &path, "-o", "json"])?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(answer[0]["problems"].as_array().is_some_and(|problems| problems.len() == 2), "{answer}");
    std::fs::write(folder.path().join("a.yaml"), "{kind: ConfigMap}")?;
    let output = run(&["blueprint", "check", &path])?;
    ensure!(!output.status.success() && text(&output.stderr).contains("1 objects of other kinds"), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn a_first_one_is_drafted_from_what_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: orders, namespace: shop}, spec: {replicas: 2, template: {spec: {containers: [{name: app}]}}}}";
    std::fs::write(at("deployment.yaml"), deployment)?;
    let output = run(&["blueprint", "init", "-f", &at("deployment.yaml"), "--approver", "sre"])?;
    let (object, told) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success() && object.contains("mode: observe") && told.contains("asks for no cpu"), "{object}{told}");
    std::fs::write(at("first.yaml"), &object)?;
    ensure!(run(&["blueprint", "check", &at("first.yaml")])?.status.success());
    let output = run(&["blueprint", "init"])?;
    ensure!(!output.status.success() && text(&output.stderr).contains("[KIND/]NAME"), "{}", text(&output.stderr));
    Ok(())
}

/// Every example of the documentation and of the shop is one that the gate admits.
#[test]
fn the_examples_that_are_shown_are_right() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir()?;
    let mut count = 0;
    for page in ["docs/blueprints.md", "README.md"] {
        let text = std::fs::read_to_string(root.join(page)).with_context(|| page.to_owned())?;
        for block in text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .filter(|block| block.contains("kind: Blueprint") || block.contains("kind: ClusterBlueprint"))
        {
            count += 1;
            std::fs::write(folder.path().join(format!("{count}.yaml")), block)?;
        }
    }
    ensure!(count >= 4, "{count} examples");
    std::fs::copy(root.join("shop/manifests/blueprints.yaml"), folder.path().join("shop.yaml"))?;
    let output = run(&["blueprint", "check", &folder.path().display().to_string(), "-o", "json"])?;
    let answer: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let wrong: Vec<&Value> = answer.iter().flat_map(|one| one["problems"].as_array().into_iter().flatten()).collect();
    // The same workload in two examples is no mistake.
    ensure!(wrong.iter().all(|problem| problem["rule"].as_str().is_some_and(|rule| rule.contains("speaks of it too"))), "{wrong:#?}");
    Ok(())
}
