//! What must hold after every event, whoever is hostile. Nothing here asks the functions that it judges: writes are compared
//! field by field with what was voted, votes are counted by hand, truth is known from the schedule.

use std::collections::{BTreeMap, BTreeSet};

use assent_core::action::{Action, Inverse};
use assent_core::ballot::{CastBallot, Evidence, Opinion, Principal, Proposal, StanceVerdict};
use assent_core::canonical::Digest;
use assent_core::consensus::{Outcome, Roster};
use assent_core::ids::IncidentUid;
use assent_core::incident::Phase;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use serde_json::{Value, json};

use super::cluster::{Cluster, Landed, PlanPhase, StoredPlan};
use super::executor::outcome_key;
use super::faults::{Deed, Faults, SidecarLie};
use super::rules::Rules;
use super::simulation::Simulation;
use super::votes::{SEATS, hypotheses};

/// What did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation(pub(crate) String);

fn violated<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invariants {
    pub(crate) crashes: u64,
    pub(crate) refused: u64,
    seen: (u64, u64),
    landed: usize,
    /// Of each plan its apply and its revert, by the number of the write.
    applied: BTreeMap<String, usize>,
    released: BTreeMap<String, usize>,
    reverted: BTreeMap<String, usize>,
    ballots: BTreeMap<String, Digest>,
    plans: BTreeMap<String, PlanPhase>,
    planned_at: BTreeMap<String, i64>,
    /// Each set of ballots with its count.
    counted: BTreeMap<(Digest, Vec<Digest>), Outcome>,
    broken: Option<String>,
}

// === impl Invariants ===

impl Invariants {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// The same ballots decide the same, for every director and the gate, in every order.
    pub(crate) fn tallied(&mut self, rules: &Rules, roster: &Roster, ballots: &[CastBallot], outcome: &Outcome) {
        let mut digests: Vec<Digest> = ballots.iter().map(|cast| cast.digest.clone()).collect();
        digests.sort_unstable();
        let key = (roster.digest().unwrap(), digests);
        if let Some(other) = self.counted.get(&key) {
            if other != outcome {
                self.breaks("the same ballots decided twice, and not the same".into());
            }
            return;
        }
        let mut turned: Vec<CastBallot> = ballots.iter().rev().cloned().collect();
        turned.extend_from_slice(ballots.get(..1).unwrap_or_default());
        if (rules.tally)(roster, &turned) != *outcome {
            self.breaks("the order or a copy of ballots changed the count".into());
        }
        self.counted.insert(key, outcome.clone());
    }

    /// A plan was stored; `intent` is whether that it would be was on record.
    pub(crate) fn planned(&mut self, name: &str, intent: bool, now: i64) {
        self.planned_at.insert(name.into(), now);
        if !intent {
            self.plans.insert(format!("{name}/without-intent"), PlanPhase::Planned);
        }
    }

    /// An executor is about to say how a plan ended.
    pub(crate) fn ended(&mut self, name: &str, phase: PlanPhase) {
        if phase == PlanPhase::Refused && self.applied.contains_key(name) {
            self.breaks(format!("{name} was written and counts as refused"));
        }
    }

    /// An honest executor's revert was refused: only what people did since can be a reason.
    pub(crate) fn revert_refused(&mut self, cluster: &Cluster, faults: &Faults, name: &str, refusal: &Refusal) {
        let Some(stored) = cluster.plans.get(name) else { return };
        let touched = faults.deeds.iter().any(|(_, deed)| matches!(deed, Deed::EditSpec | Deed::Recreate | Deed::EditRoster));
        let late = refusal.rule == Rule::Clock || cluster.now - stored.created_at.0 > i64::from(stored.plan.revert_within_ms);
        if !touched && !late && !faults.hostile_executor && faults.executors == 1 && !self.reverted.contains_key(name) {
            self.breaks(format!("the revert that {name} owes was refused: {refusal}"));
        }
    }
}

// === impl Simulation ===

impl Simulation {
    /// After every event.
    pub(crate) fn check(&mut self) -> Result<(), Violation> {
        if let Some(broken) = &self.invariants.broken {
            return violated(broken.clone());
        }
        let seen = (self.cluster.changes, self.store.changes);
        if self.invariants.seen == seen {
            return Ok(());
        }
        self.invariants.seen = seen;
        self.check_writes()?;
        self.check_record()?;
        self.check_incidents()
    }

