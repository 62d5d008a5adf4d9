//! Types of policies: our checker lists what the API server's lists (`data/types.jsonl`, answers of a real one), and the library
//! and the documentation have no type problem.

use std::sync::Arc;

use assent_policies::schema::Schemas;
use assent_policies::spec::PolicySpec;
use assent_policies::typing::{Severity, problems, server_warnings};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::folder::{Library, root};

fn schemas() -> Schemas {
    let document: Value = serde_json::from_str(&std::fs::read_to_string(root().join("tests/data/openapi.json")).unwrap()).unwrap();
    let document = Arc::new(document);
    let mut schemas = Schemas::default();
    for group_version in document["groupVersions"].as_array().unwrap() {
        schemas.add_lean(group_version.as_str().unwrap(), Arc::clone(&document)).unwrap();
    }
    schemas
}

#[test]
fn the_checker_lists_what_the_api_server_lists() {
    let schemas = schemas();
    let text = std::fs::read_to_string(root().join("tests/data/types.jsonl")).unwrap();
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let objected = cases.iter().filter(|case| case["want"] != json!([])).count();
    assert!(cases.len() > 120 && objected > 60 && cases.len() - objected > 30, "{objected} of {}", cases.len());
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let spec: PolicySpec = serde_json::from_value(case["spec"].clone()).unwrap();
            let ours = Value::from_iter(server_warnings(&spec, &schemas).into_iter().map(|one| json!({"fieldRef": one.field_ref, "warning": one.warning})));
            (ours != case["want"]).then(|| format!("{}\n  want {}\n  got  {ours}", case["id"], case["want"]))
        })
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// What only the server's checker objects to is no mistake; what both object to is an error, and nothing else is.
#[test]
fn an_error_is_what_the_api_server_lists_unless_its_evaluator_knows_better() {
    let schemas = schemas();
    let text = std::fs::read_to_string(root().join("tests/data/types.jsonl")).unwrap();
    let mut forgiven: Vec<String> = Vec::new();
    let mut stricter: Vec<String> = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let spec: PolicySpec = serde_json::from_value(case["spec"].clone()).unwrap();
        let error = problems(&spec, &schemas).iter().any(|problem| problem.severity == Severity::Error);
        let listed = case["want"] != json!([]);
        let id = case["id"].as_str().unwrap().to_owned();
        match (listed, error) {
            (true, false) => forgiven.push(id),
            (false, true) => stricter.push(id),
            _ => {}
        }
    }
    let known: Value = serde_json::from_str(&std::fs::read_to_string(root().join("tests/data/types-differences.json")).unwrap()).unwrap();
    assert_eq!(json!({"forgiven": forgiven, "stricter": stricter}), json!({"forgiven": known["forgiven"], "stricter": known["stricter"]}));
}

#[test]
fn the_library_and_the_documentation_have_no_type_problem() {
    let schemas = schemas();
    let policies = Library::read().policies.into_iter().map(|policy| (policy.name, policy.spec));
    let documents = std::fs::read_to_string(root().join("../docs/guardrails.md")).unwrap();
    let examples: Vec<(String, Value)> = documents
        .split("```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .flat_map(serde_yaml_ng::Deserializer::from_str)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| object["kind"] == "Guardrail")
        .map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), object["spec"].clone()))
        .collect();
    assert!(!examples.is_empty(), "the documentation has no example");
    let mut found = Vec::new();
    for (name, spec) in policies.chain(examples) {
        let spec: PolicySpec = serde_json::from_value(spec).unwrap();
        found.extend(problems(&spec, &schemas).into_iter().filter(|problem| problem.severity != Severity::Note).map(|problem| format!("{name}: {problem}")));
    }
    // Kinds of others are not in a plain API server, and ours not in this one.
    found.retain(|text| !["httproutes.v1.gateway.networking.k8s.io", "remediations.v1alpha1.assent.dev"].iter().any(|foreign| text.contains(foreign)));
    assert!(found.is_empty(), "{} problems:\n{}", found.len(), found.join("\n"));
}
