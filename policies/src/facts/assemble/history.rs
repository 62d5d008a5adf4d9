//! Other plans: those that may still be written or reverted, and those of the last hour.
//!
//! A plan is open from its creation until the later of its two deadlines, both counted from the server-set creation time, or
//! until its status says that it is over. The executor writes that status, so it closes no plan before its soak time has
//! passed: no plan can be at its end earlier. A hostile executor gains no more by the lie than the next voted plan a little
//! sooner.

use assent_core::ids::UnixMillis;

use super::{StoredPlan, time};
use crate::facts::{FactsError, PlanFact};

/// How long a plan is remembered.
const HOUR_MS: i64 = 60 * 60 * 1000;

pub(super) fn plans(all: &[StoredPlan], now: UnixMillis) -> Result<Vec<PlanFact>, FactsError> {
    let mut facts = Vec::new();
    for StoredPlan { name, created_at, plan, over } in all {
        let life = i64::from(plan.expires_after_ms.max(plan.revert_within_ms));
        let open = now < created_at.plus(life) && !(*over && now >= created_at.plus(i64::from(plan.soak_ms)));
        if !open && now.since(*created_at) >= HOUR_MS {
            continue;
        }
        let target = &plan.proposal.target;
        facts.push(PlanFact {
            name: name.clone(),
            incident: plan.incident.to_string(),
            action: plan.proposal.action.name().to_owned(),
            kind: target.kind.clone(),
            namespace: target.namespace.clone(),
            target: target.name.clone(),
            created_at: time(*created_at)?,
            open,
        });
    }
    Ok(facts)
}
