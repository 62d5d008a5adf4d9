//! What must not change an answer, and what must not break it.

use proptest::prelude::*;

use super::super::generator::{Fault, Manner, Scenario};
use super::super::{Rollouts, Sample, Step, Suspicion, judge};
use super::is_right;

fn scenarios() -> Vec<Scenario> {
    let bad = |service, fault| Scenario { bad: Some((service, fault)), ..Scenario::default() };
    vec![bad("orders", Fault::Slow), bad("stock", Fault::Pool), bad("items", Fault::Leak), bad("orders", Fault::Cpu), Scenario::default()]
}

/// The changed recording is judged as the plain one, to the figures' last digit where `exactly`.
fn same(name: &str, exactly: bool, change: impl Fn(&mut Rollouts)) {
    for scenario in scenarios() {
        let plain = scenario.recording();
        let mut changed = plain.clone();
        change(&mut changed);
        let (before, after) = (judge(&plain), judge(&changed));
        assert!(is_right(&after, scenario.bad.map(|(bad, _)| bad)), "{name}: {scenario:?}: {after:#?}");
        let said = |judged: &[Suspicion]| judged.iter().map(|suspicion| (suspicion.service.clone(), suspicion.domain, suspicion.strength)).collect::<Vec<_>>();
        assert!(!exactly || said(&before) == said(&after), "{name}: {before:#?} {after:#?}");
    }
}

fn shift_alert(by: i64) -> impl Fn(&mut Rollouts) {
    move |recording| recording.alert += by
}

fn rename(names: &mut [String], to: impl Fn(&str) -> String) {
    names.iter_mut().for_each(|name| *name = to(name));
}

#[test]
fn times_only_matter_among_themselves() {
    for by in [-86_400 * 365, 17, 3_600] {
        same("all times shifted", true, |recording| {
            recording.alert += by;
            recording.samples.iter_mut().for_each(|sample| sample.time += by);
            recording.steps.iter_mut().for_each(|step| (step.start, step.done) = (step.start + by, step.done + by));
        });
    }
    same("an alert a step late", true, shift_alert(60));
    same("an alert a step early", true, shift_alert(-60));
}

#[test]
fn order_does_not_matter() {
    same("rows shuffled", true, |recording| {
        let half = recording.samples.len() / 2;
        recording.samples.reverse();
        recording.samples.rotate_left(half / 3);
        recording.steps.reverse();
        recording.candidates.reverse();
    });
}

#[test]
fn names_are_only_names() {
    let pod = |name: &str| format!("{:x}", name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte))));
    same("other names of pods", true, |recording| {
        recording.samples.iter_mut().for_each(|sample| sample.pod = pod(&sample.pod));
        recording.steps.iter_mut().for_each(|step| {
            rename(&mut step.came, pod);
            rename(&mut step.gone, pod);
        });
    });
    let swapped = |version: &str| if version == "a" { "b" } else { "a" }.to_owned();
    same("names of versions swapped", true, |recording| {
        recording.samples.iter_mut().for_each(|sample| sample.version = swapped(&sample.version));
        recording.steps.iter_mut().for_each(|step| (step.old_version, step.new_version) = (swapped(&step.old_version), swapped(&step.new_version)));
    });
    same("names of versions swapped in samples only", true, |recording| {
        recording.samples.iter_mut().for_each(|sample| sample.version = swapped(&sample.version));
    });
    same("no names of versions", true, |recording| {
        recording.samples.iter_mut().for_each(|sample| sample.version.clear());
        recording.steps.iter_mut().for_each(|step| (step.old_version.clear(), step.new_version.clear()).0);
    });
    same("pods of steps unknown", true, |recording| {
        recording.steps.iter_mut().for_each(|step| (step.came.clear(), step.gone.clear()).0);
    });
    same("neither versions nor pods of steps", true, |recording| {
        recording.samples.iter_mut().for_each(|sample| sample.version.clear());
        recording.steps.iter_mut().for_each(|step| *step = Step { start: step.start, done: step.done, service: step.service.clone(), ..Step::default() });
    });
}

