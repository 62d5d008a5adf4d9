//! `kubectl assent policy` as a user runs it: on the shipped library, and on files with mistakes in them.

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

fn policy(arguments: &[&str]) -> Result<Output> {
    std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-assent")).arg("policy").args(arguments).output().context("run kubectl-assent")
}

fn library() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/library").display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const NO_ZERO: &str = "\
apiVersion: assent.dev/v1alpha1
kind: Guardrail
metadata: {name: no-zero}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [UPDATE]}]
  validations: [{expression: object.spec.replicas > 0, message: never to zero}]
---
apiVersion: assent.dev/v1alpha1
kind: GuardrailBinding
metadata: {name: no-zero}
spec: {policyName: no-zero, validationActions: [Deny]}
";

const CASES: &str = "\
given:
  oldObject: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2}}
cases:
  - {name: to zero, object: {spec: {replicas: 0}}, expect: deny, message: never to zero}
  - {name: to one, object: {spec: {replicas: 1}}, expect: allow}
";

#[test]
fn the_shipped_library_passes_its_cases() -> Result<()> {
    let output = policy(&["test", &library(), "-o", "json"])?;
    let results: Vec<Value> = serde_json::from_slice(&output.stdout).with_context(|| text(&output.stderr))?;
    ensure!(output.status.success() && results.len() >= 240 && results.iter().all(|result| result["passed"] == true), "{}", text(&output.stdout));
    let lint = policy(&["lint", &library()])?;
    ensure!(lint.status.success(), "{}", text(&lint.stdout));
    Ok(())
}

#[test]
fn a_case_that_comes_out_otherwise_is_named_and_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("no-zero.yaml"), NO_ZERO)?;
    std::fs::write(folder.path().join("no-zero.cases.yaml"), CASES)?;
    let path = folder.path().display().to_string();
    let output = policy(&["test", &path])?;
    ensure!(output.status.success() && text(&output.stdout).contains("2 passed, 0 failed"), "{}", text(&output.stdout));
    std::fs::write(folder.path().join("no-zero.cases.yaml"), CASES.replace("expect: allow", "expect: deny"))?;
    let output = policy(&["test", &path])?;
    let said = text(&output.stdout);
    ensure!(output.status.code() == Some(1) && said.contains("`to one`") && said.contains("1 passed, 1 failed"), "{said}");
    Ok(())
}

#[test]
fn what_does_not_load_is_an_error_and_what_is_not_covered_a_gap() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("no-zero.yaml");
    std::fs::write(&path, NO_ZERO)?;
    let output = policy(&["lint", &path.display().to_string()])?;
    let said = text(&output.stdout);
    ensure!(output.status.success() && said.contains("scale"), "a rule on replicas that does not see `deployments/scale`: {said}");
    std::fs::write(&path, NO_ZERO.replace("object.spec.replicas > 0", "object.spec.replicas >"))?;
    let output = policy(&["lint", &path.display().to_string()])?;
    let said = text(&output.stdout);
    ensure!(output.status.code() == Some(1) && said.contains("validations[0]") && said.contains("Syntax error"), "{said}");
    std::fs::write(&path, "kind: Guardrail\nmetadata: [\n")?;
    let output = policy(&["lint", &path.display().to_string()])?;
    ensure!(!output.status.success() && text(&output.stderr).contains("no-zero.yaml"), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn what_reads_facts_is_left_out_of_the_export_by_name() -> Result<()> {
    let output = policy(&["export", &library()])?;
    let (objects, left) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success() && objects.contains("kind: ValidatingAdmissionPolicy\n") && objects.contains("only-for-assent"), "{objects}");
    ensure!(left.contains("`freeze-window`") && !objects.contains("name: freeze-window"), "{left}");
    Ok(())
}
