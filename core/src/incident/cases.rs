//! Every phase with every event, as a table, and the paths that an incident takes through them.

use super::{Effect, Event, Incident, Mode, Phase, RemediationResult, Symptom};
use crate::action::{Action, Restart};
use crate::ballot::Proposal;
use crate::canonical::Digest;
use crate::consensus::{Outcome, Verdict};
use crate::ids::{IncidentUid, UnixMillis};
use crate::refusal::Rule;
use crate::target::{Service, Target};

const START: UnixMillis = UnixMillis(1_000_000);

fn opened() -> (Incident, Vec<Effect>) {
    opened_by(Symptom::Errors)
}

fn opened_by(symptom: Symptom) -> (Incident, Vec<Effect>) {
    let uid = IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap();
    Incident::open(uid, Service { namespace: "shop".into(), name: "orders".into() }, symptom, START)
}

fn outcome(verdict: Verdict) -> Event {
    counted(1, verdict)
}

fn counted(epoch: u32, verdict: Verdict) -> Event {
    let outcome = Box::new(Outcome::of(verdict));
    Event::Tallied { epoch, outcome }
}

fn covered(by: IncidentUid) -> Event {
    Event::Covered { epoch: 1, by }
}

fn authorised(mode: Mode) -> Event {
    Event::Authorised { epoch: 1, mode }
}

fn asked() -> Event {
    Event::Asked { until: START.plus(3_600_000) }
}

fn news() -> Event {
    Event::Evidence("shop/stock: errors".into())
}

fn act() -> Event {
    let target = Target {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "u".into(),
        generation: 3,
        spec: Digest::of_bytes(b"spec"),
    };
    let proposal = Box::new(Proposal { action: Action::RestartWorkload(Restart { marker: "m".into() }), target });
    outcome(Verdict::Act { proposal, supporters: vec!["change".into(), "compute".into()] })
}

fn hold(rule: Rule) -> Event {
    held(1, rule)
}

fn held(epoch: u32, rule: Rule) -> Event {
    counted(epoch, Verdict::Hold { rule, reason: "not enough".into() })
}

/// An incident that was brought to `phase` by the events that lead there.
fn at(phase: Phase) -> Incident {
    let mut incident = opened().0;
    let gathered = || Event::Gathered("{}".into());
    let refused = || Event::Finished(RemediationResult::Refused("no".into()));
    let path = match phase {
        Phase::Open => vec![],
        Phase::Investigating => vec![gathered()],
        Phase::Decided => vec![gathered(), act()],
        Phase::AwaitingApproval => vec![gathered(), act(), authorised(Mode::Approve)],
        Phase::Remediating => vec![gathered(), act(), authorised(Mode::Autonomous)],
        Phase::Verifying => vec![gathered(), act(), Event::Applied],
        Phase::Resolved => vec![gathered(), act(), Event::Applied, Event::Finished(RemediationResult::Verified)],
        Phase::RolledBack => vec![gathered(), act(), Event::Applied, Event::Finished(RemediationResult::Reverted("no help".into()))],
        Phase::Escalated => vec![gathered(), act(), refused()],
        Phase::Watching => vec![gathered(), act(), authorised(Mode::Observe)],
    };
    for event in path {
        incident.step(START, event);
    }
    assert_eq!(incident.phase, phase);
    incident
}

const PHASES: [Phase; 10] = [
    Phase::Open,
    Phase::Investigating,
    Phase::Decided,
    Phase::AwaitingApproval,
    Phase::Remediating,
    Phase::Verifying,
    Phase::Resolved,
    Phase::RolledBack,
    Phase::Escalated,
    Phase::Watching,
];

