//! What a metric measures, by the words of its name: one table from words to kind, and from kind to the class of evidence
//! that a seat reads. Names differ from system to system; the words are the field's.

use crate::ballot::EvidenceClass;

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Processor use in any unit.
    Cpu,
    /// Processor use as a share of what is allowed: percent, or a ratio up to one.
    CpuShare,
    /// Periods in which a processor limit bit.
    Throttling,
    /// Memory in any unit.
    Memory,
    /// Memory as a share of the limit.
    MemoryShare,
    /// Restarts, kills, evictions.
    Restarts,
    /// Processor or memory of the whole node.
    Node,
    /// Time to answer, as the server sees it or nobody says who.
    Latency,
    /// Time until answered, as the client sees it.
    ClientLatency,
    /// Share of good answers, percent or ratio.
    Availability,
    /// Share or number of bad answers.
    Errors,
    /// How many asked.
    Requests,
    /// Segments lost, sent again, connections refused.
    Loss,
    /// Bytes or packets moved.
    Traffic,
    /// Connections of a pool or a server in use.
    Connections,
    /// Locks, waits, replication lag.
    Contention,
    /// Anything else.
    Other,
}

/// One line of the table: all these words make it this kind.
type Line = (&'static [&'static str], Kind);

/// The first line whose words all stand in the name decides.
const TABLE: &[Line] = &[
    (&["throttl"], Kind::Throttling),
    (&["node", "cpu"], Kind::Node),
    (&["node", "mem"], Kind::Node),
    (&["node", "load"], Kind::Node),
    (&["node"], Kind::Other),
    (&["restart"], Kind::Restarts),
    (&["oom"], Kind::Restarts),
    (&["evict"], Kind::Restarts),
    (&["lag"], Kind::Contention),
    (&["lock"], Kind::Contention),
    (&["deadlock"], Kind::Contention),
    (&["pool"], Kind::Connections),
    (&["connections"], Kind::Connections),
    (&["queue"], Kind::Contention),
    // What a kernel calls errors and failures is no answer of a service.
    (&["net", "error"], Kind::Loss),
    (&["receive", "error"], Kind::Loss),
    (&["transmit", "error"], Kind::Loss),
    (&["packet", "error"], Kind::Loss),
    (&["tcp", "error"], Kind::Loss),
    (&["mem", "fail"], Kind::Memory),
    (&["retransm"], Kind::Loss),
    (&["loss"], Kind::Loss),
    (&["dropped"], Kind::Loss),
    (&["availability"], Kind::Availability),
    (&["success"], Kind::Availability),
    (&["error"], Kind::Errors),
    (&["fail"], Kind::Errors),
    (&["5xx"], Kind::Errors),
    (&["exception"], Kind::Errors),
    (&["timeout"], Kind::Errors),
    (&["cpu", "pct"], Kind::CpuShare),
    (&["cpu", "percent"], Kind::CpuShare),
    (&["cpu", "utilization"], Kind::CpuShare),
    (&["cpu", "util"], Kind::CpuShare),
    (&["cpu", "rate"], Kind::CpuShare),
    (&["cpu"], Kind::Cpu),
    (&["mem", "pct"], Kind::MemoryShare),
    (&["mem", "percent"], Kind::MemoryShare),
    (&["mem", "utilization"], Kind::MemoryShare),
    (&["mem"], Kind::Memory),
    (&["heap"], Kind::Memory),
    (&["rss"], Kind::Memory),
    (&["cli", "p"], Kind::ClientLatency),
    (&["client", "p"], Kind::ClientLatency),
    (&["client", "latency"], Kind::ClientLatency),
    (&["client", "duration"], Kind::ClientLatency),
    (&["latency"], Kind::Latency),
    (&["duration"], Kind::Latency),
    (&["response", "time"], Kind::Latency),
    (&["delay"], Kind::Latency),
    (&["elapsed"], Kind::Latency),
    (&["mrt"], Kind::Latency),
    (&["rt"], Kind::Latency),
    (&["sr"], Kind::Availability),
    (&["rr"], Kind::Availability),
    (&["srv", "p"], Kind::Latency),
    (&["p"], Kind::Latency),
    (&["requests"], Kind::Requests),
    (&["request"], Kind::Requests),
    (&["ops"], Kind::Requests),
    (&["qps"], Kind::Requests),
    (&["rps"], Kind::Requests),
    (&["throughput"], Kind::Requests),
    (&["workload"], Kind::Requests),
    (&["load"], Kind::Requests),
    (&["invocations"], Kind::Requests),
    (&["calls"], Kind::Requests),
    (&["hits"], Kind::Requests),
    (&["net"], Kind::Traffic),
    (&["rx"], Kind::Traffic),
    (&["tx"], Kind::Traffic),
    (&["receive"], Kind::Traffic),
    (&["transmit"], Kind::Traffic),
    (&["packet"], Kind::Traffic),
    (&["bytes"], Kind::Traffic),
];

