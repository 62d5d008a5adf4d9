//! Stored objects as the facts that `core` judges by. The gate, the executor and the plugin all read them through here, so
//! that what is seen before a write and at the write is the same.

use assent_core::blueprint::{Classification, ClusterBlueprint, Problem, Reason, Tier, Why, effective, read, read_cluster};
use assent_core::breaker::{Circuit, End, History, Lift, Operation, Promotion, Scope, Settings, circuit};
use assent_core::canonical::{self, Digest};
use assent_core::ids::UnixMillis;
use assent_core::incident::Mode;
use assent_core::ledger::Position;
use assent_core::plan::{BlueprintFacts, BlueprintPin};
use assent_core::target::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cast::{parse_plan, told_plan};
use crate::resources::{
    Blueprint, CLUSTER_BREAKER, CircuitBreaker, CircuitBreakerSpec, CircuitBreakerStatus, OperationProposalSpec, Promoted, PromotedTo, Remediation,
    RemediationPhase, RemediationResult,
};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Server-set creation time.
pub fn created_at(object: &impl ResourceExt) -> Option<UnixMillis> {
    object.creation_timestamp().map(|time| UnixMillis(time.0.as_millisecond()))
}

/// A Blueprint by what it is; `None` when the object was never stored.
#[must_use]
pub fn pin(stored: &Blueprint) -> Option<BlueprintPin> {
    Some(BlueprintPin { name: stored.name_any(), uid: stored.uid()?, generation: stored.metadata.generation? })
}

/// A Blueprint as authority, below the rules that stand above its namespace.
///
/// # Errors
/// If it was never stored, or something in it is wrong: what cannot be understood allows nothing.
pub fn blueprint(stored: &Blueprint, above: &[ClusterBlueprint]) -> Result<BlueprintFacts, String> {
    let name = stored.name_any();
    let (Some(created), Some(pin)) = (created_at(stored), pin(stored)) else {
        return Err(format!("Blueprint `{name}` has no uid, generation or creation time"));
    };
    let spec = serde_json::to_value(&stored.spec).map_err(|error| format!("Blueprint `{name}`: {error}"))?;
    let service = read(&spec).into_result().map_err(|problems| format!("Blueprint `{name}`: {}", listed(&problems)))?;
    let namespace = stored.namespace().unwrap_or_default();
    let above: Vec<ClusterBlueprint> = above.iter().filter(|rules| rules.concerns(&namespace)).cloned().collect();
    Ok(BlueprintFacts {
        pin,
        effective: effective(&above, &service),
        // Creation is a change too: `managedFields` may be absent.
        changed_at: changed_at(&stored.metadata).unwrap_or(created).max(created),
    })
}

/// What is said of an operation that somebody proposes in `namespace`: by the one Blueprint of `blueprints` that speaks of the
/// service, below the rules that stand `above`. Where there is no such one, or something is not understood, nothing is done; and
/// what is never done is still that.
#[must_use]
pub fn proposed(
    spec: &OperationProposalSpec,
    namespace: &str,
    blueprints: &[Blueprint],
    above: Result<&[ClusterBlueprint], &str>,
    now: UnixMillis,
) -> Classification {
    let mut about = blueprints.iter().filter(|blueprint| blueprint.spec.speaks_of(&spec.kind, &spec.service));
    let service = format!("{} {namespace}/{}", spec.kind, spec.service);
    let own = match (above, about.next(), about.next()) {
        (Err(reason), ..) => Err(reason.to_owned()),
        (Ok(above), Some(stored), None) => self::blueprint(stored, above).map(|facts| facts.effective),
        (Ok(_), Some(_), Some(_)) => Err(format!("two speak of {service}")),
        (Ok(_), None, _) => Err(format!("none speaks of {service}")),
    };
    let nothing = |text| {
        let above: Vec<ClusterBlueprint> = above.unwrap_or_default().iter().filter(|rules| rules.concerns(namespace)).cloned().collect();
        let mut said = effective(&above, &read(&json!({})).value).classify(&spec.wanted(), now);
        said.reasons.insert(Reason { tier: Tier::Forbidden, why: Why::Unlisted, layer: "Blueprint".into(), text });
        said
    };
    own.map_or_else(nothing, |effective| effective.classify(&spec.wanted(), now))
}

/// Rules above Blueprints, from the object as it is stored.
///
/// # Errors
/// If something in it is wrong: rules that cannot be understood are not none.
pub fn cluster_blueprint(stored: &Value) -> Result<ClusterBlueprint, String> {
    let name = stored.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let reading = read_cluster(name, stored.get("spec").unwrap_or(&Value::Null));
    reading.into_result().map_err(|problems| format!("ClusterBlueprint `{name}`: {}", listed(&problems)))
}

/// Problems in one text, a line each.
#[must_use]
pub fn listed(problems: &[Problem]) -> String {
    let count = if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
    problems.iter().fold(count, |text, problem| format!("{text}\n  {problem}"))
}

/// When anybody last wrote the object itself, as its `managedFields` say; writes of its status do not count.
#[must_use]
pub fn changed_at(metadata: &ObjectMeta) -> Option<UnixMillis> {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let times = entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty()).filter_map(|entry| entry.time.as_ref());
    times.map(|time| UnixMillis(time.0.as_millisecond())).max()
}

