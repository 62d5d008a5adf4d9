//! Answers of a Prometheus: what is read, what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::answer::{MAX_LABEL, MAX_POINTS, MAX_SERIES, parse};
use super::*;

fn body(result: &serde_json::Value) -> Vec<u8> {
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}, "warnings": ["w"]}).to_string().into_bytes()
}

fn found(pod: &str, points: &[(i64, f64)]) -> Found {
    Found { pod: pod.into(), deployment: String::new(), points: points.to_vec() }
}

#[test]
fn an_answer_is_read_as_the_store_writes_it() {
    let result = json!([{"metric": {"pod": "orders-0", "deployment": "d", "x": {"y": []}},
        "values": [[1_700_000_000, "1"], [1_700_000_030.0, "2.5e3"], [1_700_000_060, "NaN"], [1_700_000_090, "+Inf"], [1_700_000_080, "7"]]}]);
    let series = parse(&body(&result)).unwrap();
    assert_eq!(series[0].points, [(1_700_000_000, 1.0), (1_700_000_030, 2_500.0), (1_700_000_080, 7.0)]);
    assert_eq!((series[0].pod.as_str(), series[0].deployment.as_str()), ("orders-0", "d"));
    // A native histogram, which no question of ours asks for, has no values.
    assert_eq!(parse(&body(&json!([{"metric": {}, "histograms": [[1, {}]]}]))).unwrap(), [Found::default()]);
}

#[test]
fn an_answer_out_of_bounds_is_none() {
    let many: Vec<_> = (0..=MAX_SERIES).map(|_| json!({"metric": {}, "values": []})).collect();
    assert!(parse(&body(&json!(many))).unwrap_err().contains("series"));
    let long: Vec<_> = (0..=MAX_POINTS).map(|time| json!([time, "1"])).collect();
    assert!(parse(&body(&json!([{"metric": {}, "values": long}]))).unwrap_err().contains("points"));
    let name = "x".repeat(MAX_LABEL + 1);
    assert_eq!(parse(&body(&json!([{"metric": {"pod": name}, "values": []}]))).unwrap(), [Found::default()]);
    for bad in [r#"{"status":"error","errorType":"timeout"}"#, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, "", "[]", "{}"] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn pods_make_their_workload() {
    let names = Names::testing(&["orders", "redis"], &[("a", "orders"), ("b", "orders")]);
    let answer = [found("a", &[(0, 1.0), (30, 2.0)]), found("b", &[(30, 5.0)]), found("stranger", &[(0, 100.0)])];
    let query = |combine| Query { metric: "m", combine, expression: String::new() };
    let points = |combine| by_workload(&query(combine), &answer, &names).into_iter().map(|series| (series.service, series.points)).collect::<Vec<_>>();
    assert_eq!(points(Combine::Sum), [("orders".to_owned(), vec![(0, 1.0), (30, 7.0)])]);
    assert_eq!(points(Combine::Max), [("orders".to_owned(), vec![(0, 1.0), (30, 5.0)])]);
}

#[test]
fn users_feel_the_mean_time_and_the_share_of_good_answers() {
    let series = |metric: &str, points: &[(i64, f64)]| Series { service: "orders".into(), metric: metric.into(), points: points.to_vec() };
    let read = derived(vec![series(REQUESTS, &[(0, 10.0), (30, 0.0), (60, 20.0)]), series(ERRORS, &[(60, 5.0)]), series(SECONDS, &[(0, 1.0), (60, 40.0)])]);
    let points = |metric: &str| read.iter().find(|series| series.metric == metric).map(|series| series.points.clone());
    assert_eq!(points("latency_mean"), Some(vec![(0, 0.1), (60, 2.0)]));
    assert_eq!(points("availability_ratio"), Some(vec![(0, 1.0), (60, 0.75)]));
    assert_eq!(points(SECONDS), None);
}

#[test]
fn ranges_lie_around_the_onset_and_a_day_and_a_week_before() {
    let onset = 1_700_000_017;
    let [incident, day, week] = ranges(onset, onset + 20, 30);
    assert_eq!((incident.start % 30, incident.end), (0, onset + 20));
    assert!(incident.start <= onset - BEFORE_S);
    assert!(day.start < onset - DAY_S && day.end > onset - DAY_S && week.end < onset - 6 * DAY_S);
    // An onset of long ago, or one in the future, asks for no more points than fit.
    for now in [onset - 100_000, onset + 100_000] {
        for range in ranges(onset, now, 15) {
            assert!((range.end - range.start) / range.step < i64::try_from(MAX_POINTS).unwrap() && range.end >= range.start);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_within_bounds_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = parse(&bytes);
    }

    /// What a mutated answer is read as keeps its promises.
    #[test]
    fn a_broken_answer_is_read_within_bounds_or_not_at_all(cut in 0_usize..400, place in 0_usize..400, byte in any::<u8>(), value in ".{0,12}", time in any::<f64>()) {
        let result = json!([{"metric": {"pod": value}, "values": [[time, value], [1_700_000_000, "1"], [1_700_000_030, value]]}]);
        let mut bytes = body(&result);
        if let Some(known) = bytes.get_mut(place) {
            *known = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(300)));
        for series in parse(&bytes).unwrap_or_default() {
            prop_assert!(series.pod.len() <= MAX_LABEL);
            prop_assert!(series.points.iter().all(|(_, value)| value.is_finite()));
            prop_assert!(series.points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
