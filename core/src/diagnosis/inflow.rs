//! Who is no longer asked, although the only one who asks is as busy as ever: its caller has stopped short of it. By requests that
//! came in, which is what services count where nobody traces them.

use std::collections::{BTreeMap, BTreeSet};

use super::flow::requests;
use super::recording::{Recording, Seconds};
use super::robust::{self, LEAST_TAUGHT, quantile};

/// Part of the usual requests under which nobody asks.
const NOBODY: f64 = 0.05;
/// Part of the usual requests from which on a caller is busy.
const BUSY: f64 = 0.5;

/// A caller and those that it no longer asks.
pub type StoppedShort<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// A service's requests, and how many are usual.
struct Inflow {
    usual: f64,
    before: Vec<f64>,
    during: Vec<(Seconds, f64)>,
}

/// Callers that stopped short of services which nobody else asks. Only a past of its own teaches: on other days, other work is done.
#[must_use]
pub fn stopped_short(recording: &Recording) -> StoppedShort<'_> {
    let mut callers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (caller, callee) in recording.edges() {
        callers.entry(callee).or_default().insert(caller);
    }
    let mut stopped = StoppedShort::new();
    for (callee, callers) in callers {
        // Of several callers nobody knows which one stopped.
        let mut callers = callers.into_iter();
        let (Some(caller), None) = (callers.next(), callers.next()) else { continue };
        let (Some(asking), Some(asked)) = (Inflow::of(recording, caller), Inflow::of(recording, callee)) else { continue };
        if asked.ends(&asking, recording.alert.at) {
            stopped.entry(caller).or_default().insert(callee);
        }
    }
    stopped
}

// === impl Inflow ===

impl Inflow {
    fn of(recording: &Recording, service: &str) -> Option<Self> {
        let points = &requests(recording, service)?.points;
        let before = robust::split(&recording.alert, points).before;
        let usual = quantile(&before, 0.5).filter(|usual| before.len() >= LEAST_TAUGHT && *usual > 0.0)?;
        let during = points.iter().copied().filter(|(time, _)| recording.alert.during(*time)).collect();
        Some(Self { usual, before, during })
    }

    /// Whether nobody asks for two samples, the second after the alert, while the caller is busy, and that is news. A sample that is
    /// missing says nothing: who reports that nobody asks is there.
    fn ends(&self, caller: &Self, alert: Seconds) -> bool {
        let busy: BTreeMap<Seconds, f64> = caller.during.iter().copied().collect();
        let alone = |(time, value): &(Seconds, f64)| self.nobody(*value) && busy.get(time).is_some_and(|asked| *asked >= caller.usual * BUSY);
        let twice = self.during.iter().zip(self.during.iter().skip(1)).any(|(one, next)| alone(one) && alone(next) && next.0 >= alert);
        twice && self.silences() <= 1
    }

    fn nobody(&self, value: f64) -> bool {
        value <= self.usual * NOBODY
    }

    /// How often in the past nobody asked for two samples on end. Once may have been an incident that nobody knows of.
    fn silences(&self) -> usize {
        let quiet: Vec<bool> = self.before.iter().map(|value| self.nobody(*value)).collect();
        let begins = quiet.windows(3).filter(|three| matches!(three, [false, true, true])).count();
        begins + usize::from(matches!(quiet.get(..2), Some([true, true])))
    }
}
