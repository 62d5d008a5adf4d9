//! A folder of recorded cases: what it holds is found by its files, not by its name. A missing file is missing data; one that cannot be
//! read is an error that names it.

mod incidents;
mod rollouts;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use assent_core::diagnosis::changes::{self, Incident};
use assent_core::diagnosis::rollouts::Rollouts;
use assent_core::diagnosis::{Alert, Objective, Operation, Recording, Series};
use serde::Deserialize;
use serde_json::Value;

/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Most cases of a folder.
const MAX_CASES: usize = 10_000;

/// One line of `cases.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Case {
    /// Its name, and that of its files.
    pub(crate) case: String,
    /// Of which application it is.
    #[serde(default)]
    pub(crate) app: Option<String>,
    /// When the alert was given: Unix seconds, or a timestamp.
    alert_ts: Value,
    #[serde(default)]
    step_s: Option<i64>,
    #[serde(default)]
    entry: Option<String>,
    #[serde(default)]
    slo: Option<String>,
    #[serde(default)]
    earlier_alerts: Vec<i64>,
    #[serde(default)]
    reference: Option<String>,
    /// Services that were being rolled out.
    #[serde(default)]
    candidates: Vec<String>,
}

/// A folder, opened.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    only: BTreeSet<String>,
    graph: BTreeSet<(String, String)>,
    references: BTreeMap<PathBuf, Vec<Series>>,
    reference_operations: Option<Vec<Operation>>,
    notes: BTreeSet<String>,
}

// === impl Folder ===

impl Folder {
    /// Opens `root`, of which only these kinds of data are read (all, if none is named).
    pub(crate) fn open(root: &Path, only: &[String]) -> anyhow::Result<Self> {
        let graph = match read_if_there(&root.join("graph.csv"))? {
            Some(text) => tables::graph(&text).with_context(|| format!("read `{}`", root.join("graph.csv").display()))?,
            None => BTreeSet::new(),
        };
        let only = only.iter().cloned().collect();
        Ok(Self { root: root.to_owned(), only, graph, references: BTreeMap::new(), reference_operations: None, notes: BTreeSet::new() })
    }

