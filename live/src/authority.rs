//! What people and seats said: roster, ballots, plans, Pauses, Blueprint, guardrails.

use std::collections::BTreeSet;
use std::sync::Arc;

use assent_api::names;
use assent_api::resources::{
    Ballot, Blueprint, CircuitBreaker, OperationProposalSpec, Pause, Remediation, RemediationPhase, Roster as StoredRoster, breaker_name,
};
use assent_api::{cast, facts, parse_plan, told_plan};
use assent_core::action::{Action, Inverse};
use assent_core::ballot::{CastBallot, Opinion, Proposal};
use assent_core::blueprint::{Classification, ClusterBlueprint};
use assent_core::breaker::{History, Settings};
use assent_core::canonical::Digest;
use assent_core::consensus::Roster;
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::Position;
use assent_core::plan::{BlueprintFacts, KEEP_MS, Plan};
use assent_core::proof::Facts;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::{Service, Target};
use assent_policies::Set;
use assent_policies::facts::StoredPlan;
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::Value;

use crate::reader::{Dated, Live, is_plain, own_clock, unavailable};

/// Everything that a request about one incident is judged by, as it was read.
#[derive(Debug)]
pub struct Authority {
    /// For the proof; what the guardrails say of the request is not in it yet.
    pub facts: Facts,
    /// The guardrails in force.
    pub guardrails: Arc<Set>,
    /// Every stored plan that can be read, of any incident.
    pub(crate) plans: Vec<StoredPlan>,
    /// Every freeze window, as it is stored.
    pub(crate) freezes: Vec<Value>,
    /// How many stored plans cannot be read.
    pub(crate) unreadable: usize,
}

fn dated_plan(stored: &Remediation) -> Result<(Plan, UnixMillis), Refusal> {
    Ok((parse_plan(stored)?, facts::created_at(stored).ok_or_else(|| unavailable("a plan has no creation time"))?))
}

/// What the incident's ballots propose.
pub(crate) fn proposed(facts: &Facts) -> impl Iterator<Item = &Proposal> {
    let ballots = facts.ballots.as_deref().unwrap_or_default();
    ballots.iter().flat_map(|cast| match &cast.ballot.opinion {
        Opinion::Cause(vote) => vote.hypotheses.iter().flat_map(|hypothesis| hypothesis.remedies.iter()).collect(),
        _ => Vec::new(),
    })
}

fn understood(stored: &Blueprint, above: &[ClusterBlueprint]) -> Result<BlueprintFacts, Refusal> {
    facts::blueprint(stored, above).map_err(|reason| Refusal::new(Rule::Blueprint, reason, "the same Blueprint with its problems mended"))
}

fn stored_plan(stored: &Remediation) -> Option<StoredPlan> {
    use RemediationPhase as P;
    let (plan, created_at) = (told_plan(stored)?, facts::created_at(stored)?);
    let phase = stored.status.as_ref().and_then(|status| status.phase);
    // What failed and can be put back may yet be; where there is nothing to put back, that was the end.
    let over = match phase {
        Some(P::Verified | P::Reverted | P::Refused) => true,
        Some(P::Failed) => plan.inverse == Inverse::Empty,
        _ => false,
    };
    Some(StoredPlan { name: stored.name_any(), created_at, plan, over })
}

/// Plans that entered the CircuitBreaker of `service`, oldest first.
fn entered(breakers: &[CircuitBreaker], service: &Service) -> Vec<String> {
    let name = breaker_name(service);
    let own = breakers.iter().find(|breaker| breaker.name_any() == name);
    own.and_then(|breaker| breaker.status.clone()).map(|status| status.entered).unwrap_or_default()
}

// === impl Authority ===

impl Authority {
    /// When the first ballot that counts was stored.
    #[must_use]
    pub fn first_vote(&self) -> Option<UnixMillis> {
        self.facts.ballots.as_ref().ok()?.iter().map(|cast| cast.created_at).min()
    }
}

// === impl Live ===

