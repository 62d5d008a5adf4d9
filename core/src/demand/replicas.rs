//! How many replicas: up when the utilisation or one signal that replicas relieve is above its level, down when all of them
//! have been low for the longer window, and in between nothing.

use super::arithmetic::{count, scale, scale_up};
use super::figures::Figures;
use super::pace::Direction;
use super::settings::{Bounds, Settings};
use super::{Ask, Decision, Reason, rationale};

const ONE: u64 = 1_000_000;

/// What the load asks for, before bounds and pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// So many, which are more than are ready.
    More(u32),
    /// So many, which are fewer than there are.
    Fewer(u32),
    /// None, and why.
    None(NoWish),
}

/// Why no other number is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoWish {
    InBand,
    SlowButIdle,
    MemoryAlone,
    ObjectiveAtRisk,
    Incomplete,
    RollingOut,
    Starting,
}

/// Decides where no active autoscaler sets the replicas.
pub(super) fn decide(ask: &Ask<'_>) -> Decision {
    let bounds = limits(ask);
    let replicas = ask.figures.replicas;
    if replicas < bounds.min {
        return intended(ask, bounds.min);
    }
    let wish = wish(ask);
    if replicas > bounds.max {
        // Too many by whoever's hand: taken back only where the load does not need them.
        return match wish {
            Wish::Fewer(wanted) => intended(ask, bounds.max.max(wanted)),
            Wish::None(NoWish::InBand) if fits(ask, bounds.max) => intended(ask, bounds.max),
            _ => ask.hold(Reason::AboveMaximum),
        };
    }
    match wish {
        Wish::More(wanted) => more(ask, &bounds, wanted),
        Wish::Fewer(_) if replicas == bounds.min => ask.hold(Reason::AtMinimum),
        Wish::Fewer(wanted) => fewer(ask, &bounds, wanted),
        Wish::None(why) => ask.hold(why.reason()),
    }
}

/// What the load asks for.
pub(super) fn wish(ask: &Ask<'_>) -> Wish {
    let Ask { settings, figures, observation, .. } = ask;
    if let Some(wanted) = wanted_up(settings, figures) {
        return wanted;
    }
    let down = u64::from(settings.scale_down_below.get());
    if figures.weighted.peak >= down {
        return Wish::None(NoWish::InBand);
    }
    if !figures.complete {
        return Wish::None(NoWish::Incomplete);
    }
    if observation.rolling_out {
        return Wish::None(NoWish::RollingOut);
    }
    if figures.ready < figures.replicas {
        return Wish::None(NoWish::Starting);
    }
    if at_risk(settings, figures) {
        return Wish::None(NoWish::ObjectiveAtRisk);
    }
    let after = settings.after_down();
    let by_cpu = needed(figures.cpu_milli.peak, figures.cpu_request_milli, after);
    let shared = settings.weights.memory_is_shared && figures.memory.is_some();
    let by_memory = if shared { needed(figures.memory_bytes.peak, figures.memory_request_bytes, after) } else { 1 };
    let left = count(scale_up(u64::from(figures.replicas), u64::from(settings.pace.least_left.get()), ONE));
    let left = left.max(figures.replicas.saturating_sub(settings.pace.replicas_down));
    let wanted = by_cpu.max(by_memory).max(left).max(1);
    if wanted < figures.replicas { Wish::Fewer(wanted) } else { Wish::None(NoWish::InBand) }
}

/// More, if something is above its level: the weighted utilisation, or one signal that must not be averaged away.
fn wanted_up(settings: &Settings, figures: &Figures) -> Option<Wish> {
    let up = u64::from(settings.scale_up_above.get());
    let high = |share: u64| share > up;
    let cpu = high(figures.cpu.now);
    let latency = figures.latency.is_some_and(|latency| high(latency.now));
    let memory = figures.memory.is_some_and(|memory| high(memory.now));
    let shared_memory = memory && settings.weights.memory_is_shared;
    if !cpu && !latency && !shared_memory && !high(figures.weighted.now) {
        return memory.then_some(Wish::None(NoWish::MemoryAlone));
    }
    // Replicas give CPU. Where that is idle, they wait for something else, and so would more of them.
    if !cpu && !shared_memory && figures.cpu.now < u64::from(settings.scale_down_below.get()) {
        return Some(Wish::None(if latency { NoWish::SlowButIdle } else { NoWish::MemoryAlone }));
    }
    let target = u64::from(settings.target.get());
    let ready = figures.ready;
    let by_cpu = needed(figures.cpu_milli.now.saturating_add(figures.rise_milli), figures.cpu_request_milli, target);
    let by_memory = if shared_memory { needed(figures.memory_bytes.now, figures.memory_request_bytes, target) } else { 0 };
    let by_latency = if latency { ready.saturating_add(ready.div_ceil(4)) } else { 0 };
    let by_saturation = if figures.saturated { ready.saturating_mul(2) } else { 0 };
    Some(Wish::More([by_cpu, by_memory, by_latency, by_saturation].into_iter().fold(ready.saturating_add(1), u32::max)))
}

