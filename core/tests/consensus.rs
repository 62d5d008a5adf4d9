//! One lying seat can block and can never cause: properties of the tally over arbitrary ballots, and a model check of every
//! order in which ballots of an honest majority and a hostile seat can arrive.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::cell::Cell;

use assent_core::action::{Action, Restart, Scale};
use assent_core::ballot::{
    Ballot, CastBallot, CauseVote, Edge, Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, RemedyVote, Round, Stance, StanceVerdict,
};
use assent_core::canonical::Digest;
use assent_core::consensus::{MAX_EPOCHS, Roster, Seat, TallyConfiguration, Verdict, tally};
use assent_core::ids::{Domain, IncidentUid, Millionths, UnixMillis};
use assent_core::target::{Service, Target};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use stateright::{Checker, Model, Property};

const SEATS: [(&str, Domain); 4] =
    [("network", Domain::Network), ("compute", Domain::Compute), ("database", Domain::Database), ("change", Domain::Application)];
/// Which of them lies.
const LIAR: &str = "network";

fn roster() -> Roster {
    Roster {
        seats: SEATS
            .iter()
            .map(|(name, domain)| Seat {
                name: (*name).into(),
                domain: *domain,
                account: format!("assent-seat-{name}"),
                principals: assent_core::consensus::shipped_principals(*domain),
            })
            .collect(),
        quorum: 3,
        supporters: 2,
        tally: TallyConfiguration::shipped(),
        trust_roots: String::new(),
        gate: Digest::of_bytes(b"gate"),
        ledger: None,
    }
}

fn service(n: usize) -> Service {
    Service { namespace: "shop".into(), name: ["orders", "storefront"][n].into() }
}

fn proposal(n: usize) -> Proposal {
    let action = match n % 2 {
        0 => Action::RestartWorkload(Restart { marker: "i.1".into() }),
        _ => Action::ScaleWorkload(Scale { replicas: 3 }),
    };
    let service = service(n / 2);
    let target = Target {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: service.namespace,
        name: service.name,
        uid: "u".into(),
        generation: 1,
        spec: Digest::of_bytes(b"spec"),
    };
    Proposal { action, target }
}

fn cast(seat: &str, epoch: u32, opinion: Opinion) -> CastBallot {
    let ballot = Ballot {
        cluster: "c".into(),
        incident: IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap(),
        seat: seat.into(),
        epoch,
        issued_at: UnixMillis(0),
        expires_after_ms: 1,
        context: Digest::of_bytes(b"context"),
        roster: Digest::of_bytes(b"roster"),
        rules: String::new(),
        opinion,
    };
    CastBallot { digest: Digest::of(&ballot).unwrap(), created_at: UnixMillis(0), ballot }
}

// --- arbitrary ballots ---

fn evidence() -> impl Strategy<Value = Vec<Evidence>> {
    let one = select(vec![Principal::Sidecar, Principal::Kubelet, Principal::ApiServer]).prop_map(|principal| Evidence {
        class: EvidenceClass::Requests,
        principal,
        digest: Digest::of_bytes(b"figures"),
        from: UnixMillis(0),
        to: UnixMillis(1),
        summary: String::new(),
    });
    prop_oneof![1 => Just(vec![]), 9 => vec(one, 1..3)]
}

fn hypothesis() -> impl Strategy<Value = Hypothesis> {
    let domain = prop_oneof![4 => Just(Domain::Application), 1 => Just(Domain::Compute), 1 => Just(Domain::Network)];
    let place = prop_oneof![4 => Just(0_usize), 1 => Just(1_usize)];
    let probability = prop_oneof![3 => 700_000..=1_000_000_u32, 1 => 0..=1_000_000_u32];
    (place, domain, probability, evidence(), vec(0..4_usize, 0..3)).prop_map(|(place, domain, probability, evidence, remedies)| Hypothesis {
        service: service(place),
        domain,
        fault: "f".into(),
        probability: Millionths::new(probability),
        evidence,
        path: vec![],
        remedies: remedies.into_iter().map(proposal).collect(),
    })
}

fn cause() -> impl Strategy<Value = Opinion> {
    let edge = (0..2_usize, 0..2_usize).prop_map(|(caller, callee)| Edge { caller: service(caller), callee: service(callee) });
    let abstention = Just(Opinion::Abstain { round: Round::Cause, reason: String::new() });
    let vote = (vec(hypothesis(), 0..3), evidence(), vec(edge, 0..3));
    prop_oneof![1 => abstention, 9 => vote.prop_map(|(hypotheses, healthy, edges)| Opinion::Cause(CauseVote { hypotheses, healthy, edges }))]
}

