//! What is asked of a store of metrics: for each seat a few questions about its own classes of evidence, and no others.
//!
//! Names of metrics are the field's conventions; series carry the labels `namespace` and `pod`, as discovery in a cluster gives
//! them. `$namespace`, `$window` and `$step` are filled in by the reader. What our own sidecars count is not asked for: the seats
//! have it from the sidecars.

use std::fmt::Write as _;

/// How the figures of a workload's pods become the workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    Sum,
    Max,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// What its answer is called in a recording.
    pub(super) metric: &'static str,
    pub(super) combine: Combine,
    pub(super) expression: String,
}

/// Requests answered in the time of a sample, and how many of them badly.
pub(super) const REQUESTS: &str = "requests_sum";
pub(super) const ERRORS: &str = "errors_sum";
/// Seconds that were spent on them.
pub(super) const SECONDS: &str = "seconds_sum";
const TAIL: &str = "latency_p95";

/// How requests are counted by some library or mesh: a histogram of their times.
struct Convention {
    /// The histogram; native ones have no other name.
    histogram: &'static str,
    /// Only these series, beside the namespace.
    only: &'static str,
    /// The label of the namespace.
    namespace: &'static str,
    /// What marks bad answers; one of these.
    bad: &'static [&'static str],
    /// Of its unit in a second.
    per_second: u32,
}

