//! What decoded database connections add to the scraped page: durations, rows and errors by operation and table, named as
//! OpenTelemetry names them. Summaries are for the seats; here a series is an operation on a table, and series are bounded.

use std::collections::BTreeMap;
use std::fmt;

use assent_api::proto::{self, DatabaseFlow, DatabaseTrouble};
use assent_runtime::metrics::encoding::DescriptorEncoder;
use assent_runtime::metrics::metrics::MetricType;

use super::{Labels, count, labels};
use crate::observe::flows::{Direction, Key};
use crate::observe::histogram::BUCKETS;

/// Series of each kind; further ones are counted together.
const MAX_SERIES: usize = 256;

/// One operation on one table of one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Operation {
    key: Key,
    system: String,
    operation: String,
    collection: String,
}

#[derive(Debug, Default)]
struct Durations {
    buckets: [u64; BUCKETS],
    sum_us: u64,
    rows: u64,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Databases {
    operations: BTreeMap<Operation, Durations>,
    /// By server, system, code and trouble.
    errors: BTreeMap<(Key, String, String, &'static str), u64>,
    sessions: BTreeMap<(Key, String), Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    ready: u64,
    encrypted: u64,
    opaque: u64,
    committed: u64,
    rolled_back: u64,
    idle_us: u64,
}

// === impl Durations ===

impl Durations {
    /// Bucket i ends below 2^(i+1) microseconds; the last has no end.
    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = (1..BUCKETS).map(|power| 2f64.powi(power as i32) / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

// === impl Databases ===

impl Databases {
    pub(super) fn add(&mut self, flow: &DatabaseFlow) {
        let direction = if flow.direction() == proto::Direction::Inbound { Direction::Inbound } else { Direction::Outbound };
        let key = Key::new(direction, &flow.peer, &flow.destination);
        let other = Key::new(direction, "", "other");
        for statement in &flow.statements {
            let named = |key: &Key, operation: &str, collection: &str| Operation {
                key: key.clone(),
                system: flow.system.clone(),
                operation: operation.to_owned(),
                collection: collection.to_owned(),
            };
            let operation = named(&key, &statement.operation, &statement.collection);
            let durations = place(&mut self.operations, operation, named(&other, "OTHER", ""));
            if let Some(histogram) = &statement.duration_us {
                durations.buckets.iter_mut().zip(&histogram.buckets).for_each(|(mine, theirs)| *mine += theirs);
                durations.sum_us = durations.sum_us.saturating_add(histogram.sum);
            }
            durations.rows = durations.rows.saturating_add(statement.rows);
        }
        for error in flow.statements.iter().flat_map(|statement| &statement.errors).chain(&flow.refusals) {
            let named = |key: &Key, code: &str| (key.clone(), flow.system.clone(), code.to_owned(), word(error.trouble()));
            *place(&mut self.errors, named(&key, &error.code), named(&other, "OTHER")) += error.count;
        }
        let sessions = place(&mut self.sessions, (key, flow.system.clone()), (other, flow.system.clone()));
        sessions.ready += flow.ready_us.as_ref().map_or(0, |histogram| histogram.buckets.iter().sum());
        sessions.encrypted += flow.encrypted;
        sessions.opaque += flow.opaque;
        sessions.committed += flow.committed;
        sessions.rolled_back += flow.rolled_back;
        sessions.idle_us = sessions.idle_us.saturating_add(flow.idle_in_transaction_us);
    }

    /// Durations of each operation, by the names of its labels in OpenTelemetry, in buckets of seconds with their sum.
    #[expect(clippy::type_complexity, reason = "a row of a table that one caller reads")]
    pub(super) fn durations(&self) -> Vec<(Key, [(&'static str, String); 3], Vec<(f64, u64)>, f64)> {
        let row = |(operation, durations): (&Operation, &Durations)| {
            let names = [
                ("db.system.name", operation.system.clone()),
                ("db.operation.name", operation.operation.clone()),
                ("db.collection.name", operation.collection.clone()),
            ];
            (operation.key.clone(), names, durations.buckets(), durations.sum_us as f64 / 1e6)
        };
        self.operations.iter().map(row).collect()
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Seconds from the first byte of a statement to the last of its answer";
        let mut family = encoder.encode_descriptor("db_client_operation_duration_seconds", help, None, MetricType::Histogram)?;
        for (operation, durations) in &self.operations {
            let buckets = durations.buckets();
            let ended = durations.buckets.iter().sum();
            let labels = operation_labels(operation);
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<[(&str, &str); 0]>(durations.sum_us as f64 / 1e6, ended, &buckets, None)?;
        }
        let mut family = encoder.encode_descriptor("db_client_response_rows", "Rows returned or changed", None, MetricType::Counter)?;
        for (operation, durations) in &self.operations {
            count(&mut family, &operation_labels(operation), durations.rows)?;
        }
        let help = "Errors by the server's code and by what they mean";
        let mut family = encoder.encode_descriptor("db_client_errors", help, None, MetricType::Counter)?;
        for ((key, system, code, trouble), errors) in &self.errors {
            let mut labels = system_labels(key, system);
            labels.push(("db_response_status_code", code.clone()));
            labels.push(("error_type", (*trouble).to_owned()));
            count(&mut family, &labels, *errors)?;
        }
        let help = "Database sessions by what became of them";
        let mut family = encoder.encode_descriptor("assent_database_sessions", help, None, MetricType::Counter)?;
        for ((key, system), sessions) in &self.sessions {
            for (state, value) in [("ready", sessions.ready), ("encrypted", sessions.encrypted), ("opaque", sessions.opaque)] {
                let mut labels = system_labels(key, system);
                labels.push(("state", state.to_owned()));
                count(&mut family, &labels, value)?;
            }
        }
        let mut family = encoder.encode_descriptor("assent_database_transactions", "Transactions by their end", None, MetricType::Counter)?;
        for ((key, system), sessions) in &self.sessions {
            for (end, value) in [("committed", sessions.committed), ("rolled_back", sessions.rolled_back)] {
                let mut labels = system_labels(key, system);
                labels.push(("end", end.to_owned()));
                count(&mut family, &labels, value)?;
            }
        }
        let help = "Milliseconds in transactions in which the server waited for the client";
        let mut family = encoder.encode_descriptor("assent_database_idle_in_transaction_ms", help, None, MetricType::Counter)?;
        for ((key, system), sessions) in &self.sessions {
            count(&mut family, &system_labels(key, system), sessions.idle_us / 1000)?;
        }
        Ok(())
    }
}

fn place<K: Ord, V: Default>(series: &mut BTreeMap<K, V>, key: K, other: K) -> &mut V {
    let room = series.len() < MAX_SERIES || series.contains_key(&key);
    series.entry(if room { key } else { other }).or_default()
}

fn system_labels(key: &Key, system: &str) -> Labels {
    let mut labels = labels(key);
    labels.push(("db_system_name", system.to_owned()));
    labels
}

fn operation_labels(operation: &Operation) -> Labels {
    let mut labels = system_labels(&operation.key, &operation.system);
    labels.push(("db_operation_name", operation.operation.clone()));
    labels.push(("db_collection_name", operation.collection.clone()));
    labels
}

fn word(trouble: DatabaseTrouble) -> &'static str {
    match trouble {
        DatabaseTrouble::Authentication => "authentication",
        DatabaseTrouble::TooManyConnections => "too_many_connections",
        DatabaseTrouble::Deadlock => "deadlock",
        DatabaseTrouble::LockTimeout => "lock_timeout",
        DatabaseTrouble::ReadOnly => "read_only",
        DatabaseTrouble::Unavailable => "unavailable",
        DatabaseTrouble::Moved => "moved",
        DatabaseTrouble::Resources => "resources",
        DatabaseTrouble::Cancelled => "cancelled",
        DatabaseTrouble::Other | DatabaseTrouble::Unspecified => "other",
    }
}