impl Live {
    /// The roster, or why there is none, with the API server's clock.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn roster(&self) -> Result<Dated<Result<Roster, Refusal>>, Refusal> {
        let path = format!("{}/{}", StoredRoster::url_path(&(), None), names::ROSTER);
        let read = self.get(&path).await?;
        let none = |reason: String| Refusal::new(Rule::NoRoster, reason, "a Roster `default` written by a person");
        let value = match read.value {
            None => Err(none("there is no Roster `default`".into())),
            Some(object) => serde_json::from_value::<StoredRoster>(object)
                .map_err(|error| none(format!("the Roster is not readable: {error}")))
                .and_then(|stored| Roster::try_from(&stored.spec).map_err(none)),
        };
        Ok(Dated { value, now: read.now })
    }

    /// Every ballot of the incident; one that does not verify refuses all.
    ///
    /// # Errors
    /// If they cannot be read, or one is none.
    pub async fn ballots(&self, incident: &IncidentUid, roster: &Roster) -> Result<Vec<CastBallot>, Refusal> {
        self.list::<Ballot>(names::SYSTEM_NAMESPACE, Some(incident)).await?.iter().map(|stored| cast(stored, roster)).collect()
    }

    /// Ballots of every incident, as they are stored.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn stored_ballots(&self) -> Result<Vec<Ballot>, Refusal> {
        self.list::<Ballot>(names::SYSTEM_NAMESPACE, None).await
    }

    /// Every plan of the incident with its creation time.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub async fn plans(&self, incident: &IncidentUid) -> Result<Vec<(Plan, UnixMillis)>, Refusal> {
        self.list::<Remediation>(names::SYSTEM_NAMESPACE, Some(incident)).await?.iter().map(dated_plan).collect()
    }

    /// A stored plan by its name.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub async fn plan(&self, name: &str) -> Result<Option<Plan>, Refusal> {
        let api: Api<Remediation> = Api::namespaced(self.client().clone(), names::SYSTEM_NAMESPACE);
        let stored = api.get_opt(name).await.map_err(|error| unavailable(format!("cannot read remediation `{name}`: {error}")))?;
        stored.as_ref().map(parse_plan).transpose()
    }

    /// What was done to all services and what people lifted, with the settings that no Blueprint names.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn history(&self) -> Result<(History, Settings), Refusal> {
        let (remediations, breakers) =
            tokio::try_join!(self.list::<Remediation>(names::SYSTEM_NAMESPACE, None), self.list::<CircuitBreaker>(names::SYSTEM_NAMESPACE, None),)?;
        let (lifts, promotions, settings) = facts::people(&breakers);
        let operations = remediations.iter().filter_map(facts::operation).collect();
        Ok((History { operations, lifts, promotions, ..History::default() }, settings))
    }

    /// Incidents that have a plan; one that is none counts as none.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn planned_incidents(&self) -> Result<BTreeSet<String>, Refusal> {
        let stored = self.list::<Remediation>(names::SYSTEM_NAMESPACE, None).await?;
        Ok(stored.iter().filter_map(|stored| parse_plan(stored).ok()).map(|plan| plan.incident.to_string()).collect())
    }

    /// Where the ledger stood for the newest of all plans.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn newest_position(&self) -> Result<Position, Refusal> {
        Ok(facts::newest_position(&self.list::<Remediation>(names::SYSTEM_NAMESPACE, None).await?))
    }

    /// Everything that a request about `wanted` is judged by. Without `wanted`, no Blueprint is read. `target` is the
    /// workload as it is, which the caller has.
    ///
    /// # Errors
    /// If something cannot be read.
    pub async fn authority(&self, incident: &IncidentUid, wanted: Option<&Target>, target: Option<Value>) -> Result<Authority, Refusal> {
        // Many reads at once are a large future, and nobody who waits for it should have to be as large.
        Box::pin(self.read_authority(incident, wanted, target)).await
    }

    async fn read_authority(&self, incident: &IncidentUid, wanted: Option<&Target>, target: Option<Value>) -> Result<Authority, Refusal> {
        let Dated { value: roster, now } = self.roster().await?;
        let own_clock = own_clock();
        let blueprint = async {
            match wanted {
                Some(target) => self.stored_blueprint(target).await,
                None => Ok(None),
            }
        };
        let (cluster, pauses, remediations, rules, stored, breakers, approvals) = tokio::try_join!(
            self.cluster(),
            self.list::<Pause>(names::SYSTEM_NAMESPACE, None),
            self.list::<Remediation>(names::SYSTEM_NAMESPACE, None),
            self.rules(),
            blueprint,
            self.list::<CircuitBreaker>(names::SYSTEM_NAMESPACE, None),
            self.approvals(incident),
        )?;
        let blueprint = stored.map(|stored| understood(&stored, &rules.above)).transpose()?;
        let ballots = match &roster {
            Ok(roster) => self.ballots(incident, roster).await,
            Err(refusal) => Err(refusal.clone()),
        };
        let of_incident = remediations.iter().filter(|stored| stored.spec.incident == incident.as_str());
        let plans = of_incident.map(dated_plan).collect::<Result<Vec<_>, Refusal>>()?;
        let (lifts, promotions, breaker) = facts::people(&breakers);
        let (mut all, mut unreadable) = (Vec::new(), 0);
        for stored in &remediations {
            match stored_plan(stored) {
                Some(plan) => all.push(plan),
                // What cannot be read might have been done a moment ago; a day later nobody counts it any more.
                None if facts::created_at(stored).is_none_or(|created_at| now.since(created_at) <= KEEP_MS) => unreadable += 1,
                None => {}
            }
        }
        let facts = Facts {
            cluster,
            now,
            own_clock,
            roster: roster.map_err(|refusal| refusal.reason),
            ballots,
            plans,
            ledger: facts::newest_position(&remediations),
            paused: pauses.first().map(|pause| pause.spec.reason.clone()),
            blueprint,
            guardrails: rules.digest,
            rules_changed_at: rules.changed_at,
            guardrail_denial: None,
            target,
            pod: None,
            configurations: Vec::new(),
            approvals,
            breaker,
            history: History { operations: remediations.iter().filter_map(facts::operation).collect(), lifts, promotions, ..History::default() },
            entered: wanted.map(|target| entered(&breakers, &target.service())).unwrap_or_default(),
        };
        Ok(Authority { facts, guardrails: rules.set, freezes: rules.freezes, unreadable, plans: all })
    }

    /// The Blueprint that speaks of `target`, below what stands above it.
    ///
    /// # Errors
    /// If there are two, or something cannot be read.
    pub async fn blueprint(&self, target: &Target) -> Result<Option<BlueprintFacts>, Refusal> {
        let (stored, above) = tokio::try_join!(self.stored_blueprint(target), self.above())?;
        stored.map(|stored| understood(&stored, &above)).transpose()
    }

    /// What is said of an operation that somebody proposes in `namespace`.
    ///
    /// # Errors
    /// If something cannot be read.
    pub async fn proposed(&self, spec: &OperationProposalSpec, namespace: &str) -> Result<Classification, Refusal> {
        let (blueprints, above, now) = tokio::try_join!(self.list::<Blueprint>(namespace, None), self.above(), self.now())?;
        Ok(facts::proposed(spec, namespace, &blueprints, Ok(&above), now))
    }

    /// Two that speak of one workload contradict each other whatever they say, so neither counts.
    async fn stored_blueprint(&self, target: &Target) -> Result<Option<Blueprint>, Refusal> {
        let all = self.list::<Blueprint>(&target.namespace, None).await?;
        let mut about = all.into_iter().filter(|blueprint| blueprint.spec.speaks_of(&target.kind, &target.name));
        match (about.next(), about.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Refusal::new(Rule::Blueprint, format!("two Blueprints speak of {target}"), "one Blueprint for one workload")),
        }
    }

    /// ConfigMaps that the actions under judgement rest on, as they are now. Only the judgement of a write compares them.
    ///
    /// # Errors
    /// If one cannot be read.
    pub async fn configurations(&self, facts: &Facts, target: &Target) -> Result<Vec<(String, Digest)>, Refusal> {
        let planned = facts.plans.iter().map(|(plan, _)| &plan.proposal);
        let (mut names, mut copies) = (BTreeSet::new(), BTreeSet::new());
        for proposal in planned.chain(proposed(facts)).filter(|proposal| proposal.target.service() == target.service()) {
            names.extend(proposal.action.configurations().into_iter().map(|configuration| configuration.name));
            if let Action::RevertConfig(revert) = &proposal.action {
                copies.insert(revert.copy().name);
            }
        }
        let mut configurations = Vec::new();
        for name in names.into_iter().filter(|name| is_plain(name)) {
            let Some(object) = self.configuration(&target.namespace, &name).await? else { continue };
            // A copy that somebody could change is none.
            if copies.contains(&name) && !facts::is_immutable(&object) {
                continue;
            }
            let digest = facts::configuration_content(&object).map_err(|error| unavailable(format!("ConfigMap `{name}` has no digest: {error}")))?;
            configurations.push((name, digest));
        }
        Ok(configurations)
    }
}
