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
fn mistakes_of_a_first_hour_are_told_with_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in [
        ("bound.yaml", NO_ZERO),
        ("bound.cases.yaml", CASES),
        ("no-zero.cases.yaml", "cases: [{name: x, expect: denied}]"),
        ("lonely.yaml", "{kind: Guardrail, metadata: {name: lonely}, spec: {validations: [{expression: 'true'}]}}"),
        ("lonely.cases.yaml", "cases: [{name: x, expect: skip}]"),
        (
            "typo.yaml",
            "{kind: Guardrail, metadata: {name: typo}, spec: {validation: []}}\n---\n{kind: GuardrailBinding, metadata: {name: typo}, spec: {policyName: typo}}",
        ),
        ("typo.cases.yaml", "cases: [{name: x, expect: skip}]"),
    ] {
        std::fs::write(at(name), text)?;
    }
    let output = policy(&["test", &folder.path().display().to_string()])?;
    let said = text(&output.stdout);
    ensure!(output.status.code() == Some(1), "{said}{}", text(&output.stderr));
    for part in ["no guardrail `bound`; there are ", "unknown variant `denied`", "no binding names `lonely`", "unknown field `validation`"] {
        ensure!(said.contains(part), "`{part}` is missing in:\n{said}");
    }
    // Cases that cannot be read are no matter of the lint.
    let lint = text(&policy(&["lint", &at("bound.yaml"), &at("no-zero.cases.yaml")])?.stdout);
    ensure!(lint.contains("scale"), "{lint}");
    let lonely = text(&policy(&["lint", &at("lonely.yaml")])?.stdout);
    ensure!(lonely.matches("no binding names it").count() == 1, "{lonely}");

    std::fs::create_dir(folder.path().join("empty"))?;
    std::fs::write(at("empty/other.yaml"), "{kind: ConfigMap}")?;
    for command in ["test", "lint", "expand", "export"] {
        let output = policy(&[command, &at("empty")])?;
        let said = text(&output.stderr);
        ensure!(
            !output.status.success() && said.contains("no Guardrail and no ValidatingAdmissionPolicy") && said.contains("1 objects of other kinds"),
            "{said}"
        );
    }
    std::fs::write(at("giant.yaml"), "a".repeat(2 << 20))?;
    let giant = text(&policy(&["lint", &at("giant.yaml")])?.stderr);
    ensure!(giant.contains("giant.yaml") && giant.contains("more than"), "{giant}");
    Ok(())
}

#[test]
fn an_incident_that_nobody_knows_is_an_error_that_says_where_to_look() -> Result<()> {
    let ledger = tempfile::NamedTempFile::new()?;
    let path = ledger.path().display().to_string();
    for (what, words) in [
        ("01890a5d-ac96-774b-bcce-b302099a8057", "the ledger knows nothing of incident 01890a5d"),
        ("01890A5D-ac96-774b-bcce-b302099a8057", "an Incident-UID is a UUIDv7 in lower case"),
        ("quorums", "there is no rule `quorums`"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-assent")).args(["explain", what, "--ledger", &path]).output()?;
        ensure!(!output.status.success() && text(&output.stderr).contains(words), "{what}: {}", text(&output.stderr));
    }
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