/// Where each phase goes by each event; `None` is where it stays.
#[test]
fn every_phase_by_every_event() {
    use Phase::{AwaitingApproval, Decided, Escalated, Investigating, Open, Remediating, Resolved, RolledBack, Verifying, Watching};
    let finished = |result| Event::Finished(result);
    let reason = || "because".to_owned();
    let table: Vec<(Event, Vec<(Phase, Phase)>)> = vec![
        (Event::Gathered("{}".into()), vec![(Open, Investigating)]),
        (act(), vec![(Investigating, Decided)]),
        (hold(Rule::Veto), vec![(Investigating, Escalated)]),
        (hold(Rule::Quorum), vec![(Investigating, Investigating)]),
        (covered(opened().0.uid), vec![(Investigating, Verifying)]),
        (authorised(Mode::Autonomous), vec![(Decided, Remediating)]),
        (authorised(Mode::Approve), vec![(Decided, AwaitingApproval)]),
        (authorised(Mode::Observe), vec![(Decided, Watching)]),
        (asked(), vec![(Decided, AwaitingApproval), (AwaitingApproval, AwaitingApproval), (Remediating, AwaitingApproval)]),
        (Event::Agreed, vec![(Decided, Open), (AwaitingApproval, Open), (Remediating, Open)]),
        (Event::Applying, vec![(Decided, Remediating), (AwaitingApproval, Remediating)]),
        (Event::Applied, vec![(Decided, Verifying), (AwaitingApproval, Verifying), (Remediating, Verifying)]),
        (finished(RemediationResult::Verified), vec![(Decided, Resolved), (AwaitingApproval, Resolved), (Remediating, Resolved), (Verifying, Resolved)]),
        (
            finished(RemediationResult::Reverted(reason())),
            vec![(Decided, RolledBack), (AwaitingApproval, RolledBack), (Remediating, RolledBack), (Verifying, RolledBack)],
        ),
        (
            finished(RemediationResult::Refused(reason())),
            vec![(Decided, Escalated), (AwaitingApproval, Escalated), (Remediating, Escalated), (Verifying, Escalated)],
        ),
        (
            finished(RemediationResult::Failed(reason())),
            vec![(Decided, Escalated), (AwaitingApproval, Escalated), (Remediating, Escalated), (Verifying, Escalated)],
        ),
        (Event::Abandoned(reason()), PHASES.iter().filter(|phase| !phase.is_final()).map(|phase| (*phase, Escalated)).collect()),
        (Event::Tick, vec![]),
    ];
    let _: Phase = Watching;
    for (event, moves) in table {
        for phase in PHASES {
            let mut incident = at(phase);
            let effects = incident.step(START, event.clone());
            let expected = moves.iter().find(|(from, _)| *from == phase).map_or(phase, |(_, to)| *to);
            assert_eq!(incident.phase, expected, "{phase:?} by {event:?}");
            let told = matches!(expected, Escalated | RolledBack) && expected != phase;
            assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Escalate(_))), told, "{phase:?} by {event:?}: a person is told exactly then");
            let counted = matches!(event, Event::Tallied { .. });
            let stays = !moves.iter().any(|(from, to)| *from == phase && (from != to || counted));
            let said_again = phase == Remediating && event == Event::Applying;
            assert_eq!(effects.is_empty(), stays && !said_again, "{phase:?} by {event:?}: {effects:?}");
            assert!(incident.outcome.is_some() || !incident.phase.is_final(), "{phase:?} by {event:?} ends without saying why");
        }
    }
}

#[test]
fn people_may_take_as_long_as_they_are_given() {
    let mut incident = at(Phase::Decided);
    incident.step(START, asked());
    incident.step(START.plus(3_000_000), Event::Tick);
    assert_eq!(incident.phase, Phase::AwaitingApproval);
    assert!(incident.step(START.plus(3_000_000), asked()).is_empty(), "said again it is the same");
    incident.step(START.plus(3_600_000 + 16 * 60_000), Event::Tick);
    assert_eq!(incident.phase, Phase::Escalated);
}

#[test]
fn what_people_agreed_to_too_late_for_the_ballots_is_voted_on_once_more() {
    let mut incident = at(Phase::AwaitingApproval);
    for epoch in 2..=crate::consensus::MAX_EPOCHS {
        let effects = incident.step(START, Event::Agreed);
        assert_eq!((incident.phase, incident.epoch), (Phase::Open, epoch));
        assert!(effects.contains(&Effect::Gather), "{effects:?}");
        incident.phase = Phase::AwaitingApproval;
    }
    incident.step(START, Event::Agreed);
    assert_eq!(incident.phase, Phase::Escalated, "an incident has so many epochs and no more");
}

#[test]
fn a_new_incident_is_recorded_before_anything_is_gathered() {
    let (incident, effects) = opened();
    assert!(matches!(effects.as_slice(), [Effect::Record { kind, .. }, Effect::Gather] if kind == "incident-opened"), "{effects:?}");
    assert_eq!(incident.resume(), [Effect::Gather]);
}