/// Stances on all proposals; which cause ballots were seen is chosen among those that will exist.
fn remedy() -> impl Strategy<Value = (Vec<(StanceVerdict, Vec<Evidence>)>, Vec<Index>)> {
    let verdict = prop_oneof![12 => Just(StanceVerdict::Support), 4 => Just(StanceVerdict::NoObjection), 1 => Just(StanceVerdict::Veto)];
    (vec((verdict, evidence()), 4), vec(any::<Index>(), 0..3))
}

#[derive(Clone, Debug)]
struct Votes {
    honest: Vec<CastBallot>,
    hostile: Vec<CastBallot>,
}

fn votes() -> impl Strategy<Value = Votes> {
    let honest = (vec(cause(), 3), vec(remedy(), 3));
    let hostile = (vec(cause(), 0..3), vec(remedy(), 0..3), vec(1..4_u32, 4));
    (honest, hostile).prop_map(|((causes, remedies), (lies, hostile_remedies, epochs))| {
        let names = SEATS.iter().map(|(name, _)| *name).filter(|name| *name != LIAR);
        let mut honest: Vec<CastBallot> = names.clone().zip(causes).map(|(name, opinion)| cast(name, 1, opinion)).collect();
        let mut epochs = epochs.into_iter();
        // The epoch is the gate's to check; a hostile seat may write any, mostly the one that counts.
        let mut epoch = || epochs.next().map_or(1, |epoch| if epoch == 3 { 2 } else { 1 });
        let mut hostile: Vec<CastBallot> = lies.into_iter().map(|opinion| cast(LIAR, epoch(), opinion)).collect();
        let seen: Vec<Digest> = honest.iter().chain(&hostile).map(|cast| cast.digest.clone()).collect();
        let stances = |(verdicts, causes): (Vec<(StanceVerdict, Vec<Evidence>)>, Vec<Index>)| {
            let stance = |(n, (verdict, evidence)): (usize, _)| Stance { proposal: proposal(n).digest().unwrap(), verdict, reason: String::new(), evidence };
            let causes = causes.into_iter().map(|index| index.get(&seen).clone()).collect();
            Opinion::Remedy(RemedyVote { causes, stances: verdicts.into_iter().enumerate().map(stance).collect() })
        };
        honest.extend(names.zip(remedies).map(|(name, remedy)| cast(name, 1, stances(remedy))).collect::<Vec<_>>());
        hostile.extend(hostile_remedies.into_iter().map(|remedy| cast(LIAR, epoch(), stances(remedy))).collect::<Vec<_>>());
        Votes { honest, hostile }
    })
}

/// Runs `check` on many votes; it says whether the case was one that matters, and enough of them must be.
fn for_all(cases: u32, at_least: u32, check: impl Fn(&Votes, &[CastBallot]) -> Result<bool, TestCaseError>) {
    let mattered = Cell::new(0);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config { cases, failure_persistence: None, ..Config::default() }, rng);
    let outcome = runner.run(&votes(), |votes| {
        let all: Vec<CastBallot> = votes.honest.iter().chain(&votes.hostile).cloned().collect();
        mattered.set(mattered.get() + u32::from(check(&votes, &all)?));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(mattered.get() >= at_least, "only {} cases mattered", mattered.get());
}

fn opinions<'a>(ballots: &'a [CastBallot], seat: &'a str) -> impl Iterator<Item = &'a Opinion> {
    ballots.iter().filter(move |cast| cast.ballot.seat == seat).map(|cast| &cast.ballot.opinion)
}

/// Whether `seat` argued for a cause at the proposal's target, and for the proposal itself.
fn wants(ballots: &[CastBallot], seat: &str, proposal: &Proposal) -> bool {
    let digest = proposal.digest().unwrap();
    let cause = opinions(ballots, seat).any(|opinion| match opinion {
        Opinion::Cause(vote) => {
            vote.hypotheses.iter().any(|h| h.service == proposal.target.service() && h.probability.get() >= 500_000 && !h.evidence.is_empty())
        }
        _ => false,
    });
    let remedy = opinions(ballots, seat).any(|opinion| match opinion {
        Opinion::Remedy(vote) => vote.stances.iter().any(|s| s.proposal == digest && s.verdict == StanceVerdict::Support && !s.evidence.is_empty()),
        _ => false,
    });
    cause && remedy
}

fn vetoed(ballots: &[CastBallot], proposal: &Proposal) -> bool {
    let digest = proposal.digest().unwrap();
    ballots.iter().any(|cast| match &cast.ballot.opinion {
        Opinion::Remedy(vote) => vote.stances.iter().any(|s| s.proposal == digest && s.verdict == StanceVerdict::Veto),
        _ => false,
    })
}

fn honest() -> impl Iterator<Item = &'static str> {
    SEATS.iter().map(|(name, _)| *name).filter(|name| *name != LIAR)
}