/// Replicas that bring this use to this utilisation.
fn needed(used: u64, request: u64, utilisation: u64) -> u32 {
    count(scale_up(used, ONE, scale(request, utilisation, 1)))
}

/// Whether users are, or nearly are, worse off than promised.
fn at_risk(settings: &Settings, figures: &Figures) -> bool {
    let slow = figures.latency.is_some_and(|latency| latency.peak > u64::from(settings.scale_up_above.get()));
    let failing = matches!((figures.errors, settings.objectives.errors), (Some(errors), Some(most)) if errors.peak > u64::from(most.get()));
    slow || failing
}

/// Whether so many replicas would carry the highest load lately without calling for more.
fn fits(ask: &Ask<'_>, replicas: u32) -> bool {
    let Ask { settings, figures, .. } = ask;
    figures.complete
        && !at_risk(settings, figures)
        && needed(figures.cpu_milli.peak, figures.cpu_request_milli, u64::from(settings.scale_up_above.get())) <= replicas
}

/// The most that one step may come to.
pub(super) fn largest_step(settings: &Settings, from: u32) -> u32 {
    let share = count(scale(u64::from(from), u64::from(settings.pace.largest_up), ONE));
    share.max(from.saturating_add(settings.pace.replicas_up))
}

/// People's bounds; while an autoscaler cannot act, it still has its own, and returns to them as soon as it can.
fn limits(ask: &Ask<'_>) -> Bounds<u32> {
    let own = ask.settings.replicas;
    let [autoscaler] = ask.observation.autoscalers.as_slice() else { return own };
    let min = own.hold(autoscaler.min);
    Bounds { min, max: own.hold(autoscaler.max).max(min) }
}

fn more(ask: &Ask<'_>, bounds: &Bounds<u32>, wanted: u32) -> Decision {
    let Ask { settings, figures, .. } = ask;
    let from = figures.replicas;
    if wanted <= from {
        return ask.hold(Reason::Starting);
    }
    let to = wanted.min(largest_step(settings, from)).min(bounds.max);
    if to <= from {
        return ask.hold(Reason::AtMaximum { wanted });
    }
    match ask.paced(Direction::Up) {
        Ok(()) => Decision::Scale { from, to, rationale: rationale::more(ask, wanted, to, bounds) },
        Err(reason) => ask.hold(reason),
    }
}

fn fewer(ask: &Ask<'_>, bounds: &Bounds<u32>, wanted: u32) -> Decision {
    let from = ask.figures.replicas;
    let to = wanted.max(bounds.min);
    if to >= from {
        return ask.hold(Reason::AtMinimum);
    }
    match ask.paced(Direction::Down) {
        Ok(()) => Decision::Scale { from, to, rationale: rationale::fewer(ask, wanted, to, bounds) },
        Err(reason) => ask.hold(reason),
    }
}

/// To a bound that people set. They meant it, so it waits for a rest, but not for the hysteresis window.
fn intended(ask: &Ask<'_>, to: u32) -> Decision {
    match ask.state.rested(&ask.settings.pace, 0, ask.now) {
        Ok(()) => Decision::Scale { from: ask.figures.replicas, to, rationale: rationale::intended(ask, to) },
        Err(reason) => ask.hold(reason),
    }
}

// === impl NoWish ===

impl NoWish {
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::InBand => Reason::InBand,
            Self::SlowButIdle => Reason::SlowButIdle,
            Self::MemoryAlone => Reason::MemoryAlone,
            Self::ObjectiveAtRisk => Reason::ObjectiveAtRisk,
            Self::Incomplete => Reason::Missing { what: "figures all through the longer window".into() },
            Self::RollingOut => Reason::RollingOut,
            Self::Starting => Reason::Starting,
        }
    }
}
