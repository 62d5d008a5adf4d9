//! The rules in force: the functions of `core`, and broken ones around them, to see that the simulation would notice.

use assent_core::ballot::{CastBallot, Opinion, Principal, StanceVerdict};
use assent_core::consensus::{Outcome, Roster, Verdict, tally};
use assent_core::ids::UnixMillis;
use assent_core::plan::Plan;
use assent_core::proof::{self, Admitted, Facts, WriteRequest};
use assent_core::refusal::{Refusal, Rule};
use assent_core::verification::{self, Progress, Reading};

use super::votes::hypotheses;

type Tally = fn(&Roster, &[CastBallot]) -> Outcome;
type Verify = fn(&[Reading], u32, UnixMillis, UnixMillis) -> Progress;

#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) tally: Tally,
    pub(crate) verify: Verify,
    /// What the gate takes for real instead of what it reads.
    sees: Option<fn(&mut Facts)>,
    /// Refusals under these rules are none.
    forgiven: &'static [Rule],
    /// The gate proves a revert by the ballots that there are now.
    reverts_by_what_is_live: bool,
    /// The API server stores a write only over the version that was judged.
    pub(crate) preconditions: bool,
    /// The executor looks at the target before it writes.
    pub(crate) looks_first: bool,
    /// The executor records what it is about to do.
    pub(crate) intent_first: bool,
    /// The executor records how it ended.
    pub(crate) outcome_first: bool,
    /// A ballot is created once.
    pub(crate) ballots_stay: bool,
}

// === impl Rules ===

impl Rules {
    pub(crate) const CORE: Self = Self {
        tally,
        verify: verification::judge,
        sees: None,
        forgiven: &[],
        reverts_by_what_is_live: false,
        preconditions: true,
        looks_first: true,
        intent_first: true,
        outcome_first: true,
        ballots_stay: true,
    };

    pub(crate) fn judge_plan(&self, mut facts: Facts, plan: &Plan) -> Result<(), Refusal> {
        self.look(&mut facts);
        proof::judge_plan(&facts, plan).or_else(|refusal| self.forgive(refusal, ()))
    }

    pub(crate) fn judge_write(&self, mut facts: Facts, request: &WriteRequest) -> Result<Admitted, Refusal> {
        self.look(&mut facts);
        let kind = if request.dry_run { Admitted::DryRun } else { Admitted::Apply };
        let admitted = proof::judge_write(&facts, request).or_else(|refusal| self.forgive(refusal, kind))?;
        if self.reverts_by_what_is_live && admitted == Admitted::Revert {
            for (plan, created_at) in &facts.plans {
                proof::prove(&facts, &plan.incident, plan.epoch, &plan.proposal, *created_at)?;
            }
        }
        Ok(admitted)
    }

    /// Something that the director asks ahead of the gate.
    pub(crate) fn prove(&self, mut facts: Facts, proof: impl FnOnce(&Facts) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.look(&mut facts);
        proof(&facts).or_else(|refusal| self.forgive(refusal, ()))
    }

    fn look(&self, facts: &mut Facts) {
        if let Some(sees) = self.sees {
            sees(facts);
        }
    }

    fn forgive<T>(&self, refusal: Refusal, admitted: T) -> Result<T, Refusal> {
        if self.forgiven.contains(&refusal.rule) { Ok(admitted) } else { Err(refusal) }
    }
}