/// Where the ledger stood for the newest of these plans, and the start when there is none; plans that cannot be read do not
/// count.
#[must_use]
pub fn newest_position(plans: &[Remediation]) -> Position {
    let positions = plans.iter().filter_map(|stored| parse_plan(stored).ok()).map(|plan| plan.ledger.position());
    positions.max_by_key(Position::order).unwrap_or_else(Position::start)
}

/// A stored plan as one operation of its service; `None` for one that cannot be read.
#[must_use]
pub fn operation(stored: &Remediation) -> Option<Operation> {
    let plan = told_plan(stored)?;
    let at = created_at(stored)?;
    let status = stored.status.clone().unwrap_or_default();
    let end = match (status.phase, status.result) {
        (Some(RemediationPhase::Verified), _) => Some(End::Improved),
        (Some(RemediationPhase::Refused), _) => Some(End::Refused),
        // What changed nothing is no harm, and no reason to try it again.
        (Some(RemediationPhase::Reverted | RemediationPhase::Failed), Some(RemediationResult::NoEffect)) => Some(End::NoEffect),
        (Some(RemediationPhase::Reverted), Some(RemediationResult::Unknown)) => Some(End::Unknown),
        (Some(RemediationPhase::Reverted), _) => Some(End::Worse),
        (Some(RemediationPhase::Failed), _) => Some(End::Failed),
        (None, _) | (Some(RemediationPhase::Planned | RemediationPhase::Canary | RemediationPhase::Applied | RemediationPhase::Reverting), _) => None,
    };
    // The last transition is the end.
    let times = status.conditions.iter().filter_map(|condition| moment(&condition.last_transition_time));
    let end = end.map(|end| (times.max().unwrap_or(at), end));
    Some(Operation::of(stored.name_any(), &plan, at, end))
}

/// What people said in the CircuitBreakers: lifts, promotions, and when everything stands still.
#[must_use]
pub fn people(breakers: &[CircuitBreaker]) -> (Vec<Lift>, Vec<Promotion>, Settings) {
    let (mut lifts, mut promotions, mut settings) = (Vec::new(), Vec::new(), Settings::default());
    for breaker in breakers {
        let CircuitBreakerSpec { lifted, promotions: said, brake, .. } = &breaker.spec;
        let service = breaker.spec.of();
        if let Some((lifted, at)) = lifted.as_ref().and_then(|lifted| Some((lifted, moment(&lifted.at)?))) {
            let scope = service.clone().map_or(Scope::Everything, Scope::Service);
            lifts.push(Lift { scope, at, by: lifted.by.clone() });
        }
        if let Some(service) = service {
            promotions.extend(said.iter().filter_map(|promoted| {
                let to = match promoted.to {
                    PromotedTo::Approve => Mode::Approve,
                    PromotedTo::Autonomous => Mode::Autonomous,
                };
                let Promoted { action, by, at, .. } = promoted;
                Some(Promotion { service: service.clone(), action: action.clone(), to, at: moment(at)?, by: by.clone() })
            }));
        } else if let Some(brake) = brake.as_ref().filter(|_| breaker.name_any() == CLUSTER_BREAKER) {
            settings.failures_to_brake = brake.failures;
            settings.brake_window_ms = i64::from(brake.window_seconds) * 1000;
            settings.brake_ms = i64::from(brake.stand_seconds) * 1000;
        }
    }
    (lifts, promotions, settings)
}

/// How a service's breaker stands at `now`, in the words of its status; who entered stays.
#[must_use]
pub fn breaker_status(service: &Service, settings: &Settings, history: &History, now: UnixMillis, status: CircuitBreakerStatus) -> CircuitBreakerStatus {
    let (state, until, failures, message) = match circuit(settings, history, now, service) {
        Circuit::Closed { failures } => ("Closed", None, failures, String::new()),
        Circuit::Open { until, plan, .. } => ("Open", Some(until), settings.failures_to_open, format!("{plan} failed, and others before it")),
        Circuit::HalfOpen { probe: None, .. } => ("HalfOpen", None, settings.failures_to_open, "one operation may try".to_owned()),
        Circuit::HalfOpen { probe: Some(plan), .. } => ("HalfOpen", None, settings.failures_to_open, format!("{plan} tries")),
    };
    let recent = |operation: &&Operation| operation.service == *service && now.since(operation.at) < HOUR_MS;
    CircuitBreakerStatus {
        service: Some(service.to_string()),
        state: Some(state.to_owned()),
        until: until.map(UnixMillis::rfc3339),
        failures: Some(failures),
        hour: Some(format!("{}/{}", history.operations.iter().filter(recent).count(), settings.operations_per_hour)),
        plan: status.entered.last().cloned(),
        message: Some(message).filter(|message| !message.is_empty()),
        entered: status.entered,
    }
}

/// RFC 3339.
#[must_use]
pub fn moment(text: &str) -> Option<UnixMillis> {
    Some(UnixMillis(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
}

/// Digest of what a ConfigMap says: its `data` and `binaryData`.
pub fn configuration_content(config_map: &Value) -> Result<Digest, canonical::Error> {
    let part = |key: &str| config_map.get(key).cloned().filter(|value| !value.is_null()).unwrap_or(json!({}));
    Digest::of(&json!({"data": part("data"), "binaryData": part("binaryData")}))
}

/// Whether nobody can change what a ConfigMap says.
#[must_use]
pub fn is_immutable(config_map: &Value) -> bool {
    config_map.get("immutable").and_then(Value::as_bool) == Some(true)
}
