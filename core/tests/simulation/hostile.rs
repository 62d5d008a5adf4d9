//! An executor that tries whatever its credentials let it send.

use assent_core::action::{Action, Restart, Scale};
use assent_core::ballot::Proposal;
use assent_core::consensus::Verdict;
use assent_core::ids::IncidentUid;
use assent_core::plan::Plan;
use assent_core::target::Target;
use serde_json::{Value, json};

use super::cluster::object_of;
use super::executor::{Step, request};
use super::simulation::{Message, Put, Simulation};
use super::votes::{WORKLOADS, adjust, service};

// === impl Simulation ===

impl Simulation {
    /// One try.
    pub(crate) fn attack(&mut self, n: usize) {
        let Some(incident) = self.store.incidents.keys().next().cloned() else { return };
        let plans: Vec<Plan> = self.cluster.plans.values().map(|stored| stored.plan.clone()).collect();
        let decided = self.cluster.decisions.values().filter_map(|stored| match &stored.outcome.verdict {
            Verdict::Act { proposal, .. } => Some((stored.incident.clone(), stored.epoch, (**proposal).clone())),
            Verdict::Hold { .. } => None,
        });
        let decided: Vec<(IncidentUid, u32, Proposal)> = decided.collect();
        let tried = match self.random.below(8) {
            0 => self.something(&incident),
            1..=3 if !plans.is_empty() => {
                let plan = self.random.pick(&plans);
                self.around(&plan)
            }
            4 if !plans.is_empty() => {
                let plan = self.random.pick(&plans);
                self.back(&plan)
            }
            5 if !plans.is_empty() => {
                let plan = self.random.pick(&plans);
                self.let_go(&plan)
            }
            _ if !decided.is_empty() => return self.other_plan(n, &decided),
            _ => None,
        };
        if let Some(mut put) = tried {
            // For whatever version there is, more often than not.
            if self.random.chance(600) {
                put.request.new["metadata"]["resourceVersion"] = Value::Null;
            }
            self.send_put(n, "hostile", Step::Apply, put);
        }
    }

    /// A write that nobody voted for.
    fn something(&mut self, incident: &IncidentUid) -> Option<Put> {
        let at = service(self.random.pick(&WORKLOADS));
        let workload = self.cluster.workloads.get(&at)?;
        let target = Target::of(workload).ok()?;
        let marker = format!("{incident}.1");
        let action = self.random.pick(&[
            Action::ScaleWorkload(Scale { replicas: 0 }),
            Action::ScaleWorkload(Scale { replicas: 3 }),
            Action::RestartWorkload(Restart { marker }),
            adjust(96),
        ]);
        let proposal = Proposal { action, target };
        self.put(incident, &proposal, false)
    }

    /// The voted write, and something beside it.
    fn around(&mut self, plan: &Plan) -> Option<Put> {
        let mut put = self.put(&plan.incident, &plan.proposal, false)?;
        let new = &mut put.request.new;
        match self.random.below(10) {
            0 => new["metadata"]["labels"]["hostile"] = json!("yes"),
            1 => new["metadata"]["ownerReferences"] = json!([{"kind": "Absent", "uid": "u"}]),
            2 => new["spec"]["paused"] = json!(true),
            3 => new["spec"]["template"]["spec"]["image"] = json!("hostile:1"),
            4 => new["spec"]["template"]["spec"]["containers"] = json!([{"name": "app", "resources": {"limits": {"memory": "4Gi"}}}]),
            5 => put.request.operation = "DELETE".into(),
            6 => put.request.field_manager = "kubectl".into(),
            7 => put.request.subresource = if put.request.subresource.is_empty() { "scale".into() } else { String::new() },
            8 => put.request.incidents.push(plan.incident.to_string()),
            // The very write again: early, late, in a pause, after it was put back.
            _ => {}
        }
        Some(put)
    }

    /// The inverse, whether it is owed or not.
    fn back(&mut self, plan: &Plan) -> Option<Put> {
        let at = plan.proposal.target.service();
        let old = object_of(plan.proposal.action.act().part().subresource, self.cluster.workloads.get(&at)?);
        let mut new = plan.restored(&old).ok()??;
        if self.random.chance(200) {
            new["spec"]["replicas"] = json!(1);
        }
        Some(Put { request: request(&plan.incident, &plan.proposal, new, false), service: at })
    }

    /// The rest of a change, whether its first pod is there or not, and something beside it.
    fn let_go(&mut self, plan: &Plan) -> Option<Put> {
        let at = plan.proposal.target.service();
        let mut new = plan.canary.as_ref()?.release(self.cluster.workloads.get(&at)?).ok()?;
        match self.random.below(4) {
            0 => new["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("100%"),
            1 => new["spec"]["template"]["spec"]["image"] = json!("hostile:1"),
            _ => {}
        }
        Some(Put { request: request(&plan.incident, &plan.proposal, new, false), service: at })
    }

    /// A plan that is nearly what was decided, or exactly that at the wrong time.
    fn other_plan(&mut self, n: usize, decided: &[(IncidentUid, u32, Proposal)]) {
        let now = self.clock(2);
        let mut decided = self.random.pick(decided);
        match self.random.below(8) {
            0 => decided.1 = decided.1 % 3 + 1,
            1 => decided.2.action = Action::ScaleWorkload(Scale { replicas: 4 }),
            2 => {
                let at = service(self.random.pick(&WORKLOADS));
                if let Some(Ok(target)) = self.cluster.workloads.get(&at).map(Target::of) {
                    decided.2.target = target;
                }
            }
            3 => {
                if let Some(Ok(target)) = self.cluster.workloads.get(&decided.2.target.service()).map(Target::of) {
                    decided.2.target = target;
                }
            }
            _ => {}
        }
        let Ok(mut plan) = self.plan_of(&decided, now) else { return };
        match self.random.below(7) {
            0 => drop(plan.ballots.pop()),
            4 => plan.canary = None,
            1 => plan.expires_after_ms = 300_000,
            2 => plan.ledger.head.sequence += 1,
            3 => plan.inverse = assent_core::action::Inverse::Replicas { replicas: 1 },
            _ => {
                // With what the director calls its ledger.
                if let Some((head, proof)) = self.store.extension(plan.ledger.head.sequence) {
                    (plan.ledger.head, plan.ledger.proof) = (head, proof);
                }
            }
        }
        let Ok(name) = plan.name() else { return };
        let from = (n, u32::MAX);
        self.send(Message::Create { from, name, plan: Box::new(plan) });
    }
}
