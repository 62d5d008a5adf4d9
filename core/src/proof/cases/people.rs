//! What asks people, what holds an operation up, and that one plan at a time enters.

use std::collections::BTreeSet;

use super::fixture::PLANNED;
use super::*;
use crate::approval::{Answer, Asked, Word, change, request_name};
use crate::blueprint::{Approval, Approver, Tier};
use crate::breaker::{End, Operation};
use crate::incident::Mode;

/// The facts of a service that asks before everything, in which `answers` were given.
fn asking(fixture: &Fixture, answers: &[(&str, Word)]) -> Facts {
    let mut facts = fixture.facts();
    let rules = &mut facts.blueprint.as_mut().unwrap().effective.service.rules;
    rules.mode = Mode::Approve;
    rules.operations.approval = Approval { approvers: vec![Approver::Group("oncall".into())], count: 1, chat: false };
    let digest = change(&fixture.proposal).unwrap();
    let name = request_name("cluster", &fixture::incident(), &digest).unwrap();
    let asked = Asked { name, change: digest.clone(), at: PLANNED.plus(-1000), expires_after_ms: 600_000, requester: None };
    let answer = |(user, word): &(&str, Word)| Answer {
        user: (*user).into(),
        groups: BTreeSet::from(["oncall".to_owned()]),
        change: digest.clone(),
        word: *word,
        at: PLANNED,
        chat: false,
        may: true,
        comment: String::new(),
    };
    facts.approvals = vec![(asked, answers.iter().map(answer).collect())];
    facts
}

/// The facts of a service that asks beyond two replicas, in which `answers` were given.
pub(super) fn asking_beyond(fixture: &Fixture, answers: &[(&str, Word)]) -> Facts {
    let mut facts = asking(fixture, answers);
    let rules = &mut facts.blueprint.as_mut().unwrap().effective.service.rules;
    rules.mode = Mode::Autonomous;
    rules.limits.max_replicas = Some(2);
    rules.operations.beyond = Tier::Restricted;
    facts
}

fn ended(plan: &str, ms_ago: i64, end: Option<End>, fixture: &Fixture) -> Operation {
    let at = PLANNED.plus(-ms_ago);
    Operation {
        plan: plan.into(),
        service: fixture.proposal.target.service(),
        action: fixture.proposal.action.name().into(),
        at,
        end: end.map(|end| (at, end)),
    }
}

#[test]
fn what_asks_is_done_once_people_agreed_and_not_before() {
    for fixture in Fixture::all() {
        let plan = fixture.plan();
        assert_eq!(judge_plan(&asking(&fixture, &[("bob", Word::Approve)]), &plan), Ok(()));
        refused(judge_plan(&asking(&fixture, &[]), &plan), Rule::Approval);
        refused(judge_plan(&asking(&fixture, &[("bob", Word::Comment)]), &plan), Rule::Approval);
        refused(judge_plan(&asking(&fixture, &[("bob", Word::Approve), ("eve", Word::Deny)]), &plan), Rule::Approval);
        refused(judge_plan(&Facts { approvals: vec![], ..asking(&fixture, &[]) }, &plan), Rule::Approval);
        assert_eq!(judge_but_approval(&asking(&fixture, &[]), &plan), Ok(()), "what people are asked about would be admitted");
        let mut late = asking(&fixture, &[("bob", Word::Approve)]);
        late.approvals[0].0.at = PLANNED.plus(-600_001);
        refused(judge_plan(&late, &plan), Rule::Approval);
    }
}

#[test]
fn a_word_is_used_once_and_is_for_no_other_change() {
    let fixture = Fixture::scale();
    let mut used = asking(&fixture, &[("bob", Word::Approve)]);
    used.plans = vec![(Plan { epoch: 3, ..fixture.plan() }, PLANNED)];
    refused(judge_plan(&used, &fixture.plan()), Rule::Approval);
    let mut elsewhere = asking(&fixture, &[("bob", Word::Approve)]);
    elsewhere.approvals[0].0.name = request_name("cluster", &fixture::other_incident(), &change(&fixture.proposal).unwrap()).unwrap();
    refused(judge_plan(&elsewhere, &fixture.plan()), Rule::Approval);
    let other = Facts { approvals: asking(&Fixture::restart(), &[("bob", Word::Approve)]).approvals, ..asking(&fixture, &[]) };
    refused(judge_plan(&other, &fixture.plan()), Rule::Approval);
}