    // --- writes ---

    fn check_writes(&mut self) -> Result<(), Violation> {
        for (at, object) in &self.cluster.workloads {
            if is_system_namespace(&at.namespace) && object["metadata"]["generation"] != 1 {
                return violated(format!("{at} was touched"));
            }
        }
        while let Some(landed) = self.cluster.landed.get(self.invariants.landed) {
            let number = self.invariants.landed;
            let landed = landed.clone();
            self.check_write(number, &landed)?;
            self.invariants.landed += 1;
        }
        Ok(())
    }

    fn check_write(&mut self, number: usize, landed: &Landed) -> Result<(), Violation> {
        let about = |stored: &&StoredPlan| stored.plan.incident == landed.incident && stored.plan.proposal.target.service() == landed.service;
        let plans: Vec<(String, StoredPlan)> =
            self.cluster.plans.iter().filter(|(_, stored)| about(stored)).map(|(name, stored)| (name.clone(), stored.clone())).collect();
        if plans.is_empty() {
            return violated(format!("{} was written without a plan", landed.service));
        }
        for (name, stored) in &plans {
            let target = &stored.plan.proposal.target;
            let before = &landed.before["metadata"];
            if before["uid"] != target.uid.as_str() {
                continue;
            }
            let generation = before["generation"].as_i64();
            if generation == Some(target.generation) && is_voted(&stored.plan.proposal.action, landed) {
                return self.check_apply(number, landed, name, stored);
            }
            if generation == Some(target.generation + 1) && self.is_let_go(target.generation, landed) {
                return self.check_release(number, landed, name, stored);
            }
            let later = generation.map_or(0, |generation| generation - target.generation);
            if (later == 1 || (later == 2 && self.invariants.released.contains_key(name))) && self.is_put_back(stored, landed) {
                return self.check_revert(number, landed, name, stored);
            }
        }
        violated(format!("the write to {} is neither what was voted nor its inverse: {:?} → {:?}", landed.service, landed.before, landed.after))
    }

    fn check_apply(&mut self, number: usize, landed: &Landed, name: &str, stored: &StoredPlan) -> Result<(), Violation> {
        let plan = &stored.plan;
        if Digest::of(&landed.before["spec"]).ok().as_ref() != Some(&plan.proposal.target.spec) {
            return violated(format!("{name} was applied to another specification than was judged"));
        }
        if landed.paused {
            return violated(format!("{name} was applied in a pause"));
        }
        if landed.judged_at - stored.created_at.0 > i64::from(plan.expires_after_ms) + 1_000 {
            return violated(format!("{name} was applied after it had expired"));
        }
        if self.invariants.applied.insert(name.into(), number).is_some() {
            return violated(format!("{name} was applied twice"));
        }
        let votes: Vec<CastBallot> = self
            .cluster
            .ballots
            .values()
            .filter(|ballot| ballot.cast.ballot.incident == plan.incident && ballot.at <= landed.judged_at)
            .map(|ballot| ballot.cast.clone())
            .collect();
        self.check_vote(name, &votes, &landed.roster, (plan.epoch, &plan.proposal), self.invariants.planned_at[name])?;
        self.check_authority(name, &votes, plan.epoch)?;
        let right = self.faults.troubles.iter().find(|trouble| trouble.service() == landed.service);
        let right = right.is_some_and(|trouble| same_action(&trouble.remedy(""), &plan.proposal.action));
        if !right {
            return violated(format!("{} was not what is wrong, or {} not its remedy", landed.service, plan.proposal.action.name()));
        }
        Ok(())
    }

