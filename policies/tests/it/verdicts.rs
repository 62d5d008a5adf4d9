//! What the library decides: every policy says of every case what is expected, each of its validations is seen to object, it
//! costs little, and all policies together let an ordinary repair through.

use std::collections::BTreeSet;

use assent_policies::Set;
use assent_policies::cases::{self, File, Subject, Verdict};

use crate::folder::{Library, Policy, root, yaml};

/// Dearest policy on any case, in the API server's unit, of the 10,000,000 that a binding may spend.
const MAX_COST: u64 = 10_000;

fn subject(policy: &Policy) -> Subject {
    let binding = (policy.name.clone(), policy.binding["spec"].clone());
    Subject::new(&policy.name, &policy.spec, &[binding]).unwrap_or_else(|error| panic!("{}: {error}", policy.name))
}

#[test]
fn every_policy_says_what_its_cases_expect() {
    let library = Library::read();
    let mut wrong = Vec::new();
    for (name, file) in &library.files {
        let subject = subject(library.policy(name));
        for case in cases::expand(&library.shared, file).unwrap() {
            let said = subject.judge(&case).unwrap_or_else(|error| panic!("{name}, `{}`: {error}", case.name));
            if let Err(reason) = said.meets(&case) {
                wrong.push(format!("{name}, `{}`: {reason}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_validation_is_seen_to_object() {
    let library = Library::read();
    for (name, file) in &library.files {
        let policy = library.policy(name);
        let subject = subject(policy);
        let mut seen = BTreeSet::new();
        for case in cases::expand(&library.shared, file).unwrap() {
            seen.extend(subject.judge(&case).unwrap().untrue);
        }
        let all: BTreeSet<usize> = (0..policy.validations().len()).collect();
        assert_eq!(seen, all, "{name}: which validations were seen to object");
    }
}

#[test]
fn all_policies_together_let_an_ordinary_repair_through() {
    let library = Library::read();
    let ordinary: File = yaml(&root().join("tests/it/ordinary.cases.yaml"));
    let subjects: Vec<(&str, Subject)> = library.policies.iter().map(|policy| (policy.name.as_str(), subject(policy))).collect();
    for case in cases::expand(&library.shared, &ordinary).unwrap() {
        let mut asked = 0;
        for (name, subject) in &subjects {
            let said = subject.judge(&case).unwrap();
            assert_ne!(said.verdict, Verdict::Deny, "{name} refuses `{}`: {:?}", case.name, said.words);
            asked += usize::from(said.verdict != Verdict::Skip);
        }
        assert!(asked >= 8, "`{}` is judged by {asked} policies only", case.name);
    }
}

#[test]
fn no_policy_is_dear() {
    let library = Library::read();
    for (name, file) in &library.files {
        let subject = subject(library.policy(name));
        for case in cases::expand(&library.shared, file).unwrap() {
            let cost = subject.cost(&case).unwrap();
            assert!(cost <= MAX_COST, "{name}, `{}` costs {cost}", case.name);
        }
    }
}

#[test]
fn the_library_loads_whole() {
    let library = Library::read();
    let pairs = |part: fn(&Policy) -> serde_json::Value| library.policies.iter().map(|policy| (policy.name.clone(), part(policy))).collect();
    let set = Set::new(pairs(|policy| policy.spec.clone()), pairs(|policy| policy.binding["spec"].clone()));
    let problems: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:?}");
    assert!(set.unbound().is_empty(), "{:?}", set.unbound());
}
