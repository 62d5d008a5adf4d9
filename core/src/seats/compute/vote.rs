//! From judgements to a vote: scale what is saturated, restart what has stalled, and say which remedies there is room for.

use super::View;
use super::judge::{Fault, Judged};
use crate::action::{Action, Restart, Scale};
use crate::ballot::{Evidence, EvidenceClass, Hypothesis, Opinion, Principal, Proposal, Round};
use crate::ids::{Domain, Millionths};
use crate::incident::Workload;
use crate::seats::opinion::{abstain, cause, evidence};
use crate::seats::{Asked, Position, Put, Seat as _};
use crate::target::Service;
use crate::workload::Kind;

pub(super) const RESOURCE: (EvidenceClass, Principal) = (EvidenceClass::Resource, Principal::Kubelet);
/// Container states stand in the pod's status, which anybody with rights on it may write.
const STATES: (EvidenceClass, Principal) = (EvidenceClass::ContainerState, Principal::ApiServer);
/// Most replicas that this seat proposes; a Blueprint may allow fewer.
const MOST_REPLICAS: u32 = 10;

// === impl View ===

impl View {
    pub(super) fn vote(&self, asked: &Asked<'_>) -> Opinion {
        let alert = &asked.context.service;
        if let Some(reason) = self.blind(asked) {
            return abstain(Round::Cause, &reason);
        }
        let mut judged: Vec<(&Workload, Judged)> = Vec::new();
        let mut missing = None;
        for workload in &asked.context.workloads {
            let service = workload.target.service();
            match self.judge(&service, asked.context.since, asked.now) {
                Ok(figures) => judged.push((workload, figures)),
                Err(reason) if service == *alert => missing = Some(reason),
                Err(_) => {}
            }
        }
        let crowded = self.crowded(asked, &judged);
        if !crowded.is_empty() {
            // Who gets no processor uses none: that is no stall.
            judged.retain(|(_, figures)| !figures.fault.is_some_and(Fault::is_still));
        }
        let vanished = judged.iter().filter(|(_, figures)| figures.fault == Some(Fault::Vanished)).count();
        let mut hypotheses = Vec::new();
        for (workload, figures) in &judged {
            let evicts = self.evicting.contains(&workload.target.service());
            hypotheses.extend(hypothesis(asked, workload, figures, vanished, evicts));
            hypotheses.extend(release(workload, figures));
        }
        hypotheses.extend(crowded);
        if hypotheses.is_empty() {
            // Health of others says nothing of the one that alerts; and without its past nothing is known to be usual.
            if let Some(reason) = missing {
                return abstain(Round::Cause, &reason);
            }
            let own = judged.iter().find(|(workload, _)| workload.target.service() == *alert);
            return match own {
                Some((_, figures)) if !figures.speaks_of_after(asked.context.since) => {
                    abstain(Round::Cause, &format!("the newest figures of {alert} are mostly from before the onset"))
                }
                Some((_, figures)) if !figures.warm => abstain(Round::Cause, &format!("the pods of {alert} have just started")),
                Some((_, figures)) if figures.usual.is_some() => cause(Vec::new(), vec![resource(figures)], []),
                _ => abstain(Round::Cause, &format!("the usual use of {alert} is not learned yet")),
            };
        }
        cause(hypotheses, Vec::new(), [])
    }

    /// Neighbours that take the node's processors, and who is then not to blame for being late.
    fn crowded(&self, asked: &Asked<'_>, judged: &[(&Workload, Judged)]) -> Vec<Hypothesis> {
        let victims = asked.context.workloads.iter().map(|workload| workload.target.service()).collect();
        let neighbours = self.neighbours(&victims, asked.context.since, asked.now);
        if neighbours.is_empty() {
            return Vec::new();
        }
        let well = judged.iter().filter(|(_, judged)| judged.fault.is_none_or(Fault::is_still));
        let well = well.map(|(workload, judged)| at(workload.target.service(), Domain::Compute, "crowded-out", 100_000, vec![resource(judged)]));
        let loud = neighbours.into_iter().map(|(service, judged)| at(service, Domain::Compute, "noisy-neighbour", 800_000, vec![resource(&judged)]));
        loud.chain(well).collect()
    }