const CONVENTIONS: [Convention; 4] = [
    // OpenTelemetry's semantic conventions.
    Convention {
        histogram: "http_server_request_duration_seconds",
        only: "",
        namespace: "namespace",
        bad: &[r#"http_response_status_code=~"5..""#],
        per_second: 1,
    },
    // Client libraries' custom.
    Convention {
        histogram: "http_request_duration_seconds",
        only: "",
        namespace: "namespace",
        bad: &[r#"code=~"5..""#, r#"status=~"5..""#, r#"status_code=~"5..""#],
        per_second: 1,
    },
    Convention {
        histogram: "istio_request_duration_milliseconds",
        only: r#",reporter="destination""#,
        namespace: "destination_workload_namespace",
        bad: &[r#"response_code=~"5..""#],
        per_second: 1_000,
    },
    Convention {
        histogram: "response_latency_ms",
        only: r#",direction="inbound""#,
        namespace: "namespace",
        bad: &[r#"status_code=~"5..""#],
        per_second: 1_000,
    },
];

/// Selects containers of applications in cAdvisor's series.
const CONTAINERS: &str = r#"{namespace="$namespace",container!="",container!="POD",container!="assent-sidecar"}"#;

/// The questions of the seat of this name.
pub(super) fn queries(seat: &str) -> Vec<Query> {
    match seat {
        "network" => requests(),
        "compute" => compute(),
        "database" => database(),
        "change" => change(),
        _ => Vec::new(),
    }
}

fn query(metric: &'static str, combine: Combine, expression: String) -> Query {
    Query { metric, combine, expression }
}

/// The first of several expressions that has an answer for a pod.
fn first_of(expressions: impl IntoIterator<Item = String>) -> String {
    let mut all = String::new();
    for expression in expressions {
        let separator = if all.is_empty() { "" } else { " or " };
        // Writing to a string cannot fail.
        let _ = write!(all, "{separator}({expression})");
    }
    all
}

fn requests() -> Vec<Query> {
    let selected = |convention: &Convention, suffix: &str, bad: &str| {
        let comma = if bad.is_empty() { "" } else { "," };
        let Convention { histogram, only, namespace, .. } = convention;
        format!(r#"rate({histogram}{suffix}{{{namespace}="$namespace"{only}{comma}{bad}}}[$window])"#)
    };
    let counted = |bad: &[&str], convention: &Convention| -> Vec<String> {
        let marks = if bad.is_empty() { vec![""] } else { bad.to_vec() };
        let classic = marks.iter().map(|mark| format!("$step * sum by (pod) ({})", selected(convention, "_count", mark)));
        let native = marks.iter().map(|mark| format!("$step * histogram_count(sum by (pod) ({}))", selected(convention, "", mark)));
        classic.chain(native).collect()
    };
    let seconds = |convention: &Convention| {
        let per_second = convention.per_second;
        [
            format!("$step * sum by (pod) ({}) / {per_second}", selected(convention, "_sum", "")),
            format!("$step * histogram_sum(sum by (pod) ({})) / {per_second}", selected(convention, "", "")),
        ]
    };
    let tail = |convention: &Convention| {
        let per_second = convention.per_second;
        [
            format!("histogram_quantile(0.95, sum by (pod, le) ({})) / {per_second}", selected(convention, "_bucket", "")),
            format!("histogram_quantile(0.95, sum by (pod) ({})) / {per_second}", selected(convention, "", "")),
        ]
    };
    vec![
        query(REQUESTS, Combine::Sum, first_of(CONVENTIONS.iter().flat_map(|convention| counted(&[], convention)))),
        query(ERRORS, Combine::Sum, first_of(CONVENTIONS.iter().flat_map(|convention| counted(convention.bad, convention)))),
        query(SECONDS, Combine::Sum, first_of(CONVENTIONS.iter().flat_map(seconds))),
        query(TAIL, Combine::Max, first_of(CONVENTIONS.iter().flat_map(tail))),
    ]
}

fn compute() -> Vec<Query> {
    let used = format!("sum by (pod) (rate(container_cpu_usage_seconds_total{CONTAINERS}[$window]))");
    let allowed = format!("sum by (pod) (container_spec_cpu_quota{CONTAINERS} / container_spec_cpu_period{CONTAINERS})");
    let throttled = format!("sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{CONTAINERS}[$window]))");
    let periods = format!("sum by (pod) (rate(container_cpu_cfs_periods_total{CONTAINERS}[$window]))");
    let memory = format!("sum by (pod) (container_memory_working_set_bytes{CONTAINERS})");
    let limit = format!("(sum by (pod) (container_spec_memory_limit_bytes{CONTAINERS}) > 0)");
    vec![
        query("cpu_cores", Combine::Sum, used.clone()),
        query("cpu_pct", Combine::Max, format!("100 * {used} / {allowed}")),
        query("throttled_share", Combine::Max, format!("{throttled} / {periods}")),
        query("mem_pct", Combine::Max, format!("100 * {memory} / {limit}")),
        query("mem", Combine::Max, memory),
    ]
}

fn database() -> Vec<Query> {
    let of = |aggregation: &str, series: &[&str]| first_of(series.iter().map(|series| format!("{aggregation} by (pod) ({series})")));
    vec![
        query(
            "connections",
            Combine::Sum,
            of(
                "sum",
                &[
                    r#"pg_stat_activity_count{namespace="$namespace"}"#,
                    r#"mysql_global_status_threads_connected{namespace="$namespace"}"#,
                    r#"redis_connected_clients{namespace="$namespace"}"#,
                    r#"mongodb_ss_connections{namespace="$namespace",conn_type="current"}"#,
                ],
            ),
        ),
        query(
            "lock_waits",
            Combine::Sum,
            of(
                "sum",
                &[
                    r#"pg_stat_activity_count{namespace="$namespace",wait_event_type="Lock"}"#,
                    r#"pg_locks_count{namespace="$namespace",mode="accessexclusivelock"}"#,
                    r#"mysql_global_status_innodb_row_lock_current_waits{namespace="$namespace"}"#,
                ],
            ),
        ),
        query(
            "replication_lag_seconds",
            Combine::Max,
            of(
                "max",
                &[
                    r#"pg_replication_lag_seconds{namespace="$namespace"}"#,
                    r#"mysql_slave_status_seconds_behind_master{namespace="$namespace"}"#,
                    r#"redis_connected_slave_lag_seconds{namespace="$namespace"}"#,
                ],
            ),
        ),
        query(
            "queries_rate",
            Combine::Sum,
            of(
                "sum",
                &[
                    r#"rate(pg_stat_database_xact_commit{namespace="$namespace"}[$window])"#,
                    r#"rate(mysql_global_status_queries{namespace="$namespace"}[$window])"#,
                    r#"rate(redis_commands_processed_total{namespace="$namespace"}[$window])"#,
                ],
            ),
        ),
    ]
}

/// As kube-state-metrics counts them.
fn change() -> Vec<Query> {
    let by_deployment = |series: &str| format!(r#"max by (deployment) ({series}{{namespace="$namespace"}})"#);
    vec![
        query("rollout_generation", Combine::Max, by_deployment("kube_deployment_metadata_generation")),
        query("replicas_wanted", Combine::Max, by_deployment("kube_deployment_spec_replicas")),
        query("replicas_updated", Combine::Max, by_deployment("kube_deployment_status_replicas_updated")),
    ]
}

#[cfg(test)]
mod tests {
    use assent_core::ballot::EvidenceClass;
    use assent_core::diagnosis::vocabulary::{Kind, class, kind};

    use super::*;

    #[test]
    fn a_seat_asks_for_its_own_classes_and_for_few_series() {
        let cases: [(&str, &[(&str, Kind)]); 4] = [
            ("network", &[(REQUESTS, Kind::Requests), (ERRORS, Kind::Errors), (SECONDS, Kind::Other), (TAIL, Kind::Latency)]),
            (
                "compute",
                &[
                    ("cpu_cores", Kind::Cpu),
                    ("cpu_pct", Kind::CpuShare),
                    ("throttled_share", Kind::Throttling),
                    ("mem_pct", Kind::MemoryShare),
                    ("mem", Kind::Memory),
                ],
            ),
            (
                "database",
                &[
                    ("connections", Kind::Connections),
                    ("lock_waits", Kind::Contention),
                    ("replication_lag_seconds", Kind::Contention),
                    ("queries_rate", Kind::Other),
                ],
            ),
            ("change", &[("rollout_generation", Kind::Other), ("replicas_wanted", Kind::Other), ("replicas_updated", Kind::Other)]),
        ];
        for (seat, expected) in cases {
            let asked: Vec<(&str, Kind)> = queries(seat).iter().map(|query| (query.metric, kind(query.metric))).collect();
            assert_eq!(asked, expected, "{seat}");
        }
        let classes = |seat: &str| -> Vec<EvidenceClass> {
            let kinds = queries(seat).into_iter().map(|query| kind(query.metric)).filter(|kind| *kind != Kind::Other);
            kinds.map(class).collect()
        };
        assert!(classes("network").iter().all(|class| *class == EvidenceClass::Requests));
        assert!(classes("compute").iter().all(|class| *class == EvidenceClass::Resource));
        assert!(classes("database").iter().all(|class| *class == EvidenceClass::DatabaseExchange));
    }

    #[test]
    fn every_question_is_about_one_namespace() {
        for query in ["network", "compute", "database", "change"].into_iter().flat_map(queries) {
            let selectors = query.expression.matches('{').count();
            assert_eq!(query.expression.matches(r#"namespace="$namespace""#).count(), selectors, "{}", query.expression);
            assert!(selectors > 0 && !query.expression.contains("assent_"));
        }
    }
}