    /// The cases of the folder.
    pub(crate) fn cases(&self) -> anyhow::Result<Vec<Case>> {
        let path = self.root.join("cases.jsonl");
        let text = read_if_there(&path)?
            .with_context(|| format!("`{}` is missing: a folder of recorded cases lists them there, one JSON object a line", path.display()))?;
        let mut cases = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            anyhow::ensure!(cases.len() < MAX_CASES, "`{}` has more than {MAX_CASES} cases", path.display());
            let case: Case = serde_json::from_str(line).with_context(|| format!("`{}` line {}", path.display(), number + 1))?;
            anyhow::ensure!(is_name(&case.case), "`{}` line {}: `{}` is no name of a case", path.display(), number + 1, case.case);
            cases.push(case);
        }
        Ok(cases)
    }

    /// Everything that was recorded of `case`.
    pub(crate) fn recording(&mut self, case: &Case) -> anyhow::Result<Recording> {
        let alert = alert(case)?;
        let mut recording = Recording { alert, graph: self.graph.clone(), ..Recording::default() };
        if let Some(text) = self.data("metrics", &case.case)? {
            recording.series = tables::wide(&text).with_context(|| format!("metrics of `{}`", case.case))?;
            recording.reference = self.reference(case)?;
        }
        if let Some(text) = self.data("edges", &case.case)? {
            recording.calls = tables::calls(&text).with_context(|| format!("edges of `{}`", case.case))?;
        }
        if let Some(text) = self.data("traces", &case.case)? {
            recording.operations = tables::operations(&text).with_context(|| format!("traces of `{}`", case.case))?;
            recording.reference_operations = self.traced_without_fault()?;
        }
        recording.surroundings = self.incident(case)?.map(|incident| changes::judge(&incident));
        recording.rollouts = self.rollouts(case, recording.alert.at)?;
        Ok(recording)
    }

    /// The incident with what people changed around it, if `case` was recorded so.
    fn incident(&mut self, case: &Case) -> anyhow::Result<Option<Incident>> {
        let Some(mut told) = incidents::read(&self.root.join("incidents").join(&case.case))? else { return Ok(None) };
        self.notes.append(&mut told.notes.drain(..).collect());
        if !self.wants("metrics") {
            told.incident.series.clear();
        }
        if !self.wants("traces") {
            told.incident.spans.clear();
        }
        if !self.wants("logs") {
            told.incident.lines.clear();
        }
        if !self.wants("patterns") {
            told.incident.patterns.clear();
        }
        if !self.wants("changes") {
            (told.incident.commits, told.incident.deploys, told.incident.flags) = (Vec::new(), Vec::new(), Vec::new());
        }
        Ok(Some(told.incident))
    }

    /// What a reader of the answers should know.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &String> {
        self.notes.iter()
    }

    fn wants(&self, kind: &str) -> bool {
        self.only.is_empty() || self.only.contains(kind)
    }

    fn data(&self, kind: &str, case: &str) -> anyhow::Result<Option<String>> {
        if self.wants(kind) { read_if_there(&self.path(kind, case)) } else { Ok(None) }
    }

    /// Pods' samples with the rollouts of the time. Without steps there is nothing to undo.
    fn rollouts(&self, case: &Case, alert: i64) -> anyhow::Result<Option<Rollouts>> {
        let (Some(samples), Some(steps)) = (self.data("samples", &case.case)?, self.data("rollouts", &case.case)?) else { return Ok(None) };
        let (signals, samples) = rollouts::samples(&samples).with_context(|| format!("read `{}`", self.path("samples", &case.case).display()))?;
        let steps = rollouts::steps(&steps).with_context(|| format!("read `{}`", self.path("rollouts", &case.case).display()))?;
        Ok(Some(Rollouts { signals, samples, steps, graph: self.graph.clone(), candidates: case.candidates.clone(), alert }))
    }

    fn path(&self, kind: &str, case: &str) -> PathBuf {
        self.root.join(kind).join(format!("{case}.csv"))
    }

    fn reference(&mut self, case: &Case) -> anyhow::Result<Vec<Series>> {
        let Some(name) = &case.reference else { return Ok(Vec::new()) };
        let relative = Path::new(name);
        anyhow::ensure!(relative.components().all(|part| matches!(part, Component::Normal(_))), "reference `{name}` leaves the folder");
        let path = self.root.join(relative);
        if let Some(known) = self.references.get(&path) {
            return Ok(known.clone());
        }
        let Some(text) = read_if_there(&path)? else {
            self.notes.insert(format!("reference `{name}` is missing"));
            return Ok(Vec::new());
        };
        let series = tables::wide(&text).with_context(|| format!("read `{}`", path.display()))?;
        self.references.insert(path, series.clone());
        Ok(series)
    }

    /// Traces of any time without fault.
    fn traced_without_fault(&mut self) -> anyhow::Result<Vec<Operation>> {
        if let Some(known) = &self.reference_operations {
            return Ok(known.clone());
        }
        let mut operations = Vec::new();
        let folder = self.root.join("reference");
        let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("list `{}`", folder.display())),
        };
        files.sort();
        for path in files.iter().filter(|path| path.to_string_lossy().ends_with(".traces.csv")) {
            if let Some(text) = read_if_there(path)? {
                operations.extend(tables::operations(&text).with_context(|| format!("read `{}`", path.display()))?);
            }
        }
        self.reference_operations = Some(operations.clone());
        Ok(operations)
    }
}

fn alert(case: &Case) -> anyhow::Result<Alert> {
    let at = match &case.alert_ts {
        Value::Number(number) => number.as_i64().with_context(|| format!("`alert_ts` of `{}` is no whole number of seconds", case.case))?,
        Value::String(text) => text.parse::<jiff::Timestamp>().with_context(|| format!("`alert_ts` of `{}`", case.case))?.as_second(),
        _ => anyhow::bail!("`alert_ts` of `{}` is neither Unix seconds nor a timestamp", case.case),
    };
    let objective = match case.slo.as_deref() {
        Some("latency") => Some(Objective::Latency),
        Some("availability") => Some(Objective::Availability),
        _ => None,
    };
    Ok(Alert { at, step: case.step_s.unwrap_or(60).max(1), entry: case.entry.clone(), objective, known: case.earlier_alerts.clone() })
}

/// A case's name is part of a path, so it may not be one.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) && !name.starts_with('.')
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
    };
    anyhow::ensure!(length <= MAX_BYTES, "`{}` has {length} bytes, and at most {MAX_BYTES} are read", path.display());
    std::fs::read_to_string(path).map(Some).with_context(|| format!("read `{}`", path.display()))
}