    pub(super) fn position(&self, asked: &Asked<'_>, put: &Put<'_>) -> Position {
        let target = &put.proposal.target;
        match &put.proposal.action {
            Action::ScaleWorkload(scale) if asked.context.symptom.is_routine() => return self.demand_position(asked, target, scale),
            Action::AdjustResources(adjust) if asked.context.symptom.is_routine() => return self.sizes_position(asked, target, adjust),
            _ => {}
        }
        let judged = match self.judge(&target.service(), asked.context.since, asked.now) {
            Ok(judged) => judged,
            Err(reason) => return Position::no_objection(reason),
        };
        match &put.proposal.action {
            Action::ScaleWorkload(scale) => {
                let workload = asked.context.workloads.iter().find(|workload| workload.target == *target);
                let now = workload.map_or(scale.replicas, |workload| workload.replicas);
                let more = scale.replicas.saturating_sub(now);
                if let Some(reason) = self.no_room(&target.service(), more) {
                    return Position::veto(reason, vec![resource(&judged)]);
                }
                if scale.replicas < now && matches!(judged.fault, Some(Fault::Saturated | Fault::AtLimit | Fault::LimitCut)) {
                    return Position::veto("its pods are at their limit already", vec![resource(&judged)]);
                }
                match judged.fault {
                    Some(Fault::Saturated | Fault::AtLimit | Fault::LimitCut) if more > 0 && scale.replicas <= MOST_REPLICAS => {
                        Position::support("its processor use is at the limit", vec![resource(&judged)])
                    }
                    _ => Position::no_objection("its processor use does not call for it, and the nodes have room"),
                }
            }
            Action::EvictPod(evict) => match (&judged.alone, judged.fault) {
                (Some(alone), Some(Fault::Idle)) if alone == evict => Position::support("it alone of the pods does nothing any more", vec![resource(&judged)]),
                (Some(alone), _) if alone == evict => {
                    Position::support("it alone of the pods uses no processor while its process runs", vec![resource(&judged)])
                }
                (Some(alone), _) => Position::veto(format!("it is pod {} that is still", alone.pod), vec![resource(&judged)]),
                (None, None) => Position::veto("its pods use the processor as ever", vec![resource(&judged)]),
                (None, Some(_)) => Position::no_objection("it is not one pod alone that looks ill"),
            },
            Action::RestartWorkload(_) => match judged.fault {
                Some(Fault::Idle) if judged.alone.is_some() => Position::support("one of its pods does nothing any more", vec![resource(&judged)]),
                Some(Fault::Vanished) => Position::support("its usual processor use is gone while the process runs", vec![resource(&judged)]),
                _ => Position::no_objection("its processor use does not look like a stalled process"),
            },
            Action::RollbackWorkload(_) | Action::RevertConfig(_) => match judged.fault {
                Some(Fault::CrashLoop) => Position::support("its containers keep failing", failures(&judged)),
                Some(Fault::Memory) => Position::support("its memory runs out", vec![resource(&judged)]),
                Some(Fault::LimitCut) => Position::support("it is at a limit that was higher before", vec![resource(&judged)]),
                _ => Position::no_objection("no harm to processor or memory"),
            },
            Action::AdjustResources(_) => Position::no_objection("sizes are a matter of routine, and this is none"),
        }
    }
}

fn hypothesis(asked: &Asked<'_>, workload: &Workload, judged: &Judged, vanished: usize, evicts: bool) -> Option<Hypothesis> {
    let kind = Kind::of(&workload.target.api_version, &workload.target.kind);
    let stateless = kind.is_some_and(|kind| kind != Kind::StatefulSet);
    let (domain, fault, probability) = match judged.fault? {
        Fault::CrashLoop => (Domain::Application, "crash-loop", 750_000),
        Fault::Memory => (Domain::Compute, "memory-pressure", 750_000),
        Fault::Saturated => (Domain::Compute, "cpu-saturation", 850_000),
        // What cut the limit is likelier than that there is too little of everything.
        Fault::AtLimit | Fault::LimitCut => (Domain::Compute, "cpu-saturation", 550_000),
        // Where several fall silent together, most of them only wait for the one.
        // What keeps data waits for locks and disks as well.
        Fault::Vanished if vanished > 1 || !stateless => (Domain::Application, "stalled", 650_000),
        Fault::Vanished => (Domain::Application, "stalled", 800_000),
        // Whoever sees what its pods answer knows which of the two it is.
        Fault::Idle if !stateless || judged.alone.is_none() => return None,
        Fault::Idle => (Domain::Application, "stalled", 500_000),
    };
    let action = match judged.fault? {
        Fault::Saturated | Fault::AtLimit | Fault::LimitCut => {
            let replicas = workload.replicas.saturating_add(workload.replicas.div_ceil(2).max(1)).min(MOST_REPLICAS);
            (replicas > workload.replicas && kind.is_some_and(Kind::is_scaled)).then_some(Action::ScaleWorkload(Scale { replicas }))
        }
        // Its silence may be the wait for what a restart would take from it.
        Fault::Vanished | Fault::Idle if !stateless => None,
        // What works is left alone, where that may be done.
        Fault::Vanished | Fault::Idle if evicts && judged.alone.is_some() => judged.alone.clone().map(Action::EvictPod),
        Fault::Vanished | Fault::Idle => Some(Action::RestartWorkload(Restart { marker: format!("{}.{}", asked.context.incident, asked.epoch) })),
        Fault::CrashLoop | Fault::Memory => None,
    };
    let remedies = action.filter(|_| kind.is_some()).map(|action| Proposal { action, target: workload.target.clone() });
    let grounds = if judged.fault == Some(Fault::CrashLoop) { failures(judged) } else { vec![resource(judged)] };
    Some(Hypothesis { remedies: remedies.into_iter().collect(), ..at(workload.target.service(), domain, fault, probability, grounds) })
}

/// A hypothesis that knows of no remedy.
fn at(service: Service, domain: Domain, fault: &str, probability: u32, evidence: Vec<Evidence>) -> Hypothesis {
    Hypothesis { path: vec![service.clone()], service, domain, fault: fault.into(), probability: Millionths::new(probability), evidence, remedies: Vec::new() }
}

/// Memory that runs out is often a release that leaks, and a limit is cut by one. This seat knows of no release, but where another
/// one does it will not stand alone.
fn release(workload: &Workload, judged: &Judged) -> Option<Hypothesis> {
    let (fault, probability) = match judged.fault? {
        Fault::Memory => ("memory-leak", 550_000),
        Fault::LimitCut => ("limit-cut", 800_000),
        _ => return None,
    };
    Some(at(workload.target.service(), Domain::Application, fault, probability, vec![resource(judged)]))
}

fn resource(judged: &Judged) -> Evidence {
    evidence(RESOURCE, judged, (judged.from, judged.to), &judged.summary())
}

/// What the API server says of containers that fail, and what kubelets saw of it themselves.
fn failures(judged: &Judged) -> Vec<Evidence> {
    std::iter::once(states(judged)).chain(judged.ended.then(|| resource(judged))).collect()
}

fn states(judged: &Judged) -> Evidence {
    evidence(STATES, judged, (judged.from, judged.to), &judged.summary())
}