// --- properties ---

#[test]
fn one_hostile_seat_never_causes_what_no_honest_seat_wants() {
    for_all(2_500, 60, |votes, all| {
        let Verdict::Act { proposal, supporters } = tally(&roster(), all).verdict else { return Ok(false) };
        prop_assert!(honest().any(|seat| wants(&votes.honest, seat, &proposal)), "no honest seat wants {proposal:?}");
        prop_assert!(!vetoed(&votes.honest, &proposal), "an honest seat vetoed {proposal:?}");
        prop_assert!(supporters.len() >= 2);
        for seat in supporters.iter().filter(|seat| *seat != LIAR) {
            prop_assert!(wants(&votes.honest, seat, &proposal), "{seat} does not support {proposal:?}");
        }
        Ok(true)
    });
}

#[test]
fn without_an_honest_supporter_nothing_ever_happens() {
    for_all(2_000, 500, |votes, _| {
        // The honest seats argue as they like, and support nothing.
        let mut all = votes.hostile.clone();
        all.extend(votes.honest.iter().cloned().map(|mut cast| {
            if let Opinion::Remedy(vote) = &mut cast.ballot.opinion {
                vote.stances.iter_mut().for_each(|stance| stance.verdict = StanceVerdict::NoObjection);
            }
            cast
        }));
        let wanted = (0..4).any(|n| wants(&all, LIAR, &proposal(n)));
        let held = matches!(tally(&roster(), &all).verdict, Verdict::Hold { .. });
        prop_assert!(held);
        Ok(wanted)
    });
}

#[test]
fn order_and_copies_change_nothing() {
    for_all(1_500, 50, |_, all| {
        let outcome = tally(&roster(), all);
        let mut turned: Vec<CastBallot> = all.iter().rev().cloned().collect();
        prop_assert_eq!(&tally(&roster(), &turned), &outcome);
        turned.extend_from_slice(all);
        turned.rotate_left(all.len() / 2);
        prop_assert_eq!(&tally(&roster(), &turned), &outcome);
        Ok(matches!(outcome.verdict, Verdict::Act { .. }))
    });
}

#[test]
fn a_seat_that_contradicts_itself_is_as_if_it_were_silent() {
    for_all(1_500, 200, |votes, all| {
        let outcome = tally(&roster(), all);
        if !outcome.void.contains(&LIAR.to_owned()) {
            return Ok(false);
        }
        prop_assert_eq!(&outcome.void, &[LIAR.to_owned()]);
        let silent = tally(&roster(), &votes.honest);
        prop_assert_eq!((outcome.causes, outcome.verdict, outcome.voted), (silent.causes, silent.verdict, silent.voted));
        Ok(true)
    });
}

#[test]
fn seats_outside_the_roster_and_epochs_outside_the_limit_count_for_nothing() {
    for_all(1_000, 30, |_, all| {
        let outcome = tally(&roster(), all);
        let mut more = all.to_vec();
        more.extend(all.iter().cloned().map(|mut cast| {
            cast.ballot.seat = "stranger".into();
            cast
        }));
        more.extend(all.iter().cloned().map(|mut cast| {
            cast.ballot.epoch = MAX_EPOCHS + 1;
            cast
        }));
        prop_assert_eq!(&tally(&roster(), &more), &outcome);
        Ok(matches!(outcome.verdict, Verdict::Act { .. }))
    });
}

// --- every order of arrival ---

/// Ballots arrive one by one, in any order, or not at all; the tally may be taken at any moment.
#[derive(Clone)]
struct Arrival {
    ballots: Vec<CastBallot>,
    act_expected: bool,
}

