//! Ballots in any order, copied, late, or from another incident, cluster, roster, context or epoch: none of it makes the gate
//! believe anything else than before.

use assent_core::ballot::{Ballot, CastBallot};
use assent_core::canonical::{self, Digest};
use assent_core::consensus::tally;
use assent_core::ids::IncidentUid;
use assent_core::proof::{Facts, prove};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::fixture::{Hand, PLANNED, facts, plan};
use super::{ALL, LIAR, State, Word};

/// All seats have voted, and nobody lied.
fn voted() -> State {
    State { causes: ALL, lie: Word::Truth, shown: Some(ALL | LIAR), remedies: ALL, stance: Word::Truth, ..State::start() }
}

/// Where a replayed ballot comes from.
#[derive(Clone, Copy, Debug)]
enum From {
    Cluster,
    Incident,
    Roster,
    Context,
    LaterEpoch,
    LongAgo,
    Stranger,
}

fn from() -> impl Strategy<Value = From> {
    prop::sample::select(vec![From::Cluster, From::Incident, From::Roster, From::Context, From::LaterEpoch, From::LongAgo, From::Stranger])
}

fn replayed(cast: &CastBallot, from: From) -> CastBallot {
    let (mut ballot, mut created_at): (Ballot, _) = (cast.ballot.clone(), cast.created_at);
    match from {
        From::Cluster => ballot.cluster = "another".into(),
        From::Incident => ballot.incident = IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8058".to_owned()).unwrap(),
        From::Roster => ballot.roster = Digest::of_bytes(b"another"),
        From::Context => ballot.context = Digest::of_bytes(b"another"),
        From::LaterEpoch => ballot.epoch = 3,
        From::LongAgo => {
            ballot.rules = "old".into();
            created_at = created_at.plus(-3_600_000);
        }
        From::Stranger => ballot.seat = "stranger".into(),
    }
    CastBallot { digest: Digest::of(&ballot).unwrap(), created_at, ballot }
}

/// Runs `check` on many orders of all ballots with copies of some.
fn for_all<S: Strategy>(others: S, check: impl Fn(&Facts, S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let facts = facts(&voted(), true);
    let all = facts.ballots.clone().unwrap();
    let copies = prop::collection::vec(any::<Index>(), 0..4)
        .prop_map(move |copies| all.iter().chain(copies.iter().map(|copy| copy.get(&all))).cloned().collect::<Vec<_>>());
    let orders = (copies.prop_shuffle(), others);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config { cases: 300, failure_persistence: None, ..Config::default() }, rng);
    let ran = runner.run(&orders, |(ballots, others)| check(&Facts { ballots: Ok(ballots), ..facts.clone() }, others));
    ran.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn neither_order_nor_copies_change_the_count_or_its_text() {
    let plan = plan(&voted(), true, Hand::Steady);
    let roster = facts(&voted(), true).roster.unwrap();
    let text = canonical::text(&tally(&roster, &facts(&voted(), true).ballots.unwrap())).unwrap();
    for_all(Just(()), |facts, ()| {
        // The canonical text has no fractions: whatever is decided is counted in integers.
        prop_assert_eq!(&canonical::text(&tally(&roster, facts.ballots.as_ref().unwrap())).unwrap(), &text);
        prop_assert_eq!(prove(facts, &plan.incident, 1, &plan.proposal, PLANNED).unwrap(), plan.ballots.clone());
        Ok(())
    });
}

#[test]
fn a_replayed_ballot_proves_nothing_else() {
    let plan = plan(&voted(), true, Hand::Steady);
    for_all((any::<Index>(), from()), |facts, (which, from)| {
        let mut ballots = facts.ballots.clone().unwrap();
        let replayed = replayed(which.get(&ballots), from);
        // Beside the honest ones it can stop the vote and never turn it …
        ballots.push(replayed.clone());
        let beside = Facts { ballots: Ok(ballots.clone()), ..facts.clone() };
        let proven = prove(&beside, &plan.incident, 1, &plan.proposal, PLANNED);
        prop_assert!(proven.is_err() || matches!(from, From::Stranger), "{:?}: {:?}", from, proven);
        // … and alone, in place of the one that it was, it is as good as none.
        ballots.retain(|cast| (&cast.ballot.seat, cast.ballot.round()) != (&replayed.ballot.seat, replayed.ballot.round()));
        let without = Facts { ballots: Ok(ballots.clone()), ..facts.clone() };
        let absent = prove(&without, &plan.incident, 1, &plan.proposal, PLANNED).is_ok();
        ballots.push(replayed);
        let instead = Facts { ballots: Ok(ballots), ..facts.clone() };
        let proven = prove(&instead, &plan.incident, 1, &plan.proposal, PLANNED);
        prop_assert!(proven.is_err() || (absent && matches!(from, From::Stranger)), "{:?}: {:?}", from, proven);
        Ok(())
    });
}
