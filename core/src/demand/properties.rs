//! What holds for whatever is given: there is an answer, it stays within the bounds, and figures that are missing decide nothing.

use proptest::prelude::*;

use super::*;
use crate::ids::Millionths;

const NOW: i64 = 100_000_000;

/// Mostly what is seen, sometimes what a broken source says.
fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0_u64..4_000, 2 => 0_u64..4_000_000_000, 1 => any::<u64>()]
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let values = (prop::option::weighted(0.95, amounts()), prop::option::weighted(0.95, amounts()), prop::option::weighted(0.95, amounts()));
    let sample =
        (0..700_000_i64, 0_u32..20, values, prop::option::weighted(0.95, 0_u32..1_000_000)).prop_map(|(age, ready, (cpu, memory, latency), errors)| Sample {
            at: UnixMillis(NOW - age + 5_000),
            ready,
            cpu_milli: cpu,
            memory_bytes: memory,
            latency_p95_us: latency,
            errors: errors.map(Millionths::new),
        });
    prop::collection::vec(sample, 0..80)
}

fn allocations() -> impl Strategy<Value = Allocation> {
    (amounts(), prop::option::of(amounts()), any::<bool>()).prop_map(|(request, limit, restarts)| Allocation { request, limit, restarts })
}

fn containers() -> impl Strategy<Value = Vec<Container>> {
    let period = (0..200_i64, amounts(), amounts()).prop_map(|(hour, cpu_p95_milli, memory_peak_bytes)| Period {
        from: UnixMillis(NOW - hour * 3_600_000),
        cpu_p95_milli,
        memory_peak_bytes,
    });
    let container = (allocations(), allocations(), prop::collection::vec(period, 0..40), 0_u32..3)
        .prop_map(|(cpu, memory, history, out_of_memory)| Container { name: "app".into(), cpu, memory, history, out_of_memory, ..Container::default() });
    prop::collection::vec(container, 0..3).prop_map(|mut containers| {
        containers.iter_mut().zip(0..).for_each(|(container, number)| container.name = format!("app{number}"));
        containers
    })
}

fn observations() -> impl Strategy<Value = Observation> {
    let autoscaler = (0_u32..12, 0_u32..30, any::<bool>()).prop_map(|(min, max, active)| Autoscaler {
        name: "a".into(),
        min,
        max,
        active,
        by_cpu_request: active,
        by_memory_request: false,
    });
    (0_u32..25, 0_u32..25, any::<bool>(), containers(), samples(), prop::collection::vec(autoscaler, 0..2)).prop_map(
        |(replicas, ready, rolling_out, containers, samples, autoscalers)| Observation {
            replicas,
            ready,
            rolling_out,
            containers,
            samples,
            autoscalers,
            resources_are_owned: false,
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    (1_u32..8, 0_u32..15, prop::option::of(1_u64..1_000_000), any::<bool>(), any::<bool>()).prop_map(|(min, more, latency, memory_is_shared, tunes)| Settings {
        replicas: Bounds { min, max: min + more },
        objectives: Objectives { latency_p95_us: latency, errors: latency.map(|_| Millionths::new(10_000)) },
        weights: Weights { memory_is_shared, ..Weights::default() },
        tuning: tunes.then(Tuning::default),
        ..Settings::default()
    })
}

fn states() -> impl Strategy<Value = State> {
    let change = (0..5_000_000_i64, 1_u32..9, 1_u32..9).prop_map(|(ago, from, to)| Change { at: UnixMillis(NOW - ago), from, to });
    prop::collection::vec(change, 0..8).prop_map(|changes| State { changes, tunings: vec![] })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_stays_within_the_bounds(settings in settings(), state in states(), seen in observations()) {
        let Bounds { min, max } = settings.replicas;
        let decision = decide(&settings, &state, &seen, UnixMillis(NOW));
        prop_assert_eq!(&decision, &decide(&settings, &state, &seen, UnixMillis(NOW)));
        prop_assert!(!decision.rationale().is_empty());
        match decision {
            Decision::Hold { .. } => {}
            Decision::Scale { from, to, .. } => {
                prop_assert!(from == seen.replicas && to != from && !seen.autoscalers.iter().any(|autoscaler| autoscaler.active));
                // From outside, towards the bounds; from inside, never out of them.
                prop_assert!(to >= min && (to <= max || (from > max && to < from)), "{from} → {to}");
            }
            Decision::AdjustAutoscaler { from, to, .. } => prop_assert!(from != to && min <= to.min && to.min <= to.max.max(min) && to.max <= max),
            Decision::Tune { containers, .. } => {
                let bounds = ContainerBounds::default();
                let grows = containers.iter().any(|after| after.larger);
                for after in containers {
                    let before = seen.containers.iter().find(|before| before.name == after.container).unwrap();
                    let cpu = (before.cpu, after.cpu_request_milli, after.cpu_limit_milli, bounds.cpu_milli);
                    let memory = (before.memory, after.memory_request_bytes, after.memory_limit_bytes, bounds.memory_bytes);
                    for (was, request, limit, bounds) in [cpu, memory] {
                        let step = |from: u64, to: u64| to <= 2 * from && from <= 2 * to;
                        let one_way = if grows { request >= was.request && limit >= was.limit } else { request <= was.request && limit <= was.limit };
                        prop_assert!(one_way, "{was:?} → {request}, {limit:?}");
                        prop_assert!(request == was.request || (bounds.min..=bounds.max).contains(&request) && step(was.request, request), "{was:?} → {request}");
                        let Some((from, to)) = was.limit.zip(limit).filter(|(from, to)| from != to && *from >= was.request) else { continue };
                        prop_assert!(to >= request && to <= bounds.max && step(from, to), "{was:?} → {request}, {to}");
                    }
                    let peak = before.history.iter().filter(|period| period.from.0 <= NOW).map(|period| period.memory_peak_bytes).max();
                    let unchanged = after.memory_limit_bytes == before.memory.limit;
                    prop_assert!(grows || unchanged || after.memory_limit_bytes >= peak, "{before:?} → {after:?}");
                }
            }
        }
    }

    #[test]
    fn without_fresh_figures_nothing_is_done(settings in settings(), state in states(), seen in observations(), late in 70_000_i64..900_000) {
        let mut seen = seen;
        seen.samples.iter_mut().for_each(|sample| sample.at = sample.at.plus(-late));
        let decision = decide(&settings, &state, &seen, UnixMillis(NOW));
        let held = matches!(decision, Decision::Hold { .. });
        prop_assert!(held, "{decision:?}");
    }
}