/// One rule broken in each, by what is then the case.
pub(crate) fn broken() -> Vec<(&'static str, Rules)> {
    let core = Rules::CORE;
    let forgiving = |forgiven| Rules { forgiven, ..core };
    vec![
        ("the evidence of sidecars alone is enough", Rules { tally: without_principals, ..forgiving(&[Rule::Principals]) }),
        ("a veto is not heard", Rules { tally: |roster, ballots| tally(roster, &unvetoed(ballots)), sees: Some(hears_no_veto), ..core }),
        ("one supporter is enough", Rules { tally: |roster, ballots| tally(&of_one(roster), ballots), ..forgiving(&[Rule::Support, Rule::Tally]) }),
        ("two seats are a quorum", Rules { tally: |roster, ballots| tally(&of_two(roster), ballots), ..forgiving(&[Rule::Quorum]) }),
        ("any action passes for the voted one", forgiving(&[Rule::Tally])),
        ("a later vote changes nothing", forgiving(&[Rule::Epoch])),
        ("a pause is not seen", Rules { sees: Some(|facts| facts.paused = None), ..core }),
        ("nothing expires", Rules { sees: Some(time_stands_still), ..core }),
        ("authority may be loosened after the vote", forgiving(&[Rule::Authority])),
        ("another version of the target will do", forgiving(&[Rule::Stale])),
        ("other changes may ride along", forgiving(&[Rule::Difference])),
        ("a write needs no plan", forgiving(&[Rule::NoPlan])),
        ("a revert is owed always", forgiving(&[Rule::Revert])),
        ("the rest need not wait for its first pod", forgiving(&[Rule::Canary])),
        ("any resource, operation and manager will do", forgiving(&[Rule::Resource])),
        ("every ledger extends every other", forgiving(&[Rule::Ledger])),
        ("what was owed is judged by later ballots", Rules { reverts_by_what_is_live: true, ..core }),
        ("the last writer wins", Rules { preconditions: false, ..core }),
        (
            "an executor writes again after a crash, and any version will do",
            Rules { looks_first: false, preconditions: false, ..forgiving(&[Rule::Stale, Rule::Revert]) },
        ),
        ("the order of ballots counts", Rules { tally: all_but_the_last, ..core }),
        ("ballots may be cast again", Rules { ballots_stay: false, ..core }),
        ("one signal verifies", Rules { verify: by_sidecars, ..core }),
        ("an effect without its intent on record", Rules { intent_first: false, ..core }),
        ("an end without its record", Rules { outcome_first: false, ..core }),
    ]
}

fn without_principals(roster: &Roster, ballots: &[CastBallot]) -> Outcome {
    let mut outcome = tally(roster, ballots);
    if let (Verdict::Hold { rule: Rule::Principals, .. }, Some(first)) = (&outcome.verdict, outcome.causes.first()) {
        let mut remedies = ballots.iter().flat_map(hypotheses).filter(|h| h.service == first.service).flat_map(|h| &h.remedies);
        if let Some(proposal) = remedies.next() {
            outcome.verdict = Verdict::Act { proposal: Box::new(proposal.clone()), supporters: first.supporters.clone() };
        }
    }
    outcome
}

fn unvetoed(ballots: &[CastBallot]) -> Vec<CastBallot> {
    let mut ballots = ballots.to_vec();
    for cast in &mut ballots {
        if let Opinion::Remedy(vote) = &mut cast.ballot.opinion {
            vote.stances.iter_mut().filter(|stance| stance.verdict == StanceVerdict::Veto).for_each(|stance| stance.verdict = StanceVerdict::NoObjection);
        }
    }
    ballots
}

fn hears_no_veto(facts: &mut Facts) {
    facts.ballots = facts.ballots.as_ref().map(|ballots| unvetoed(ballots)).map_err(Clone::clone);
}

fn of_one(roster: &Roster) -> Roster {
    Roster { supporters: 1, ..roster.clone() }
}

fn of_two(roster: &Roster) -> Roster {
    Roster { quorum: 2, ..roster.clone() }
}

fn time_stands_still(facts: &mut Facts) {
    let votes = facts.ballots.iter().flatten().map(|cast| cast.created_at);
    let first = facts.plans.iter().map(|(_, created_at)| *created_at).chain(votes).min();
    facts.now = first.unwrap_or(facts.now);
    facts.own_clock = facts.now;
}

fn all_but_the_last(roster: &Roster, ballots: &[CastBallot]) -> Outcome {
    tally(roster, ballots.split_last().map_or(&[], |(_, rest)| rest))
}

fn by_sidecars(readings: &[Reading], soak_ms: u32, deadline: UnixMillis, now: UnixMillis) -> Progress {
    let sidecars = readings.iter().filter(|reading| reading.principal == Principal::Sidecar).cloned();
    let twice: Vec<Reading> = sidecars.flat_map(|reading| [Reading { principal: Principal::ApiServer, ..reading.clone() }, reading]).collect();
    verification::judge(&twice, soak_ms, deadline, now)
}
