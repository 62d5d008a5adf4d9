//! The rules in force: `core`'s own, and broken ones around it, to see that the simulation would notice.

use assent_core::demand::{Decision, Observation, Settings, State, decide};
use assent_core::ids::UnixMillis;

/// What the engine takes for real instead of what people set, what was done and what was seen.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    sees: Option<fn(&mut Settings, &mut State, &mut Observation, UnixMillis)>,
}

// === impl Rules ===

impl Rules {
    pub(crate) const CORE: Self = Self { sees: None };

    pub(crate) fn decide(&self, settings: &Settings, state: &State, observation: Observation, now: UnixMillis) -> Decision {
        let (mut settings, mut state, mut observation) = (settings.clone(), state.clone(), observation);
        if let Some(sees) = self.sees {
            sees(&mut settings, &mut state, &mut observation, now);
        }
        decide(&settings, &state, &observation, now)
    }
}

/// One rule broken in each, by what is then the case, and what must be said of it.
pub(crate) fn broken() -> Vec<(&'static str, &'static str, Rules)> {
    let seeing = |sees| Rules { sees: Some(sees) };
    vec![
        ("it turns round as soon as it has rested", "turned round twice", seeing(|settings, _, _, _| settings.pace.hysteresis_ms = settings.pace.cooldown_ms)),
        ("only half the window", "turned round twice", seeing(|settings, _, _, _| settings.pace.hysteresis_ms /= 2)),
        ("it forgets what it did", "no rest", seeing(|_, state, _, _| state.changes.clear())),
        (
            "it knows no direction but the last",
            "turned round twice",
            seeing(|_, state, _, _| {
                let older = state.changes.len().saturating_sub(1);
                state.changes.iter_mut().take(older).for_each(|change| change.from = change.to);
            }),
        ),
        ("it does not rest", "no rest", seeing(|settings, _, _, _| settings.pace.cooldown_ms = 0)),
        ("any number of operations an hour", "within an hour", seeing(|settings, _, _, _| settings.pace.operations_per_hour = 1_000)),
        ("one more than allowed", "more than 10 within an hour", seeing(|settings, _, _, _| settings.pace.operations_per_hour += 1)),
        ("bounds are what is needed", "outside", seeing(|settings, _, _, _| settings.replicas.max += 50)),
        ("none is a bound too", "outside", seeing(|settings, _, _, _| settings.replicas.min = 1)),
        (
            "old figures are as good as new ones",
            "without fresh figures",
            seeing(|_, _, observation, now| {
                let late = observation.samples.last().map_or(0, |sample| now.since(sample.at));
                observation.samples.iter_mut().for_each(|sample| sample.at = sample.at.plus(late));
            }),
        ),
        (
            "what is missing is zero",
            "without fresh figures",
            seeing(|_, _, observation, _| {
                for sample in &mut observation.samples {
                    sample.cpu_milli = sample.cpu_milli.or(Some(0));
                    sample.memory_bytes = sample.memory_bytes.or(Some(0));
                }
            }),
        ),
    ]
}
