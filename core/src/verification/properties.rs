//! What holds for whatever is read: there is an answer, it does not depend on the order, what says nothing is no health, and
//! what changed nothing is seldom called worse, also where one window is like the one before.

use proptest::prelude::*;

use super::*;

const PRINCIPALS: [Principal; 3] = [Principal::Sidecar, Principal::Kubelet, Principal::ApiServer];

fn readings() -> impl Strategy<Value = Vec<Reading>> {
    let at = prop_oneof![8 => 0_i64..40_000, 1 => any::<i64>()];
    let reading = (at, 0_usize..3, prop_oneof![6 => Just(Some(true)), 1 => Just(Some(false)), 1 => Just(None)], "[a-c]")
        .prop_map(|(at, principal, healthy, summary)| Reading { at: UnixMillis(at), principal: PRINCIPALS[principal], healthy, summary });
    prop::collection::vec(reading, 0..60)
}

proptest! {
    #[test]
    fn the_order_of_readings_does_not_matter(
        (readings, shuffled) in readings().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        soak_ms in 0_u32..20_000, deadline: i64, now: i64,
    ) {
        let of = |readings: &[Reading]| judge(readings, soak_ms, UnixMillis(deadline), UnixMillis(now));
        prop_assert_eq!(of(&readings), of(&shuffled));
    }

    #[test]
    fn no_data_is_never_health(mut readings in readings(), soak_ms in 0_u32..20_000, but in 0_usize..3, now: i64) {
        // Whichever one signal still speaks, one is not two.
        for reading in readings.iter_mut().filter(|reading| reading.principal != PRINCIPALS[but]) {
            reading.healthy = None;
        }
        prop_assert_ne!(judge(&readings, soak_ms, UnixMillis(30_000), UnixMillis(now)), Progress::Verified);
    }

    #[test]
    fn a_signal_that_is_not_well_at_last_is_no_health(mut readings in readings(), soak_ms in 0_u32..20_000, of in 0_usize..3) {
        let last = readings.iter().map(|reading| reading.at).max().unwrap_or(UnixMillis(0));
        readings.insert(0, Reading { at: last, principal: PRINCIPALS[of], healthy: Some(false), summary: "x".into() });
        readings.retain(|reading| reading.at < last || reading.healthy == Some(false));
        prop_assert_ne!(judge(&readings, soak_ms, last, last), Progress::Verified);
    }
}

/// A small generator, so that every run sees the same.
struct Random(u64);

impl Random {
    fn below(&mut self, most: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % most
    }
}

/// One unchanged service whose latency swings by itself: each window keeps `memory` percent of how far the last one was off.
fn swinging(seed: u64, memory: i64) -> Vec<Window> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut off = 0_i64;
    let one = |n: i64| {
        off = off * memory / 100 + random.below(401) - 200;
        let mean = (40_000 + off * 60).max(1_000);
        Window { at: UnixMillis(2_000 * (n - 30)), requests: 30, errors: 0, mean_us: mean as u64 }
    };
    (0..60).map(one).collect()
}

/// The longer a swing lasts, the more it looks like a change: what is allowed says how far the comparison can be trusted.
#[test]
fn a_noisy_service_that_is_unchanged_is_seldom_called_worse() {
    let runs = 2_000;
    for (memory, allowed) in [(0, 5), (30, 5), (60, 40), (80, 120)] {
        let said = |seed| effect(&Progress::Failed(String::new()), &swinging(seed, memory), UnixMillis(0), UnixMillis(0)).0;
        let worse = (0..runs).filter(|seed| said(*seed) == Effect::Worse).count();
        println!("a window keeps {memory} % of the last: worse by mistake {worse} of {runs}");
        assert!(worse * 1_000 < allowed * usize::try_from(runs).unwrap(), "{memory} %: {worse} of {runs}");
    }
}