#[test]
fn missing_evidence_is_asked_for_once_with_a_new_deadline() {
    let mut incident = at(Phase::Investigating);
    let later = START.plus(18_000);
    let effects = incident.step(later, hold(Rule::Quorum));
    let asked: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Ask { .. })).collect();
    assert_eq!(asked, [&Effect::Ask { epoch: 2, deadline: later.plus(26_000) }]);
    assert_eq!(incident.deadline, later.plus(26_000), "the second question has its own deadline");
    assert_eq!(incident.resume(), [Effect::Ask { epoch: 2, deadline: later.plus(26_000) }]);
    let kinds: Vec<_> = effects.iter().filter_map(|effect| if let Effect::Record { key, .. } = effect { Some(key.as_str()) } else { None }).collect();
    assert!(kinds.iter().any(|key| key.ends_with("/2/seats-asked")), "the second question is on record: {kinds:?}");
    let late = incident.clone();
    assert!(incident.step(later, hold(Rule::Quorum)).is_empty() && incident == late, "what another one counted of epoch 1 comes too late");
    incident.step(later, held(2, Rule::Quorum));
    assert_eq!((incident.phase, incident.epoch), (Phase::Escalated, 2));
}

#[test]
fn what_another_director_says_of_an_earlier_epoch_changes_nothing() {
    let mut second = at(Phase::Investigating);
    second.step(START, hold(Rule::Quorum));
    let mut decided = second.clone();
    decided.step(START, counted(2, verdict(act())));
    assert_eq!(decided.phase, Phase::Decided);
    for (incident, late) in [(&second, act()), (&second, covered(opened().0.uid)), (&decided, authorised(Mode::Autonomous))] {
        let mut stepped = incident.clone();
        assert!(stepped.step(START, late.clone()).is_empty() && stepped == *incident, "{late:?}");
    }
}

fn verdict(event: Event) -> Verdict {
    match event {
        Event::Tallied { outcome, .. } => outcome.verdict,
        other => panic!("{other:?}"),
    }
}

/// Who is told of news while the seats vote looks again with all that is known by then; and who was told for want of evidence,
/// too, as long as an epoch is left.
#[test]
fn new_evidence_brings_another_epoch_with_a_new_context_and_at_most_three() {
    let gathers = |effects: &[Effect]| effects.contains(&Effect::Gather);
    let mut incident = at(Phase::Investigating);
    assert_eq!(incident.step(START, news()).len(), 1, "it is on record");
    assert!(incident.step(START, news()).is_empty(), "once");
    let effects = incident.step(START, hold(Rule::Support));
    assert!(gathers(&effects) && incident.phase == Phase::Open && incident.epoch == 2, "{effects:?}");
    let effects = incident.step(START, Event::Gathered("{\"more\":1}".into()));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Ask { epoch: 2, .. })), "{effects:?}");
    assert_eq!(incident.context.as_deref(), Some("{\"more\":1}"));
    // The one question for missing evidence is still to be asked.
    incident.step(START, held(2, Rule::Support));
    assert_eq!((incident.phase, incident.epoch), (Phase::Investigating, 3));
    incident.step(START, news());
    incident.step(START, held(3, Rule::Support));
    assert_eq!(incident.phase, Phase::Escalated, "there is no fourth epoch");
    assert!(!incident.hears_evidence() && incident.step(START, news()).is_empty());

    let mut told = at(Phase::Investigating);
    told.step(START, hold(Rule::Support));
    told.step(START, held(2, Rule::Support));
    assert!(told.phase == Phase::Escalated && told.hears_evidence());
    let later = START.plus(60_000);
    let effects = told.step(later, news());
    assert!(gathers(&effects) && (told.phase, told.epoch) == (Phase::Open, 3), "{effects:?}");
    assert!(told.deadline > later && told.outcome.is_none() && told.reopened);
    told.step(later, Event::Gathered("{}".into()));
    told.step(later, counted(3, verdict(act())));
    assert_eq!(told.phase, Phase::Decided, "what was missing came");
}

