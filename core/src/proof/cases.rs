//! Cases of the proof: what a quorum voted for passes for each action, and every rule refuses at least once, on one fixture
//! that each case spoils in one place. The gate's suites say the same against a real API server.

mod canary;
mod difference;
mod evict;
mod fixture;
mod patch;
mod people;
mod plans;
mod raise;
mod writes;

use serde_json::{Value, json};

use super::*;
use fixture::Fixture;

#[track_caller]
fn refused<T: std::fmt::Debug>(verdict: Result<T, Refusal>, rule: Rule) {
    match verdict {
        Ok(admitted) => panic!("admitted as {admitted:?}, but {rule:?} should refuse"),
        Err(refusal) => {
            assert_eq!(refusal.rule, rule, "{refusal}");
            assert!(!refusal.reason.is_empty() && !refusal.would_pass.is_empty(), "says what was seen and what would pass: {refusal}");
        }
    }
}

#[test]
fn exactly_one_incident_is_named() {
    let uid = fixture::incident();
    assert_eq!(incident_of(&[uid.to_string()]).unwrap(), uid);
    refused(incident_of(&[]), Rule::IncidentExtra);
    refused(incident_of(&[uid.to_string(), uid.to_string()]), Rule::IncidentExtra);
    refused(incident_of(&["01890a5d".into()]), Rule::IncidentExtra);
}

#[test]
fn plans_are_kept_until_nothing_rests_on_them() {
    let plan = Fixture::scale().plan();
    let created = UnixMillis(1_000);
    let until = created.plus(i64::from(plan.revert_within_ms)).plus(crate::plan::KEEP_MS);
    refused(permits_deletion(&plan, created, false, until), Rule::Immutable);
    refused(permits_deletion(&plan, created, true, until.plus(1)), Rule::Immutable);
    assert_eq!(permits_deletion(&plan, created, false, until.plus(1)), Ok(()));
}

#[test]
fn only_what_still_stands_counts_as_left() {
    for (fixture, spoil) in [
        (Fixture::rollback(), ("/spec/template/spec/containers/0/image", json!("x:9"))),
        (Fixture::scale(), ("/spec/replicas", json!(9))),
        (Fixture::restart(), ("/spec/template/metadata/annotations/assent.dev~1restarted-for", json!("other"))),
    ] {
        let mut after = fixture.after();
        assert!(as_left(&fixture.proposal.action, &after));
        *after.pointer_mut(spoil.0).unwrap() = spoil.1;
        assert!(!as_left(&fixture.proposal.action, &after));
        assert!(!as_left(&fixture.proposal.action, &Value::Null));
    }
}