/// Words that a store of data goes by, in names of services.
const STORES: &[&str] = &[
    "database",
    "db",
    "sql",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "mongo",
    "mongodb",
    "redis",
    "valkey",
    "memcached",
    "cassandra",
    "dynamodb",
    "rds",
    "elasticsearch",
    "opensearch",
    "clickhouse",
    "cockroach",
    "etcd",
    "aurora",
    "spanner",
    "bigtable",
    "oracle",
    "mssql",
];

/// What a metric of this name measures.
#[must_use]
pub fn kind(metric: &str) -> Kind {
    let words = words(metric);
    let is = |word: &str, wanted: &str| match wanted {
        "p" => quantile(word),
        short if short.len() < 3 => word == short,
        long => word.starts_with(long),
    };
    let has = |wanted: &&str| words.iter().any(|word| is(word, wanted));
    TABLE.iter().find(|(wanted, _)| wanted.iter().all(has)).map_or(Kind::Other, |(_, kind)| *kind)
}

/// Whose evidence a metric of this kind is.
#[must_use]
pub fn class(kind: Kind) -> EvidenceClass {
    match kind {
        Kind::Cpu | Kind::CpuShare | Kind::Throttling | Kind::Memory | Kind::MemoryShare | Kind::Other => EvidenceClass::Resource,
        Kind::Node => EvidenceClass::Pressure,
        Kind::Restarts => EvidenceClass::ContainerState,
        Kind::Latency | Kind::ClientLatency | Kind::Availability | Kind::Errors | Kind::Requests => EvidenceClass::Requests,
        Kind::Loss | Kind::Traffic => EvidenceClass::Tcp,
        Kind::Connections | Kind::Contention => EvidenceClass::DatabaseExchange,
    }
}

/// Whether a service of this name keeps data.
#[must_use]
pub fn is_store(service: &str) -> bool {
    words(service).iter().any(|word| STORES.contains(&word.as_str()))
}

/// Whether a span of this name asks a store.
#[must_use]
pub fn is_query(operation: &str) -> bool {
    let words = words(operation);
    let first = words.first().map(String::as_str);
    matches!(first, Some("select" | "insert" | "update" | "delete" | "query" | "sql" | "db" | "redis" | "mongo" | "postgres" | "mysql" | "get_connection"))
}

/// The words of a metric's name without the quantile: what is the same figure, looked at in the middle or at the tail.
#[must_use]
pub fn figure(metric: &str) -> Vec<String> {
    words(metric).into_iter().filter(|word| !quantile(word)).collect()
}

/// `p95` and the like.
fn quantile(word: &str) -> bool {
    word.strip_prefix('p').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
}

/// Lower-case words of a name: split where it is no letter or digit, and before a capital after a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars().take(256) {
        let ends = !c.is_alphanumeric() || c.is_uppercase() && small;
        if ends && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_several_systems_mean_the_same() {
        for (name, expected) in [
            ("cpu_pct", Kind::CpuShare),
            ("CpuUsageRate(%)", Kind::CpuShare),
            ("container_cpu_usage_seconds_total", Kind::Cpu),
            ("container_cpu_cfs_throttled_periods_total", Kind::Throttling),
            ("cpu_m", Kind::Cpu),
            ("mem_mi", Kind::Memory),
            ("container_memory_working_set_bytes", Kind::Memory),
            ("memory_percent", Kind::MemoryShare),
            ("node_cpu", Kind::Node),
            ("srv_p95", Kind::Latency),
            ("cli_p99", Kind::ClientLatency),
            ("latency_p50", Kind::Latency),
            ("http_server_duration_p99_ms", Kind::Latency),
            ("availability_avg", Kind::Availability),
            ("success_pct", Kind::Availability),
            ("http_5xx_rate", Kind::Errors),
            ("requests_sum", Kind::Requests),
            ("db_pool_in_use", Kind::Connections),
            ("replication_lag_seconds", Kind::Contention),
            ("net_rx", Kind::Traffic),
            ("container-network-receive-packets-dropped-total", Kind::Loss),
            ("container-network-transmit-errors-total", Kind::Loss),
            ("container_memory_failcnt", Kind::Memory),
            ("exceptions_total", Kind::Errors),
            ("client_timeouts", Kind::Errors),
            ("workload", Kind::Requests),
            ("load", Kind::Requests),
            ("latency-90", Kind::Latency),
            ("istio-request-total", Kind::Requests),
            ("mrt", Kind::Latency),
            ("sr", Kind::Availability),
            ("queue_depth", Kind::Contention),
            ("sys_read", Kind::Other),
            ("start_time", Kind::Other),
            ("something", Kind::Other),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn stores_are_known_by_whole_words() {
        assert!(is_store("petInfo_AWS::DynamoDB::Table") && is_store("orders-postgres") && is_store("redis-cart"));
        assert!(!is_store("dashboard") && !is_store("PetSearch_AWS::ECS::Fargate"));
    }
}
