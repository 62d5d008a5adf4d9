//! What was measured so far, a line of JSON for each run: an interrupted measurement goes on where it stopped.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One run of a fault, or one time without any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the fault; [`QUIET`] for a time without.
    pub fault: String,
    /// From 1.
    pub run: usize,
    /// Incidents that were raised, the first one first.
    pub incidents: Vec<String>,
    /// What it ended as: a phase, or that it did not end.
    pub phase: String,
    /// Service of the first cause.
    pub service: Option<String>,
    /// Domain of the first cause.
    pub domain: Option<String>,
    /// Actions that were planned, on what.
    pub actions: Vec<String>,
    /// Whether the service is the right one.
    pub right_service: bool,
    /// Whether the domain is a right one.
    pub right_domain: bool,
    /// Whether what was done, or that nothing was, is right.
    pub right_remedy: bool,
    /// Writes to workloads that were wrong.
    pub wrong_writes: usize,
    /// Seconds from the fault to the incident.
    pub to_incident: Option<f64>,
    /// Seconds from the fault to its end.
    pub to_end: Option<f64>,
    /// The incident as it was told.
    pub story: Vec<String>,
}

/// The fault of a time without faults.
pub const QUIET: &str = "quiet";

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// What it holds.
    pub records: Vec<Record>,
}

// === impl Journal ===

impl Journal {
    /// Opens the journal; `fresh` begins anew. A last line that was cut off counts as not written.
    ///
    /// # Errors
    /// If it cannot be read or written, or another line is no record.
    pub fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) if !fresh => text,
            Ok(_) => String::new(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        };
        let whole = text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default());
        let records = whole.lines().map(serde_json::from_str).collect::<Result<_, _>>().with_context(|| format!("read `{}`", path.display()))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, whole).with_context(|| format!("write `{}`", path.display()))?;
        Ok(Self { path: path.to_owned(), records })
    }

    /// Whether this run was measured.
    #[must_use]
    pub fn has(&self, fault: &str, run: usize) -> bool {
        self.records.iter().any(|record| record.fault == fault && record.run == run)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, record: Record) -> anyhow::Result<()> {
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.path).with_context(|| format!("open `{}`", self.path.display()))?;
        file.write_all(format!("{}\n", serde_json::to_string(&record)?).as_bytes())?;
        file.sync_data()?;
        self.records.push(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fault: &str, run: usize) -> Record {
        Record { fault: fault.into(), run, to_incident: Some(7.5), ..Record::default() }
    }

    #[test]
    fn it_goes_on_where_it_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench/live.jsonl");
        let mut journal = Journal::open(&path, false).unwrap();
        journal.add(record("wedge", 1)).unwrap();
        journal.add(record("wedge", 2)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();

        let mut journal = Journal::open(&path, false).unwrap();
        assert!(journal.has("wedge", 1) && !journal.has("wedge", 2));
        journal.add(record("wedge", 2)).unwrap();
        assert_eq!(Journal::open(&path, false).unwrap().records, [record("wedge", 1), record("wedge", 2)]);
        assert!(Journal::open(&path, true).unwrap().records.is_empty());
        assert!(Journal::open(&path, false).unwrap().records.is_empty());
    }

    #[test]
    fn what_is_no_record_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        assert!(Journal::open(&path, false).unwrap_err().to_string().contains("live.jsonl"));
    }
}
