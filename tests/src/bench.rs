//! What benchmarks stand on: pinned processes, a generator that keeps to its schedule, and rows of figures.

pub mod governance;
pub mod ground;
pub mod guardrails;
pub mod live;
pub mod load;
pub mod native;
pub mod peers;
pub mod policies;
pub mod policy;
pub mod process;
pub mod rows;
pub mod scenarios;
pub mod sidecar;

use std::time::Duration;

use anyhow::bail;
use tokio::task::block_in_place;

use load::{Load, Question, Seen};
use rows::Figures;

/// Requests a second.
pub const RATE: f64 = 1000.0;
/// Connections that they come over.
pub const CONNECTIONS: u32 = 16;
/// How often each figure is taken.
pub const RUNS: usize = 5;
/// How long one run takes.
pub const TIME: Duration = Duration::from_secs(4);

/// Nothing is measured before the answer is known to be right.
///
/// # Errors
/// If it is not what the question calls good.
pub fn must_say(question: &Question) -> anyhow::Result<()> {
    let (status, body) = block_in_place(|| load::once(question))?;
    if body.contains(question.good) { Ok(()) } else { bail!("{} answered {status} {body:.600}, without {}", question.path, question.good) }
}

/// The same load several times, after a moment to warm up.
///
/// # Errors
/// If more than one answer in a thousand is not good.
pub fn several(question: &Question, load: Load, runs: usize) -> anyhow::Result<Vec<Seen>> {
    block_in_place(|| {
        let _warm = load::ask(question, Load { time: Duration::from_millis(500), ..load })?;
        (0..runs).map(|_| good(load::ask(question, load)?)).collect()
    })
}

/// Good answers a second over eight connections that ask without a pause.
///
/// # Errors
/// As [`several`].
pub fn most(question: &Question) -> anyhow::Result<Figures> {
    let seen = several(question, Load { rate: None, connections: 8, time: Duration::from_secs(2) }, 3)?;
    Ok(seen.iter().map(Seen::rate).collect())
}

/// Fails when a run was no measurement.
///
/// # Errors
/// If more than one answer in a thousand was not good.
pub fn good(seen: Seen) -> anyhow::Result<Seen> {
    if seen.latencies.is_empty() || seen.errors * 1000 > seen.latencies.len() {
        bail!("{} of {} answers were not good: {}", seen.errors, seen.latencies.len() + seen.errors, seen.error.unwrap_or_default());
    }
    Ok(seen)
}
