//! One trace under both rules.

use assent_core::demand::{Bounds, Decision, Objectives, Reason, Settings, State};
use assent_core::ids::{Millionths, UnixMillis};

use super::autoscaler::{Autoscaler, PERIOD_S};
use super::judge::{Steps, figures_are_fresh};
use super::random::Random;
use super::report::{Report, Row, Sums};
use super::rules::Rules;
use super::service::{Nature, Service};
use super::trace::{SHAPES, TICK_S, TICKS, Trace};

/// Assent decides so often.
const CYCLE_S: i64 = 30;

/// What did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation(pub(crate) String);

/// Plays the trace of this seed.
pub(crate) fn play(seed: u64, rules: Rules, mut story: Option<&mut Vec<String>>) -> Result<Report, Violation> {
    let mut random = Random::new(seed);
    let nature = Nature::new(&mut random);
    let shape = SHAPES[usize::try_from(seed % SHAPES.len() as u64).unwrap()];
    // Mostly what the limits can carry, sometimes more.
    let share = if random.chance(100) { random.between(100, 140) } else { random.between(40, 95) };
    let high = nature.rate_at(70) * i64::from(nature.max) * share / 100;
    let trace = Trace::new(shape, high, &mut random);
    let begin = (trace.load[0] / nature.rate_at(60).max(1) + 1).clamp(i64::from(nature.min), i64::from(nature.max));
    let begin = u32::try_from(begin).unwrap();
    if let Some(story) = &mut story {
        story.push(format!("{shape:?} {nature:?}, {begin} replicas at first"));
    }
    let settings = Settings {
        replicas: Bounds { min: nature.min, max: nature.max },
        objectives: Objectives { latency_p95_us: Some(nature.objective_us.unsigned_abs()), errors: Some(Millionths::new(10_000)) },
        ..Settings::default()
    };
    let mut ours = Service::new(nature, begin);
    let mut stock = Service::new(nature, begin);
    // Both measure with the same noise, and neither's steps change the other's.
    let (mut ours_random, mut stock_random) = (Random::new(seed ^ 0x5EED), Random::new(seed ^ 0x5EED));
    let (mut state, mut ours_steps) = (State::default(), Steps::default());
    let (mut autoscaler, mut stock_steps) = (Autoscaler::default(), Steps::default());
    let mut pending: Option<(i64, Decision)> = None;
    let mut held_for_want_of_figures = 0;
    for tick in 0..TICKS {
        let now_s = tick * TICK_S;
        let load = trace.load[usize::try_from(tick).unwrap()];
        ours.tick(load, now_s, &mut ours_random);
        stock.tick(load, now_s, &mut stock_random);
        if now_s % PERIOD_S == 0
            && let Some(to) = autoscaler.look(&stock, now_s)
        {
            stock_steps.0.push((now_s, stock.replicas, to));
            stock.scale(to, now_s);
        }
        // From the decision to the write, seats vote.
        if let Some((_, decision)) = pending.take_if(|(at, _)| *at <= now_s) {
            let Decision::Scale { from, to, .. } = decision else { continue };
            if from != ours.replicas {
                return Err(Violation(format!("{from} → {to} at {now_s} s does not begin at {}", ours.replicas)));
            }
            ours_steps.0.push((now_s, from, to));
            ours_steps.judge(&nature)?;
            state.note(&decision, UnixMillis(now_s * 1000));
            ours.scale(to, now_s);
        }
        if now_s % CYCLE_S == 0 && pending.is_none() {
            let decision = rules.decide(&settings, &state, ours.observe(), UnixMillis(now_s * 1000));
            if let Some(story) = &mut story {
                story.push(format!("{now_s:>5} s, {load} requests/s: {}", decision.rationale()));
            }
            match &decision {
                Decision::Hold { reason: Reason::Missing { .. } | Reason::Stale { .. }, .. } => held_for_want_of_figures += 1,
                Decision::Hold { .. } => {}
                Decision::Scale { .. } if !figures_are_fresh(&ours, now_s) => {
                    return Err(Violation(format!("at {now_s} s it acted without fresh figures: {}", decision.rationale())));
                }
                Decision::Scale { .. } => pending = Some((now_s + ours_random_delay(seed, now_s), decision)),
                other => return Err(Violation(format!("at {now_s} s nobody asked for {other:?}"))),
            }
        }
    }
    let sums = |service: &Service, steps: &Steps| Sums {
        replica_s: service.replica_s,
        violated_s: service.violated_s,
        ups: steps.ups(),
        downs: steps.downs(),
        reversals: steps.reversals().len() as u64,
        early_reversals: steps.early_reversals(),
    };
    let row = Row { traces: 1, ours: sums(&ours, &ours_steps), stock: sums(&stock, &stock_steps), held_for_want_of_figures };
    Ok(Report::of(trace.shape, row))
}

/// From 5 to 20 seconds, whole ticks, without a draw that would change the noise.
fn ours_random_delay(seed: u64, now_s: i64) -> i64 {
    Random::new(seed.wrapping_mul(31).wrapping_add(now_s.unsigned_abs())).between(1, 4) * TICK_S
}