    /// At least two seats for both the cause and the remedy, on figures of two principals of which one is no sidecar, no veto,
    /// three of four present; and not more than one of them a liar or deceived.
    fn check_vote(&self, name: &str, votes: &[CastBallot], roster: &Digest, (epoch, proposal): (u32, &Proposal), planned_at: i64) -> Result<(), Violation> {
        if votes.iter().any(|cast| cast.ballot.epoch > epoch) {
            return violated(format!("{name} was applied after a later vote had begun"));
        }
        let votes: Vec<&CastBallot> = votes.iter().filter(|cast| cast.ballot.epoch == epoch).collect();
        let context = votes.first().map(|cast| &cast.ballot.context);
        for cast in &votes {
            let ballot = &cast.ballot;
            if Some(&ballot.context) != context || ballot.roster != *roster {
                return violated(format!("{name}: ballot {} is of another context or roster", ballot.name()));
            }
            if planned_at - cast.created_at.0 > i64::from(ballot.expires_after_ms) + 1_000 {
                return violated(format!("{name}: ballot {} had expired", ballot.name()));
            }
        }
        let digest = proposal.digest().unwrap();
        let (mut present, mut judged, mut supporters, mut sound, mut principals) = (0, 0, 0, 0, BTreeSet::new());
        for (seat, (seat_name, domain, own)) in SEATS.iter().enumerate() {
            let mine = || votes.iter().filter(|cast| cast.ballot.seat == *seat_name);
            present += usize::from(mine().any(|cast| matches!(&cast.ballot.opinion, Opinion::Cause(vote) if !vote.healthy.is_empty() || vote.hypotheses.iter().any(|h| !h.evidence.is_empty()))));
            judged += usize::from(mine().any(|cast| matches!(cast.ballot.opinion, Opinion::Remedy(_))));
            let of_service = |cast: &&&CastBallot| {
                hypotheses(cast).iter().any(|h| h.service == proposal.target.service() && h.probability.get() >= 500_000 && !h.evidence.is_empty())
            };
            let blames = mine().any(|cast| of_service(&cast));
            let mut supports = false;
            for cast in mine() {
                let Opinion::Remedy(vote) = &cast.ballot.opinion else { continue };
                for stance in vote.stances.iter().filter(|stance| stance.proposal == digest) {
                    if stance.verdict == StanceVerdict::Veto {
                        return violated(format!("{name} was applied over the veto of {seat_name}"));
                    }
                    supports |= stance.verdict == StanceVerdict::Support && !stance.evidence.is_empty();
                }
            }
            if blames && supports {
                supporters += 1;
                let deceived = *own == Principal::Sidecar && self.faults.sidecars == Some(SidecarLie::Blames);
                sound += usize::from(self.faults.liar != Some(seat) && !deceived);
                let allowed = assent_core::consensus::shipped_principals(*domain);
                principals.extend(mine().flat_map(|cast| figures(cast)).map(|item| item.principal).filter(|principal| allowed.contains(principal)));
            }
        }
        if present < 3 || judged < 3 {
            return violated(format!("{name} was applied with {present} and {judged} of 4 seats voting"));
        }
        if supporters < 2 || sound + 1 < supporters || sound == 0 {
            return violated(format!("{name} was applied with {supporters} supporters, {sound} of them sound"));
        }
        if principals.len() < 2 || principals.iter().all(|principal| *principal == Principal::Sidecar) {
            return violated(format!("{name} was applied on the figures of {principals:?} alone"));
        }
        Ok(())
    }

    fn check_authority(&self, name: &str, votes: &[CastBallot], epoch: u32) -> Result<(), Violation> {
        let first = votes.iter().filter(|cast| cast.ballot.epoch == epoch).map(|cast| cast.created_at.0).min().unwrap_or_default();
        let changed = [Some(self.cluster.blueprint_changed_at), self.cluster.rules_changed_at];
        // What changed after the write was judged is not meant, and people change it in one go.
        let judged = self.cluster.landed.last().map_or(0, |landed| landed.judged_at);
        if changed.into_iter().flatten().any(|at| at >= first + 1_000 && at < judged) {
            return violated(format!("{name} was applied under an authority that was changed after the vote began"));
        }
        Ok(())
    }

    /// The newest write of a voted change to this target as it was judged.
    fn applied_to(&self, generation: i64, landed: &Landed) -> Option<&Landed> {
        let mut applied = self.invariants.applied.values().filter_map(|number| self.cluster.landed.get(*number));
        applied.rfind(|applied| applied.service == landed.service && applied.before["metadata"]["generation"].as_i64() == Some(generation))
    }

