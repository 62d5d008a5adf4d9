//! Figures that a diff changed, with their units, and what they bound.

use std::collections::BTreeSet;

use super::Effect;
use super::lines::Lines;
use crate::diagnosis::changes::words::{begins, words};

/// A figure that is smaller by this share has shrunk.
const SHRUNK: f64 = 0.67;
/// A figure that is larger by this factor has grown.
const GROWN: f64 = 1.5;

/// Words of what is bounded, and what it means when the bound shrinks and when it grows. The first line that fits decides.
const MEANINGS: &[(&[&str], Option<Effect>, Option<Effect>)] = &[
    (&["idle", "health check", "keepalive", "keep alive", "probe"], None, None),
    (&["timeout", "deadline", "budget", "wait max"], Some(Effect::TimeoutShrunk), Some(Effect::TimeoutGrown)),
    (&["retr", "attempt", "redeliver"], None, Some(Effect::RetryGrown)),
    (&["backoff", "jitter", "delay"], Some(Effect::RetryGrown), None),
    (&["ttl", "expir", "max age", "cache", "stale"], Some(Effect::CacheWeakened), Some(Effect::Unbounded)),
    (&["conn", "pool"], Some(Effect::PoolShrunk), None),
    (&["mem", "heap", "xmx"], Some(Effect::MemoryShrunk), None),
    (&["cpu", "gomaxprocs"], Some(Effect::ProcessorShrunk), None),
    (&["interval", "period", "every", "ticker", "poll", "schedule", "sleep"], Some(Effect::FrequencyGrown), None),
    (&["batch", "page", "fan", "sampl", "prefetch"], Some(Effect::CapacityShrunk), Some(Effect::FrequencyGrown)),
    (
        &[
            "replica",
            "worker",
            "concurren",
            "thread",
            "parallel",
            "queue",
            "buffer",
            "partition",
            "quota",
            "rate",
            "limit",
            "max",
            "size",
            "capacity",
            "min",
            "shard",
            "retention",
        ],
        Some(Effect::CapacityShrunk),
        Some(Effect::FrequencyGrown),
    ),
];

/// What the changed figures do.
pub(super) fn effects(lines: &Lines) -> BTreeSet<Effect> {
    let mut effects = BTreeSet::new();
    for (old, new) in lines.pairs() {
        let (was, is) = (figures(old), figures(new));
        let name = words(new);
        for (before, after) in was.iter().zip(&is) {
            let (shrunk, grown) = (*after < before * SHRUNK, *after > before * GROWN);
            if !(shrunk || grown) {
                continue;
            }
            let meaning = MEANINGS.iter().find(|(patterns, _, _)| patterns.iter().any(|pattern| begins(&name, pattern)));
            effects.extend(meaning.and_then(|(_, smaller, larger)| if shrunk { *smaller } else { *larger }));
        }
    }
    effects
}

/// The figures of a line in seconds or bytes where a unit stands behind them.
fn figures(line: &str) -> Vec<f64> {
    let mut found = Vec::new();
    let all = words(line);
    let mut rest = all.iter().peekable();
    while let Some(word) = rest.next() {
        let Ok(mut value) = word.parse::<f64>() else { continue };
        if !word.starts_with(|letter: char| letter.is_ascii_digit()) {
            continue;
        }
        // `5*time.Second` as well as `5s`.
        if rest.peek().is_some_and(|next| matches!(next.as_str(), "time" | "duration")) {
            rest.next();
        }
        if let Some(factor) = rest.peek().and_then(|next| unit(next)) {
            value *= factor;
        }
        found.push(value);
    }
    found
}

fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "ms" | "millis" | "millisecond" | "milliseconds" => 0.001,
        "us" | "micros" | "microsecond" | "microseconds" => 0.000_001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "k" | "kb" | "ki" | "kib" => 1_024.0,
        "mb" | "mi" | "mib" => 1_048_576.0,
        "g" | "gb" | "gi" | "gib" => 1_073_741_824.0,
        _ => return None,
    })
}
