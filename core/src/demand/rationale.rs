//! Decisions in words, with the numbers that were used.

use super::figures::{Figures, Signal};
use super::observation::Container;
use super::settings::Bounds;
use super::tuning::{Resources, Way};
use super::{Ask, Reason};
use crate::ids::UnixMillis;

/// Millionths as percent with one decimal.
fn percent(millionths: u64) -> String {
    format!("{}.{} %", millionths / 10_000, millionths % 10_000 / 1_000)
}

fn seconds(millis: i64) -> String {
    format!("{} s", millis / 1000)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn replicas(count: u32) -> String {
    format!("{count} {}", if count == 1 { "replica" } else { "replicas" })
}

/// What was seen, each signal with its peak.
fn seen(ask: &Ask<'_>) -> String {
    let figures: &Figures = ask.figures;
    let windows = &ask.settings.windows;
    let signal = |name: &str, signal: &Signal| format!("{name} {} (peak {})", percent(signal.now), percent(signal.peak));
    let signals = [
        Some(signal("CPU", &figures.cpu)),
        figures.memory.as_ref().map(|memory| signal("memory", memory)),
        figures.latency.as_ref().map(|latency| signal("latency", latency)),
        figures.errors.as_ref().map(|errors| signal("errors", errors)),
        Some(signal("weighted", &figures.weighted)),
    ];
    format!(
        "{} of {} ready; {}; over {} and {}, {} samples, newest {} old",
        figures.ready,
        figures.replicas,
        signals.into_iter().flatten().collect::<Vec<_>>().join(", "),
        seconds(windows.up_ms),
        seconds(windows.down_ms),
        figures.samples,
        seconds(figures.age_ms),
    )
}

pub(super) fn without_figures(reason: &Reason, now: UnixMillis) -> String {
    format!("hold: {}", words(reason, now))
}

pub(super) fn hold(ask: &Ask<'_>, reason: &Reason) -> String {
    format!("hold: {}. {}", words(reason, ask.now), seen(ask))
}

pub(super) fn more(ask: &Ask<'_>, wanted: u32, to: u32, bounds: &Bounds<u32>) -> String {
    let figures = ask.figures;
    let what = if figures.cpu.now > u64::from(ask.settings.scale_up_above.get()) {
        "CPU is"
    } else if figures.latency.is_some_and(|latency| latency.now > u64::from(ask.settings.scale_up_above.get())) {
        "latency is"
    } else {
        "use is"
    };
    let saturated = if figures.saturated { ", and all the CPU that is allowed is used" } else { "" };
    format!(
        "{} → {}: {what} above {}{saturated}; {}m used and {}m more by the present rise, at {}m each and a target of {}: {} needed, {} to {} allowed. {}",
        figures.replicas,
        replicas(to),
        percent(u64::from(ask.settings.scale_up_above.get())),
        figures.cpu_milli.now,
        figures.rise_milli,
        figures.cpu_request_milli,
        percent(u64::from(ask.settings.target.get())),
        wanted,
        bounds.min,
        bounds.max,
        seen(ask),
    )
}

pub(super) fn fewer(ask: &Ask<'_>, wanted: u32, to: u32, bounds: &Bounds<u32>) -> String {
    let figures = ask.figures;
    format!(
        "{} → {}: weighted use stayed below {} for {}; at most {}m used, at {}m each and {} afterwards: {} needed, {} to {} allowed. {}",
        figures.replicas,
        replicas(to),
        percent(u64::from(ask.settings.scale_down_below.get())),
        seconds(ask.settings.windows.down_ms),
        figures.cpu_milli.peak,
        figures.cpu_request_milli,
        percent(ask.settings.after_down()),
        wanted,
        bounds.min,
        bounds.max,
        seen(ask),
    )
}

pub(super) fn intended(ask: &Ask<'_>, to: u32) -> String {
    let Bounds { min, max } = ask.settings.replicas;
    format!("{} → {}: people allow {min} to {max}. {}", ask.figures.replicas, replicas(to), seen(ask))
}

pub(super) fn adjust(ask: &Ask<'_>, name: &str, from: &Bounds<u32>, to: &Bounds<u32>, why: &str) -> String {
    let own = ask.settings.replicas;
    format!("autoscaler `{name}` {} to {} → {} to {}: {why}; people allow {} to {}. {}", from.min, from.max, to.min, to.max, own.min, own.max, seen(ask))
}

pub(super) fn tune(ask: &Ask<'_>, before: &[&Container], after: &[Resources], way: Way, why: &str) -> String {
    let changes = before.iter().zip(after).map(|(before, after)| {
        let peak = before.history.iter().map(|period| period.memory_peak_bytes).max().unwrap_or(0);
        format!(
            "`{}` CPU {}m → {}m, memory {} → {} (peak {}, {} periods of history, {} kills)",
            after.container,
            before.cpu.request,
            after.cpu_request_milli,
            mebibytes(before.memory.request),
            mebibytes(after.memory_request_bytes),
            mebibytes(peak),
            before.history.len(),
            before.out_of_memory,
        )
    });
    let way = match way {
        Way::InPlace => "in place",
        Way::Rollout => "by new pods",
    };
    format!("requests {way}, by {why}: {}. {}", changes.collect::<Vec<_>>().join("; "), seen(ask))
}

fn words(reason: &Reason, now: UnixMillis) -> String {
    let wait = |until: &UnixMillis| seconds(until.since(now).saturating_add(999));
    match reason {
        Reason::Settings { problem } => format!("the settings contradict themselves: {problem}"),
        Reason::Frozen { until, because } => format!("nothing is changed for another {}: {because}", wait(until)),
        Reason::OutsideWindow { next: Some(next) } => format!("changes are made in certain times only, the next in {}", wait(next)),
        Reason::OutsideWindow { next: None } => "changes are made in certain times only, and no other is known".into(),
        Reason::Missing { what } => format!("{what} is missing, and what is not known is no ground for a change"),
        Reason::Stale { age_ms } => format!("figures are {} old, and what is not known is no ground for a change", seconds(*age_ms)),
        Reason::ScaledToZero => "somebody scaled it to zero".into(),
        Reason::NothingReady => "no replica is ready, so no figure says anything".into(),
        Reason::RollingOut => "old and new pods mix".into(),
        Reason::Starting => "what was asked for is still starting".into(),
        Reason::Cooldown { until } => format!("the last change has another {} to show what it did", wait(until)),
        Reason::Rate { until } => format!("the hour's operations are used up for another {}", wait(until)),
        Reason::KeptForUp { until } => format!("what is left of the hour's operations is kept for scaling up for another {}", wait(until)),
        Reason::Hysteresis { until } => format!("it would turn round too soon, for another {}", wait(until)),
        Reason::InBand => "use is where it should be".into(),
        Reason::AtMaximum { wanted } => format!("{wanted} are needed and the limits allow no more; people may"),
        Reason::AtMinimum => "fewer would do, and the limits allow no fewer".into(),
        Reason::AboveMaximum => "there are more than the limits allow, and the load needs them".into(),
        Reason::SlowButIdle => "requests are slow while CPU is idle, so more replicas would wait for the same".into(),
        Reason::ObjectiveAtRisk => "requests are failing or nearly too slow, which is no time for fewer".into(),
        Reason::MemoryAlone => "memory alone is short, and more replicas do not share it".into(),
        Reason::LeftToAutoscaler { name } => format!("autoscaler `{name}` sets the replicas, and its bounds are right"),
        Reason::Autoscalers => "several autoscalers set the same replicas".into(),
    }
}
