//! Whether the first pod of a change does well enough for the rest to follow.

use crate::ballot::Principal;
use crate::ids::UnixMillis;
use crate::verification::Reading;

/// A reading that is older says nothing of how it is now.
const FRESH_MS: i64 = 5_000;
/// How long the first pod may take to be ready.
pub const READY_MS: u32 = 120_000;
/// From when it is ready it may take so many times its watch to be well for as long as the watch.
const PATIENCE: u32 = 4;

/// What the readings of the first pod mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Go on looking.
    Watching,
    /// The rest may follow.
    Well,
    /// It is to be put back.
    Ill(String),
}

/// How long it is looked at once it was ready.
pub(super) fn patience_ms(watch_ms: u32) -> u32 {
    watch_ms.saturating_mul(PATIENCE)
}

/// Judges the readings, oldest first, of pods of the new template that were written at `written_at`. By the API server: whether one is ready.
/// By kubelets: `false` where a container ended. By its sidecar: whether it answers as its service usually does.
///
/// Nobody's word but the API server's is needed to go on, since many a pod is asked nothing for a while, and the whole change is verified by
/// two afterwards. But what its sidecar once said against it, only its sidecar takes back.
#[must_use]
pub fn judge(readings: &[Reading], watch_ms: u32, written_at: UnixMillis, now: UnixMillis) -> Trial {
    let (mut ready_at, mut well_since, mut accused) = (None, None, None);
    let mut last = None;
    for reading in readings {
        match (reading.principal, reading.healthy) {
            (Principal::Kubelet, Some(false)) => return Trial::Ill(reading.summary.clone()),
            (Principal::ApiServer, Some(true)) => {
                ready_at = ready_at.or(Some(reading.at));
                well_since = well_since.or(Some(reading.at));
                last = Some(reading.at);
            }
            (Principal::ApiServer, _) => well_since = None,
            (Principal::Sidecar, Some(well)) => accused = (!well).then_some(&reading.summary),
            _ => {}
        }
        if accused.is_some() {
            well_since = None;
        }
    }
    if let (Some(since), Some(last)) = (well_since, last)
        && last.since(since) >= i64::from(watch_ms)
        && now.since(last) <= FRESH_MS
    {
        return Trial::Well;
    }
    let (until, what) = match ready_at {
        Some(ready_at) => (ready_at.plus(i64::from(patience_ms(watch_ms))), format!("was not well for {} s", watch_ms / 1000)),
        None => (written_at.plus(i64::from(READY_MS)), format!("was not ready within {} s", READY_MS / 1000)),
    };
    // That nobody could look is no sign of illness.
    let unready = readings.iter().rev().find(|reading| reading.principal == Principal::ApiServer && reading.healthy == Some(false));
    match accused.or(unready.map(|reading| &reading.summary)) {
        Some(why) if now > until => Trial::Ill(format!("the first pod {what}: {why}")),
        _ => Trial::Watching,
    }
}