impl Model for Arrival {
    /// Which ballots have arrived, bit by bit.
    type State = u32;
    type Action = usize;

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, state: &u32, actions: &mut Vec<usize>) {
        actions.extend((0..self.ballots.len()).filter(|n| state & (1 << n) == 0));
    }

    fn next_state(&self, state: &u32, arrived: usize) -> Option<u32> {
        Some(state | (1 << arrived))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        if self.act_expected {
            return vec![
                Property::sometimes("acts", |model: &Self, state| model.acts(*state)),
                Property::always("only with the honest supporter", |model, state| !model.acts(*state) || model.has_honest_support(*state)),
            ];
        }
        vec![Property::always("holds", |model, state| !model.acts(*state))]
    }
}

impl Arrival {
    fn arrived(&self, state: u32) -> Vec<CastBallot> {
        self.ballots.iter().enumerate().filter(|(n, _)| state & (1 << n) != 0).map(|(_, cast)| cast.clone()).collect()
    }

    fn acts(&self, state: u32) -> bool {
        matches!(tally(&roster(), &self.arrived(state)).verdict, Verdict::Act { .. })
    }

    fn has_honest_support(&self, state: u32) -> bool {
        honest().any(|seat| wants(&self.arrived(state), seat, &proposal(0)))
    }
}

fn grounds(principal: Principal) -> Vec<Evidence> {
    vec![Evidence { class: EvidenceClass::Resource, principal, digest: Digest::of_bytes(b"f"), from: UnixMillis(0), to: UnixMillis(1), summary: String::new() }]
}

fn blames(principals: [Principal; 2], probability: u32) -> Opinion {
    let hypothesis = Hypothesis {
        service: service(0),
        domain: Domain::Application,
        fault: "stalled".into(),
        probability: Millionths::new(probability),
        evidence: principals.into_iter().flat_map(grounds).collect(),
        path: vec![],
        remedies: vec![proposal(0)],
    };
    Opinion::Cause(CauseVote { hypotheses: vec![hypothesis], healthy: vec![], edges: vec![] })
}

fn well() -> Opinion {
    Opinion::Cause(CauseVote { hypotheses: vec![], healthy: grounds(Principal::Sidecar), edges: vec![] })
}

fn says(causes: &[&CastBallot], verdict: StanceVerdict) -> Opinion {
    let stance = Stance { proposal: proposal(0).digest().unwrap(), verdict, reason: String::new(), evidence: grounds(Principal::Kubelet) };
    Opinion::Remedy(RemedyVote { causes: causes.iter().map(|cast| cast.digest.clone()).collect(), stances: vec![stance] })
}

fn arrivals(honest_supporter: bool) -> Arrival {
    use Principal::{ApiServer, Kubelet, Sidecar};
    let compute = cast("compute", 1, if honest_supporter { blames([Kubelet, Kubelet], 800_000) } else { well() });
    let (database, change) = (cast("database", 1, well()), cast("change", 1, well()));
    // The liar claims whatever evidence it likes, and may write several ballots of a round.
    let lies = [blames([Sidecar, ApiServer], 1_000_000), blames([Kubelet, Sidecar], 900_000), well()].map(|opinion| cast(LIAR, 1, opinion));
    let seen = [&compute, &database, &change, &lies[0]];
    let support = if honest_supporter { StanceVerdict::Support } else { StanceVerdict::NoObjection };
    let mut ballots = vec![
        cast("compute", 1, says(&seen, support)),
        cast("database", 1, says(&seen, StanceVerdict::NoObjection)),
        cast("change", 1, says(&seen, StanceVerdict::NoObjection)),
        cast(LIAR, 1, says(&seen, StanceVerdict::Support)),
        cast(LIAR, 1, says(&[], StanceVerdict::Support)),
        cast(LIAR, 2, says(&seen, StanceVerdict::Support)),
    ];
    ballots.extend([compute, database, change]);
    ballots.extend(lies);
    Arrival { ballots, act_expected: honest_supporter }
}

#[test]
fn in_no_order_of_arrival_does_one_lying_seat_cause_an_action() {
    let checker = arrivals(false).checker().spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), 1 << 12);
}

#[test]
fn with_an_honest_supporter_the_same_model_acts() {
    let checker = arrivals(true).checker().spawn_bfs().join();
    checker.assert_properties();
}