#[test]
fn the_write_asks_again() {
    let fixture = Fixture::scale();
    let mut facts = Facts { blueprint: asking(&fixture, &[]).blueprint, approvals: asking(&fixture, &[("bob", Word::Approve)]).approvals, ..fixture.planned() };
    assert_eq!(judge_write(&facts, &fixture.apply()), Ok(Admitted::Apply));
    facts.approvals[0].1[0].may = false;
    refused(judge_write(&facts, &fixture.apply()), Rule::Approval);
    let dry = WriteRequest { dry_run: true, ..fixture.apply() };
    assert_eq!(judge_write(&Facts { plans: vec![], ..facts }, &dry), Ok(Admitted::DryRun), "people see what would be admitted");
}

#[test]
fn what_failed_before_holds_it_up_and_a_revert_never() {
    let fixture = Fixture::scale();
    let with = |operations: Vec<Operation>| {
        let mut facts = fixture.facts();
        facts.history.operations = operations;
        facts
    };
    let plan = fixture.plan();
    let failed = |n: i64| ended(&format!("rem-{n}"), 600_000 + n, Some(End::Failed), &fixture);
    refused(judge_plan(&with((0..3).map(failed).collect()), &plan), Rule::Approval);
    let other = |n: i64| Operation { action: "RestartWorkload".into(), ..ended(&format!("rem-{n}"), 120_000 + n, Some(End::Failed), &fixture) };
    refused(judge_plan(&with((0..3).map(other).collect()), &plan), Rule::Breaker);
    refused(judge_plan(&with(vec![ended("rem-1", 1000, Some(End::Improved), &fixture)]), &plan), Rule::Cooldown);
    refused(judge_plan(&with((0..10).map(|n| ended(&format!("rem-{n}"), 300_000 + n, Some(End::Improved), &fixture)).collect()), &plan), Rule::Rate);
    refused(judge_plan(&with(vec![ended("rem-1", 120_000, None, &fixture)]), &plan), Rule::Conflict);
    assert_eq!(judge_plan(&with(vec![ended("rem-1", 120_000, Some(End::Improved), &fixture)]), &plan), Ok(()));
    let mut applied = fixture.applied();
    applied.history.operations.extend((0..3).map(other));
    assert_eq!(judge_write(&applied, &fixture.revert()), Ok(Admitted::Revert));
}

#[test]
fn three_strikes_ask_a_person_who_may_still_say_yes() {
    let fixture = Fixture::scale();
    let mut facts = asking(&fixture, &[("bob", Word::Approve)]);
    facts.blueprint.as_mut().unwrap().effective.service.rules.mode = Mode::Autonomous;
    facts.history.operations = (0..3).map(|n| ended(&format!("rem-{n}"), 3_700_000 + n, Some(End::NoEffect), &fixture)).collect();
    assert_eq!(judge_plan(&facts, &fixture.plan()), Ok(()));
    facts.approvals.clear();
    refused(judge_plan(&facts, &fixture.plan()), Rule::Approval);
}

#[test]
fn one_plan_at_a_time_enters_and_only_the_last_one_writes() {
    let fixture = Fixture::scale();
    let plan = fixture.plan();
    let name = plan.name().unwrap();
    let mut facts = fixture.planned();
    refused(judge_write(&Facts { entered: vec![], ..facts.clone() }, &fixture.apply()), Rule::Breaker);
    refused(judge_write(&Facts { entered: vec![name.clone(), "rem-2".into()], ..facts.clone() }, &fixture.apply()), Rule::Breaker);
    // Two that were stored at the same time: neither is over, so whichever enters first goes first.
    facts.history.operations.push(ended("rem-2", 0, None, &fixture));
    refused(judge_write(&Facts { entered: vec![], ..facts.clone() }, &fixture.apply()), Rule::Breaker);
    facts.history.operations.retain(|operation| operation.plan != name);
    facts.history.operations.iter_mut().for_each(|operation| operation.at = PLANNED.plus(-120_000));
    facts.entered = vec!["rem-2".into()];
    refused(may_enter(&facts, &plan), Rule::Conflict);
    facts.entered = vec!["rem-1".into()];
    assert_eq!(may_enter(&facts, &plan), Ok(()));
}
