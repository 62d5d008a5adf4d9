//! The library of guardrails keeps its own rules: each policy stands beside its cases, says why it is there and what would
//! pass, binds the facts it reads, and is listed in the documentation. What they decide is the engine's suite.

use assent_policies::Facts;
use assent_policies::cases::{self, Verdict};
use serde_json::Value;

use crate::folder::{Library, document, root};

/// Fewest policies, and fewest cases of each.
const POLICIES: usize = 25;
const CASES: usize = 6;

#[test]
fn every_policy_stands_beside_its_cases() {
    let library = Library::read();
    assert!(library.policies.len() >= POLICIES, "{} policies", library.policies.len());
    let with_cases: Vec<&str> = library.files.iter().map(|(name, _)| name.as_str()).collect();
    let with_policy: Vec<&str> = library.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(with_cases, with_policy);
    for (name, file) in &library.files {
        let verdicts: Vec<Verdict> = file.cases.iter().map(|case| case.expect).collect();
        assert!(verdicts.len() >= CASES, "{name} has {} cases", verdicts.len());
        let objects = |verdict: &Verdict| matches!(verdict, Verdict::Deny | Verdict::Warn | Verdict::Audit);
        assert!(verdicts.iter().any(objects), "{name} is never seen to object");
        assert!(!verdicts.iter().all(objects), "{name} is never seen to let through");
        for case in &file.cases {
            assert_eq!(objects(&case.expect), case.message.is_some(), "{name}, `{}`: an objection has words, and nothing else has", case.name);
        }
        let mut names: Vec<&str> = file.cases.iter().map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), file.cases.len(), "{name} has two cases of one name");
    }
}

#[test]
fn every_case_is_whole_and_its_params_are_facts_or_none() {
    let library = Library::read();
    for (name, file) in &library.files {
        let expanded = cases::expand(&library.shared, file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let bound = library.policy(name).is_bound_to_facts();
        for case in expanded {
            if case.params.is_null() {
                assert!(!bound || case.expect == Verdict::Deny, "{name}, `{}`: without facts it can only be refused", case.name);
                continue;
            }
            let facts: Facts = serde_json::from_value(case.params.clone()).unwrap_or_else(|error| panic!("{name}, `{}`: {error}", case.name));
            assert_eq!(facts.params().unwrap(), case.params, "{name}, `{}`: facts are written as they would be bound", case.name);
        }
    }
}

#[test]
fn every_policy_says_why_and_what_would_pass() {
    for policy in Library::read().policies {
        let name = &policy.name;
        for key in ["title", "severity", "why", "would-pass"] {
            assert!(policy.annotation(key).len() > 2, "{name} has no annotation assent.dev/{key}");
        }
        assert!(["low", "medium", "high", "critical"].contains(&policy.annotation("severity")), "{name}: {}", policy.annotation("severity"));
        assert_eq!(policy.spec["failurePolicy"], "Fail", "{name} denies what it cannot evaluate");
        for validation in policy.validations() {
            let words = ["message", "messageExpression"].iter().filter_map(|key| validation[*key].as_str()).collect::<String>();
            let told = words.contains("would") || words.contains("people only");
            assert!(told, "{name}: a message says what would pass: {words}");
        }
    }
}

#[test]
fn every_policy_is_bound_once_and_to_the_facts_it_reads() {
    for policy in Library::read().policies {
        let name = &policy.name;
        assert_eq!((&policy.binding["metadata"]["name"], &policy.binding["spec"]["policyName"]), (&Value::from(name.as_str()), &Value::from(name.as_str())));
        assert_eq!(policy.text.contains("params."), policy.is_bound_to_facts(), "{name} declares facts if, and only if, it reads them");
        let reference = &policy.binding["spec"]["paramRef"];
        if policy.is_bound_to_facts() {
            assert_eq!(policy.spec["paramKind"]["apiVersion"], "assent.dev/v1alpha1", "{name}");
            assert_eq!((&reference["name"], &reference["parameterNotFoundAction"]), (&Value::from("current"), &Value::from("Deny")), "{name}");
        } else {
            assert!(reference.is_null(), "{name}");
        }
    }
}

#[test]
fn an_exemption_lifts_only_the_guardrail_that_it_names() {
    for policy in Library::read().policies {
        if policy.text.contains("params.exemptions") {
            let condition = format!("!params.exemptions.exists(e, e.guardrail == '{}' && timestamp(e.expires) > timestamp(params.now))", policy.name);
            let conditions = policy.spec["matchConditions"].as_array().unwrap();
            assert!(conditions.iter().any(|one| one["name"] == "not-exempt" && one["expression"] == condition.as_str()), "{}", policy.name);
        }
    }
}

#[test]
fn the_documentation_lists_the_library() {
    let path = root().join("../docs/guardrails.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = document(&text, &Library::read());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(text == expected, "docs/guardrails.md does not list the library as it is; UPDATE_EXPECT=1 writes it");
    }
}
