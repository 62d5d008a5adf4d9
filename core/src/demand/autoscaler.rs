//! Beside a HorizontalPodAutoscaler: while it acts, replicas are its own, and only its bounds are ours to move, between those
//! that people set. Two writers of one number would undo each other for ever.

use super::pace::Direction;
use super::replicas::{Wish, largest_step, wish};
use super::settings::Bounds;
use super::{Ask, Decision, Reason, rationale};

/// What is done where an autoscaler acts; `None` where none does.
pub(super) fn decide(ask: &Ask<'_>) -> Option<Decision> {
    let autoscaler = match ask.observation.autoscalers.as_slice() {
        [] => return None,
        [one] => one,
        _ => return Some(ask.hold(Reason::Autoscalers)),
    };
    let own = ask.settings.replicas;
    let from = Bounds { min: autoscaler.min, max: autoscaler.max };
    let adjust = |to: Bounds<u32>, why: &str| Decision::AdjustAutoscaler {
        name: autoscaler.name.clone(),
        from,
        to,
        rationale: rationale::adjust(ask, &autoscaler.name, &from, &to, why),
    };
    let min = own.hold(from.min);
    let within = Bounds { min, max: own.hold(from.max).max(min) };
    if within != from {
        return Some(match ask.state.rested(&ask.settings.pace, 0, ask.now) {
            Ok(()) => adjust(within, "its bounds are outside those that people set"),
            Err(reason) => ask.hold(reason),
        });
    }
    if !autoscaler.active {
        return None;
    }
    let left = ask.hold(Reason::LeftToAutoscaler { name: autoscaler.name.clone() });
    let replicas = ask.figures.replicas;
    let (direction, to, why) = match wish(ask) {
        Wish::More(wanted) if replicas >= from.max && from.max < own.max && wanted > from.max => {
            let max = wanted.min(largest_step(ask.settings, from.max)).min(own.max);
            (Direction::Up, Bounds { min: from.min, max }, "it is at its maximum, and the load needs more")
        }
        Wish::More(wanted) if replicas >= own.max => return Some(ask.hold(Reason::AtMaximum { wanted })),
        Wish::Fewer(wanted) if replicas <= from.min && from.min > own.min => {
            (Direction::Down, Bounds { min: wanted.max(own.min), max: from.max }, "it is at its minimum, and the load needs less")
        }
        _ => return Some(left),
    };
    Some(match ask.paced(direction) {
        Ok(()) if to != from => adjust(to, why),
        Ok(()) => left,
        Err(reason) => ask.hold(reason),
    })
}