    /// Whether it lets the rest follow the first pod of what was applied, and does nothing else.
    fn is_let_go(&self, generation: i64, landed: &Landed) -> bool {
        let Some(applied) = self.applied_to(generation, landed) else { return false };
        let metadata = |object: &Value| plain(object)["metadata"].clone();
        landed.before["spec"] == applied.after["spec"]
            && landed.after["spec"] == let_go(applied)
            && landed.after["spec"] != landed.before["spec"]
            && metadata(&landed.before) == metadata(&landed.after)
    }

    fn check_release(&mut self, number: usize, landed: &Landed, name: &str, stored: &StoredPlan) -> Result<(), Violation> {
        if landed.paused {
            return violated(format!("the rest of {name} was let go in a pause"));
        }
        // Two minutes to be ready, and four times the look.
        if landed.judged_at - stored.created_at.0 > i64::from(stored.plan.expires_after_ms) + 120_000 + 20_000 + 1_000 {
            return violated(format!("the rest of {name} was let go after it had expired"));
        }
        if self.invariants.released.insert(name.into(), number).is_some() {
            return violated(format!("the rest of {name} was let go twice"));
        }
        Ok(())
    }

    /// Whether what a plan of this target applied was put back. Two incidents may have been decided for the same change: the plan of
    /// either puts it back, since nothing tells whose the write was, and either could put back its own.
    fn is_put_back(&self, stored: &StoredPlan, landed: &Landed) -> bool {
        let Some(applied) = self.applied_to(stored.plan.proposal.target.generation, landed) else { return false };
        let metadata = |object: &Value| plain(object)["metadata"].clone();
        stored.plan.inverse != Inverse::Empty
            && landed.after["spec"] == applied.before["spec"]
            && (landed.before["spec"] == applied.after["spec"] || landed.before["spec"] == let_go(applied))
            && metadata(&landed.before) == metadata(&landed.after)
    }

    fn check_revert(&mut self, number: usize, landed: &Landed, name: &str, stored: &StoredPlan) -> Result<(), Violation> {
        if self.invariants.reverted.insert(name.into(), number).is_some() {
            return violated(format!("{name} was put back twice"));
        }
        if landed.judged_at - stored.created_at.0 > i64::from(stored.plan.revert_within_ms) + 1_000 {
            return violated(format!("{name} was put back after its deadline"));
        }
        Ok(())
    }

    // --- the record ---

    fn check_record(&mut self) -> Result<(), Violation> {
        for (name, ballot) in &self.cluster.ballots {
            let first = self.invariants.ballots.entry(name.clone()).or_insert_with(|| ballot.cast.digest.clone());
            if *first != ballot.cast.digest {
                return violated(format!("ballot {name} was changed"));
            }
        }
        if self.faults.hostile_executor || self.faults.hostile_director {
            return Ok(());
        }
        for (name, stored) in &self.cluster.plans {
            let before = self.invariants.plans.insert(name.clone(), stored.phase);
            if before.is_none() && self.invariants.plans.contains_key(&format!("{name}/without-intent")) && !self.store.lost {
                return violated(format!("{name} was planned without its intent on record"));
            }
            if before.is_some_and(|before| before.is_final() && before != stored.phase) {
                return violated(format!("{name} ended twice"));
            }
            let told = self.store.lost || self.store.has(&outcome_key(name, stored.phase));
            if stored.phase.is_final() && !told {
                return violated(format!("{name} ended {:?} without that on record", stored.phase));
            }
            if stored.phase == PlanPhase::Verified && before != Some(PlanPhase::Verified) {
                self.check_verified(name, stored)?;
            }
        }
        Ok(())
    }

    /// What counts as verified is well in truth; only people may have changed that within the last moments.
    fn check_verified(&self, name: &str, stored: &StoredPlan) -> Result<(), Violation> {
        let meddled = self.faults.deeds.iter().any(|(_, deed)| matches!(deed, Deed::EditSpec | Deed::Recreate));
        if !meddled && !self.is_well(&stored.plan.proposal.target.service()) {
            return violated(format!("{name} counts as verified, and the service is ill"));
        }
        Ok(())
    }