#[test]
fn a_pod_that_is_replaced_under_its_own_name_is_two() {
    same("names as of a StatefulSet", true, |recording| {
        let own = |name: &str| name.replace("-a-", "-").replace("-b-", "-");
        recording.samples.iter_mut().for_each(|sample| sample.pod = own(&sample.pod));
        recording.steps.iter_mut().for_each(|step| {
            rename(&mut step.came, own);
            rename(&mut step.gone, own);
        });
    });
}

#[test]
fn columns_may_be_called_otherwise_be_more_or_be_fewer() {
    same("other names of signals", true, |recording| {
        recording.signals =
            ["availability", "response_time_ms", "CpuUsageRate(%)", "container_memory_percent", "node_cpu", "node_memory"].map(str::to_owned).into();
    });
    same("no node, and a stranger", false, |recording| {
        recording.signals = ["success_pct", "latency", "cpu_pct", "mem_pct", "whatever", "requests"].map(str::to_owned).into();
    });
    same("no graph", true, |recording| recording.graph.clear());
    same("no candidates", true, |recording| recording.candidates.clear());
    same("every fourth cell missing", false, |recording| {
        let cells = recording.samples.iter_mut().flat_map(|sample| &mut sample.values);
        cells.enumerate().filter(|(place, _)| place % 4 == 1).for_each(|(_, cell)| *cell = None);
    });
    same("every fifth row missing", false, |recording| {
        let mut place = 0;
        recording.samples.retain(|_| {
            place += 1;
            place % 5 != 0
        });
    });
}

#[test]
fn nothing_is_an_answer_too() {
    assert_eq!(judge(&Rollouts::default()), Vec::new());
    let mut recording = Scenario { bad: Some(("orders", Fault::Slow)), ..Scenario::default() }.recording();
    recording.steps.clear();
    assert!(judge(&recording).iter().all(|suspicion| suspicion.strength == 0.0));
    recording = Scenario { rolled: vec![("orders", 24, Manner::Canary)], ..Scenario::default() }.recording();
    recording.samples.clear();
    assert_eq!(judge(&recording).len(), 1);
}

fn sample() -> impl Strategy<Value = Sample> {
    let name = || prop::sample::select(vec!["", "a", "b", "c"]).prop_map(str::to_owned);
    let time = prop_oneof![4 => 0_i64..4_000, 1 => any::<i64>()];
    let value = prop_oneof![2 => prop::num::f64::ANY.prop_map(Some), 2 => (0.0..200.0).prop_map(Some), 1 => Just(None)];
    let names = (name(), name(), name(), name(), name());
    (time, names, prop::collection::vec(value, 0..8)).prop_map(|(time, (pod, service, version, caller, callee), values)| Sample {
        time,
        pod,
        service,
        version,
        caller,
        callee,
        values,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["", "a", "b", "c"]).prop_map(str::to_owned);
    let time = || prop_oneof![4 => 0_i64..4_000, 1 => any::<i64>()];
    let pods = || prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned), 0..3);
    (time(), time(), name(), any::<Option<u32>>(), name(), pods(), pods()).prop_map(|(start, done, service, new, new_version, came, gone)| Step {
        start,
        done,
        service,
        old: None,
        new,
        old_version: String::new(),
        new_version,
        came,
        gone,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_values_have_an_answer(samples in prop::collection::vec(sample(), 0..60), steps in prop::collection::vec(step(), 0..6), alert in any::<i64>()) {
        let signals = ["success_pct", "latency", "cpu_pct", "mem_pct", "node_cpu", "restarts", "errors", "x"].map(str::to_owned).into();
        let recording = Rollouts { signals, samples, steps, alert, ..Rollouts::default() };
        for suspicion in judge(&recording) {
            prop_assert!((0.0..=1.0).contains(&suspicion.strength), "{suspicion:?}");
        }
    }
}
