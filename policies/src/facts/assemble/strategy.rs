//! How a workload replaces pods, in numbers of pods, resolved as its controller does.

use super::object::Object;
use super::workload::Kind;
use crate::facts::{FactsError, Strategy};

#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

pub(super) fn strategy(kind: Kind, object: &Object<'_>, replicas: u32) -> Result<Strategy, FactsError> {
    let field = match kind {
        Kind::Deployment => "/spec/strategy",
        Kind::StatefulSet | Kind::DaemonSet => "/spec/updateStrategy",
    };
    let name = object.word(&format!("{field}/type"))?.unwrap_or("RollingUpdate");
    let number = |part: &str, default: &str, round: Round| amount(object, &format!("{field}/rollingUpdate/{part}"), default, replicas, round);
    let (max_unavailable, max_surge) = match (name, kind) {
        ("RollingUpdate", Kind::Deployment) => at_least_one(number("maxUnavailable", "25%", Round::Down)?, number("maxSurge", "25%", Round::Up)?),
        ("RollingUpdate", Kind::DaemonSet) => at_least_one(number("maxUnavailable", "1", Round::Up)?, number("maxSurge", "0", Round::Up)?),
        ("RollingUpdate", Kind::StatefulSet) => (number("maxUnavailable", "1", Round::Down)?.max(1), 0),
        ("Recreate", Kind::Deployment) => (replicas, 0),
        // Whoever deletes the pods decides how many are missing; the rollout takes none.
        ("OnDelete", Kind::StatefulSet | Kind::DaemonSet) => (0, 0),
        _ => return Err(object.unreadable(&format!("{field}/type"), format!("`{name:.40}` is no strategy of a {}", object.kind))),
    };
    Ok(Strategy {
        kind: name.to_owned(),
        max_unavailable: max_unavailable.min(replicas),
        max_surge,
        partition: object.count(&format!("{field}/rollingUpdate/partition"))?,
    })
}

/// A rollout that may neither take a pod nor add one would stand still; the controllers take one then.
fn at_least_one(max_unavailable: u32, max_surge: u32) -> (u32, u32) {
    if (max_unavailable, max_surge) == (0, 0) { (1, 0) } else { (max_unavailable, max_surge) }
}

/// A number of pods, or a share of `replicas`.
fn amount(object: &Object<'_>, field: &str, default: &str, replicas: u32, round: Round) -> Result<u32, FactsError> {
    let text = match object.at(field) {
        Some(value) if value.is_number() => return object.required(field),
        Some(_) => object.text(field)?.unwrap_or_default(),
        None => default,
    };
    let wrong = || object.unreadable(field, format!("`{text:.40}` is neither a number of pods nor a percentage"));
    let Some(percent) = text.strip_suffix('%') else { return text.parse().map_err(|_| wrong()) };
    let hundredths = u64::from(percent.parse::<u32>().map_err(|_| wrong())?) * u64::from(replicas);
    let pods = match round {
        Round::Down => hundredths / 100,
        Round::Up => hundredths.div_ceil(100),
    };
    u32::try_from(pods).map_err(|_| wrong())
}