    fn check_incidents(&self) -> Result<(), Violation> {
        if self.faults.hostile_director || self.faults.hostile_executor {
            return Ok(());
        }
        for record in self.store.incidents.values().filter(|record| record.incident.phase == Phase::Resolved && record.incident.covered_by.is_none()) {
            let verified = self.cluster.plans.values().any(|stored| stored.plan.incident == record.incident.uid && stored.phase == PlanPhase::Verified);
            if !verified {
                return violated(format!("incident {} counts as resolved, and nothing was verified", record.incident.uid));
            }
        }
        Ok(())
    }

    // --- the end ---

    /// After the last event: everything came to an end, and where nothing was faulty, to a good one.
    pub(crate) fn check_end(&mut self, hostile: bool) -> Result<(), Violation> {
        self.check()?;
        if !hostile {
            let open: Vec<&IncidentUid> = self
                .store
                .incidents
                .values()
                .map(|record| &record.incident)
                .filter(|incident| !incident.phase.is_final())
                .map(|incident| &incident.uid)
                .collect();
            if !open.is_empty() {
                return violated(format!("incidents {open:?} never ended"));
            }
            let unfinished: Vec<&String> = self.cluster.plans.iter().filter(|(_, stored)| !stored.phase.is_final()).map(|(name, _)| name).collect();
            if !unfinished.is_empty() {
                return violated(format!("plans {unfinished:?} never ended"));
            }
        }
        if self.faults.is_calm() {
            let resolved = self.store.incidents.values().all(|record| record.incident.phase == Phase::Resolved);
            if !resolved || self.store.incidents.is_empty() || !self.troubles().is_empty() {
                return violated("nothing was faulty, and the trouble is not resolved");
            }
        }
        Ok(())
    }
}

fn figures(cast: &CastBallot) -> Vec<&Evidence> {
    match &cast.ballot.opinion {
        Opinion::Cause(vote) => vote.hypotheses.iter().flat_map(|h| &h.evidence).collect(),
        Opinion::Remedy(vote) => vote.stances.iter().flat_map(|stance| &stance.evidence).collect(),
        Opinion::Abstain { .. } => vec![],
    }
}

fn same_action(right: &Action, done: &Action) -> bool {
    match (right, done) {
        (Action::RestartWorkload(_), Action::RestartWorkload(_)) => true,
        (right, done) => right == done,
    }
}

/// The object without what the API server sets by itself.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("generation");
    }
    object
}

/// The specification that `applied` comes to once the rest follows its first pod.
fn let_go(applied: &Landed) -> Value {
    let mut spec = applied.after["spec"].clone();
    spec["strategy"] = applied.before["spec"]["strategy"].clone();
    spec.as_object_mut().map(|fields| fields.remove("minReadySeconds"));
    spec
}

/// Whether the write is the action to the letter, and nothing else changed.
fn is_voted(action: &Action, landed: &Landed) -> bool {
    let mut expected = plain(&landed.before);
    match action {
        Action::ScaleWorkload(scale) => expected["spec"]["replicas"] = scale.replicas.into(),
        Action::RestartWorkload(restart) => {
            expected["spec"]["template"]["metadata"]["annotations"]["assent.dev/restarted-for"] = restart.marker.clone().into();
        }
        Action::AdjustResources(adjust) => {
            for sizes in &adjust.containers {
                let mebibytes = |bytes: Option<u64>| json!(format!("{}Mi", bytes.unwrap() >> 20));
                let resources = &mut expected["spec"]["template"]["spec"]["containers"][0]["resources"];
                *resources = json!({"requests": {"memory": mebibytes(sizes.memory_request)}, "limits": {"memory": mebibytes(sizes.memory_limit)}});
            }
        }
        // There are neither pods nor ConfigMaps here, so nobody may have evicted one or read another.
        Action::EvictPod(_) | Action::RevertConfig(_) => return false,
        Action::RollbackWorkload(_) => expected["spec"]["template"] = super::votes::healthy_template(),
    }
    // What gives pods another template begins with one of them: a quarter may be missing, which of four is one.
    if matches!(action, Action::AdjustResources(_) | Action::RollbackWorkload(_)) {
        let may_miss = expected["spec"]["replicas"].as_u64() >= Some(4);
        expected["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": u8::from(!may_miss), "maxUnavailable": u8::from(may_miss)});
        expected["spec"]["minReadySeconds"] = json!(80);
    }
    expected == plain(&landed.after)
}
