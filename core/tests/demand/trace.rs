//! Load over time, whole numbers only, so that a seed is the same trace on every platform.

use super::random::Random;

/// One tick of the simulation.
pub(crate) const TICK_S: i64 = 5;
/// Length of a trace in ticks: ninety minutes.
pub(crate) const TICKS: i64 = 90 * 60 / TICK_S;

/// Shapes of load, each with what is in its name.
pub(crate) const SHAPES: [Shape; 7] = [Shape::Flat, Shape::Sine, Shape::Spikes, Shape::Sawtooth, Shape::FlashCrowd, Shape::Noise, Shape::Steps];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Flat,
    Sine,
    Spikes,
    Sawtooth,
    FlashCrowd,
    Noise,
    Steps,
}

/// A day of a shop as its balancer counted it, half an hour each, in thousandths of its highest: levels with sudden changes.
const DAY: [i64; 48] = [
    212, 198, 171, 160, 148, 141, 139, 144, 158, 163, 187, 231, 304, 377, 452, 528, 611, 634, 702, 688, 731, 745, 760, 812, 1000, 934, 842, 811, 790, 764, 771,
    748, 733, 741, 769, 803, 866, 921, 958, 887, 824, 716, 655, 561, 477, 402, 331, 266,
];

/// Requests per second, tick by tick.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) shape: Shape,
    pub(crate) load: Vec<i64>,
}

// === impl Trace ===

impl Trace {
    /// A trace whose usual highest load is `high` requests per second.
    pub(crate) fn new(shape: Shape, high: i64, random: &mut Random) -> Self {
        let low = high * random.between(8, 35) / 100;
        let shares = match shape {
            Shape::Flat => flat(random),
            Shape::Sine => sine(random),
            Shape::Spikes => spikes(random),
            Shape::Sawtooth => sawtooth(random),
            Shape::FlashCrowd => flash_crowd(random),
            Shape::Noise => noise(random),
            Shape::Steps => steps(random),
        };
        // No real load is smooth.
        let rough = random.between(1, 8);
        let load =
            shares.into_iter().map(|share| (low + (high - low) * share / 1000) * (100 + random.between(-rough, rough)) / 100).map(|load| load.max(0)).collect();
        Self { shape, load }
    }
}

fn ticks_of(random: &mut Random, from_s: i64, to_s: i64) -> i64 {
    (random.between(from_s, to_s) / TICK_S).max(1)
}

fn flat(random: &mut Random) -> Vec<i64> {
    let level = random.between(100, 1000);
    (0..TICKS).map(|_| level).collect()
}

/// Half a wave of `half` ticks, in thousandths (Bhaskara's approximation).
fn arc(at: i64, half: i64) -> i64 {
    let area = at * (half - at);
    1000 * 16 * area / (5 * half * half - 4 * area)
}

fn sine(random: &mut Random) -> Vec<i64> {
    let half = ticks_of(random, 300, 1800);
    let phase = random.between(0, 2 * half - 1);
    let wave = |tick: i64| {
        let at = (tick + phase) % (2 * half);
        if at < half { 500 + arc(at, half) / 2 } else { 500 - arc(at - half, half) / 2 }
    };
    (0..TICKS).map(wave).collect()
}

fn spikes(random: &mut Random) -> Vec<i64> {
    let base = random.between(100, 400);
    let mut load = vec![base; usize::try_from(TICKS).unwrap()];
    for _ in 0..random.between(3, 15) {
        let (from, lasts, height) = (random.between(0, TICKS - 1), ticks_of(random, 5, 90), random.between(600, 1500));
        for slot in load.iter_mut().skip(usize::try_from(from).unwrap()).take(usize::try_from(lasts).unwrap()) {
            *slot = height;
        }
    }
    load
}

fn sawtooth(random: &mut Random) -> Vec<i64> {
    let (length, falls) = (ticks_of(random, 300, 2400), random.chance(500));
    (0..TICKS).map(|tick| 1000 * (tick % length) / length).map(|share| if falls { 1000 - share } else { share }).collect()
}

fn flash_crowd(random: &mut Random) -> Vec<i64> {
    let base = random.between(50, 250);
    let mut load = vec![base; usize::try_from(TICKS).unwrap()];
    for _ in 0..random.between(1, 2) {
        let (from, rises) = (random.between(60, TICKS - 60), ticks_of(random, 10, 90));
        let (stays, fades) = (ticks_of(random, 300, 1500), ticks_of(random, 60, 900));
        for (slot, tick) in load.iter_mut().zip(0..).skip(usize::try_from(from).unwrap()) {
            let since = tick - from;
            let crowd = match since {
                _ if since < rises => 1000 * since / rises,
                _ if since < rises + stays => 1000,
                _ => (1000 - 1000 * (since - rises - stays) / fades).max(0),
            };
            *slot = (*slot).max(base + (1000 - base) * crowd / 1000);
        }
    }
    load
}

fn noise(random: &mut Random) -> Vec<i64> {
    let mut level = random.between(200, 800);
    (0..TICKS)
        .map(|_| {
            level = (level + random.between(-25, 25)).clamp(50, 1000);
            (level + random.between(-300, 300) * level / 1000).max(0)
        })
        .collect()
}

fn steps(random: &mut Random) -> Vec<i64> {
    let (begin, lasts) = (random.below(DAY.len()), ticks_of(random, 120, 900));
    (0..TICKS).map(|tick| DAY[(begin + usize::try_from(tick / lasts).unwrap()) % DAY.len()]).collect()
}