#[test]
fn news_neither_shop_for_another_answer_nor_stop_one_that_was_given() {
    let mut vetoed = at(Phase::Investigating);
    vetoed.step(START, news());
    vetoed.step(START, hold(Rule::Veto));
    assert!(vetoed.phase == Phase::Escalated && vetoed.step(START, news()).is_empty(), "a veto stands");
    let mut enough = at(Phase::Investigating);
    enough.step(START, news());
    enough.step(START, act());
    assert_eq!(enough.phase, Phase::Decided, "who has enough does not wait");
    for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Investigating) {
        let mut incident = at(phase);
        assert!(!incident.hears_evidence() && incident.step(START, news()).is_empty(), "{phase:?}");
    }
}

#[test]
fn every_decision_is_written_even_one_that_holds() {
    for (verdict, epoch) in [(act(), 1), (hold(Rule::Veto), 1), (hold(Rule::Support), 1)] {
        let effects = at(Phase::Investigating).step(START, verdict.clone());
        assert!(matches!(effects.first(), Some(Effect::Decide { epoch: of, .. }) if *of == epoch), "{verdict:?}: {effects:?}");
    }
}

#[test]
fn time_moves_what_waits_and_leaves_what_is_over() {
    for phase in PHASES {
        let mut incident = at(phase);
        let late = incident.deadline.plus(1);
        let effects = incident.step(late, Event::Tick);
        match phase {
            Phase::Open => assert_eq!(effects, [Effect::Gather]),
            Phase::Investigating => assert!(matches!(effects.as_slice(), [Effect::Ask { epoch: 1, .. }]), "{effects:?}"),
            _ if phase.is_final() => assert!(effects.is_empty()),
            _ => assert_eq!(incident.phase, Phase::Escalated, "{phase:?} must not wait for ever"),
        }
        if !phase.is_final() && incident.phase == phase {
            assert!(incident.deadline > late, "{phase:?} would tick for ever");
        }
    }
}

#[test]
fn a_covered_incident_ends_well_only_with_the_one_that_covers_it() {
    for phase in PHASES {
        let end = at(phase).end_for_covered();
        assert_eq!(end.is_some(), phase.is_final(), "{phase:?}");
        let Some(end) = end else { continue };
        let mut covered = at(Phase::Investigating);
        covered.step(START, self::covered(at(phase).uid));
        covered.step(START, end);
        assert_eq!(covered.phase, if phase == Phase::Resolved { Phase::Resolved } else { Phase::Escalated }, "{phase:?}");
    }
}

#[test]
fn equal_steps_have_equal_keys() {
    let keys = |effects: Vec<Effect>| effects.into_iter().filter_map(|e| if let Effect::Record { key, .. } = e { Some(key) } else { None }).collect::<Vec<_>>();
    let step = || keys(at(Phase::Decided).step(START, Event::Applying));
    assert_eq!(step(), step());
    let mut incident = at(Phase::Decided);
    let first = keys(incident.step(START, Event::Applying));
    assert_eq!(keys(incident.step(START, Event::Applying)), first, "said again, it is appended once");
}

#[test]
fn the_state_survives_its_own_text() {
    for phase in PHASES {
        let incident = at(phase);
        let text = serde_json::to_string(&incident).unwrap();
        assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident);
    }
}

#[test]
fn nobody_is_called_because_routine_came_to_nothing() {
    let open = || {
        let mut incident = opened_by(Symptom::Demand).0;
        incident.step(START, Event::Gathered("{}".into()));
        incident
    };
    let told = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Escalate(_)));
    let mut disagreed = open();
    let effects = disagreed.step(START, held(1, Rule::Quorum));
    assert_eq!((disagreed.phase, told(&effects)), (Phase::Watching, false));
    assert_eq!(disagreed.outcome.as_deref(), Some("nothing done: not enough"));
    let mut refused = open();
    refused.step(START, act());
    refused.step(START, authorised(Mode::Autonomous));
    let effects = refused.step(START, Event::Finished(RemediationResult::Refused("frozen".into())));
    assert_eq!((refused.phase, told(&effects)), (Phase::Watching, false));
    // What was done and cannot be undone is somebody's business.
    let mut failed = open();
    failed.step(START, act());
    failed.step(START, authorised(Mode::Autonomous));
    let effects = failed.step(START, Event::Finished(RemediationResult::Failed("stuck".into())));
    assert_eq!((failed.phase, told(&effects)), (Phase::Escalated, true));
}
