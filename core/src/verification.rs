//! Whether an action helped: two independent signals say "well" without a break for the soak time, or the time is up; whether
//! something beside it broke; and what it did to the service, compared with how it was before.

mod checks;
mod compare;
mod near;

use serde::{Deserialize, Serialize};

use crate::ballot::Principal;
use crate::ids::UnixMillis;

pub use checks::{Measured, Missed, beside_checks, missed};
pub use compare::{Effect, Shift, Window, effect, is_worse, shift};
pub use near::{Look, Neighbour, Side, unproven, with_neighbours};

/// One look at the service through one signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// When.
    pub at: UnixMillis,
    /// Whose figures.
    pub principal: Principal,
    /// The figures, in a line; `None` means that the signal had no data.
    pub healthy: Option<bool>,
    /// The figures in a line.
    pub summary: String,
}

/// What the readings so far mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Progress {
    /// Go on looking.
    Watching,
    /// Well for the soak time, by two signals of which one is no sidecar.
    Verified,
    /// The deadline passed without that.
    Failed(String),
    /// Something beside it broke since.
    Harmed(String),
}

/// Judges the readings of one plan, in any order; of those of one moment the worst counts.
#[must_use]
pub fn judge(readings: &[Reading], soak_ms: u32, deadline: UnixMillis, now: UnixMillis) -> Progress {
    let mut readings: Vec<&Reading> = readings.iter().collect();
    let worst_last = |healthy| match healthy {
        Some(true) => 0,
        None => 1,
        Some(false) => 2,
    };
    readings.sort_by_key(|reading| (reading.at, worst_last(reading.healthy), reading.principal, reading.summary.as_str()));
    let soaked = |principal: Principal| {
        let mut well_since = None;
        let mut last = None;
        for reading in readings.iter().filter(|reading| reading.principal == principal) {
            well_since = if reading.healthy == Some(true) { well_since.or(Some(reading.at)) } else { None };
            last = Some(reading.at);
        }
        matches!((well_since, last), (Some(since), Some(last)) if last.since(since) >= i64::from(soak_ms))
    };
    let well: Vec<Principal> = [Principal::Sidecar, Principal::Kubelet, Principal::ApiServer].into_iter().filter(|p| soaked(*p)).collect();
    // A signal that has data and is not well contradicts the others, whichever they are.
    let ill = readings.iter().rev().take(6).find(|reading| reading.healthy == Some(false));
    if well.len() >= 2 && ill.is_none() {
        return Progress::Verified;
    }
    if now > deadline {
        let why = readings.iter().rev().find(|reading| reading.healthy != Some(true)).map_or("no signal had data".to_owned(), |r| r.summary.clone());
        return Progress::Failed(format!("not well for {} s before the deadline: {why}", soak_ms / 1000));
    }
    Progress::Watching
}

/// What the readings mean beside a Blueprint's checks. `stabilised` is whether the service has had the time that it needs after a
/// change; before that a check that fails is no failure. `critical_suffices` is whether a critical one that fails undoes it at once, whatever
/// its own flag says.
#[must_use]
pub fn with_checks(progress: Progress, missed: &[Missed], stabilised: bool, critical_suffices: bool, deadline: UnixMillis, now: UnixMillis) -> Progress {
    let told = |missed: &Missed| Progress::Failed(format!("check {}", missed.text));
    if matches!(progress, Progress::Failed(_) | Progress::Harmed(_)) {
        return progress;
    }
    // One that undoes it does so at once; one that was not measured may be by the deadline.
    let undoes = |missed: &&Missed| missed.measured && (missed.undoes || (missed.critical && critical_suffices));
    if let Some(missed) = missed.iter().filter(|_| stabilised).find(undoes) {
        return told(missed);
    }
    match (progress, missed.iter().find(|missed| missed.critical)) {
        (Progress::Verified, Some(missed)) if now > deadline => told(missed),
        (Progress::Verified, Some(_)) => Progress::Watching,
        (progress, _) => progress,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    fn readings(principal: Principal, healthy: &[Option<bool>]) -> Vec<Reading> {
        let at = |i: usize| UnixMillis(i64::try_from(i).unwrap() * 1000);
        healthy.iter().enumerate().map(|(i, h)| Reading { at: at(i), principal, healthy: *h, summary: format!("{h:?}") }).collect()
    }

    fn check(sidecar: &[Option<bool>], api: &[Option<bool>], now: i64) -> Progress {
        let mut all = readings(Principal::Sidecar, sidecar);
        all.extend(readings(Principal::ApiServer, api));
        all.sort_by_key(|reading| reading.at);
        judge(&all, 3000, UnixMillis(20_000), UnixMillis(now))
    }

    #[test]
    fn two_signals_well_for_the_soak_time_verify() {
        let well = [Some(true); 5];
        assert_eq!(check(&well, &well, 5000), Progress::Verified);
        assert_eq!(check(&well, &[], 5000), Progress::Watching);
        assert_eq!(check(&well, &[None; 5], 5000), Progress::Watching);
        assert_eq!(check(&[Some(true); 2], &[Some(true); 2], 2000), Progress::Watching);
    }

    #[test]
    fn one_bad_reading_starts_the_soak_again() {
        let broken = [Some(true), Some(true), Some(false), Some(true), Some(true)];
        assert_eq!(check(&broken, &[Some(true); 5], 5000), Progress::Watching);
    }

    #[test]
    fn a_check_holds_verification_up_and_after_a_while_undoes() {
        let missed = |critical, undoes, measured| [Missed { name: "c".into(), critical, undoes, measured, text: "c is 2, wanted < 1".into() }];
        let judge = |missed: &[Missed], stabilised, now| with_checks(Progress::Verified, missed, stabilised, false, UnixMillis(100), UnixMillis(now));
        assert_eq!(judge(&[], true, 0), Progress::Verified);
        assert_eq!(judge(&missed(false, false, true), true, 0), Progress::Verified);
        assert_eq!(judge(&missed(true, true, true), false, 0), Progress::Watching);
        assert!(matches!(judge(&missed(true, true, true), true, 0), Progress::Failed(why) if why.contains("c is 2")));
        assert_eq!(judge(&missed(true, true, false), true, 0), Progress::Watching);
        assert!(matches!(judge(&missed(true, true, false), true, 101), Progress::Failed(_)));
        let failed = Progress::Failed("x".into());
        assert_eq!(with_checks(failed.clone(), &missed(true, true, true), true, false, UnixMillis(100), UnixMillis(0)), failed);
        // Where one critical check suffices, its own flag is not asked; what was not measured may still be.
        let strict = |missed: &[Missed], stabilised| with_checks(Progress::Verified, missed, stabilised, true, UnixMillis(100), UnixMillis(0));
        assert!(matches!(strict(&missed(true, false, true), true), Progress::Failed(_)));
        assert_eq!(strict(&missed(true, false, true), false), Progress::Watching, "it has not had its time");
        assert_eq!(strict(&missed(true, false, false), true), Progress::Watching);
        assert_eq!(strict(&missed(false, false, true), true), Progress::Verified);
    }

    #[test]
    fn the_deadline_ends_it_with_the_last_bad_figure() {
        let Progress::Failed(why) = check(&[Some(false); 5], &[Some(true); 5], 20_001) else { panic!() };
        assert!(why.contains("Some(false)"), "{why}");
    }
}
