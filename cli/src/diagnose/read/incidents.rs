//! A folder of one incident with its change context. Every file may be missing; unknown fields are passed over, unknown files are
//! told; a line that cannot be read is skipped and counted; a file that cannot be read is an error that names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use assent_core::diagnosis::changes::{Alert, Commit, Deploy, Flag, Incident, Line, Notice, Pattern, Series, Span};
use serde_json::Value;

use super::read_if_there;

/// Most entries of one list.
const MAX_ENTRIES: usize = 200_000;
/// Most samples of one file.
const MAX_ROWS: usize = 1_000_000;
/// Longest text that is kept, in bytes; a diff may be longer.
const MAX_TEXT: usize = 4 * 1024;
/// Longest diff that is kept, in bytes.
const MAX_DIFF: usize = 256 * 1024;
/// Files that are read otherwise than as notices.
const KNOWN: &[&str] = &["alert.json", "metrics.csv", "traces.json", "logs.ndjson", "patterns.json"];

/// An incident as it was read, and what a reader of the answer should know.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) incident: Incident,
    pub(super) notes: Vec<String>,
}

/// Reads `folder`; nothing if it is not there.
pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Told>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut told = Told::default();
    if let Some((path, value)) = json(&folder.join("alert.json"))? {
        told.incident.alert = alert(&value).with_context(|| format!("`{}`: write one JSON object with `service`, `metric` and `fired_at`", path.display()))?;
    }
    if let Some(text) = read_if_there(&folder.join("metrics.csv"))? {
        let path = folder.join("metrics.csv");
        let (series, skipped) =
            series(&text).with_context(|| format!("`{}`: write rows of `timestamp,service,metric,value` under such a header", path.display()))?;
        told.incident.series = series;
        told.skipped(&path, skipped);
    }
    if let Some(text) = read_if_there(&folder.join("logs.ndjson"))? {
        let mut skipped = 0;
        for text in text.lines().filter(|line| !line.trim().is_empty()) {
            anyhow::ensure!(
                told.incident.lines.len() < MAX_ENTRIES,
                "`{}` has more than {MAX_ENTRIES} lines: keep those around the alert",
                folder.join("logs.ndjson").display()
            );
            match serde_json::from_str(text).ok().as_ref().and_then(line) {
                Some(line) => told.incident.lines.push(line),
                None => skipped += 1,
            }
        }
        told.skipped(&folder.join("logs.ndjson"), skipped);
    }
    told.incident.spans = told.list(&folder.join("traces.json"), span)?;
    told.incident.patterns = told.list(&folder.join("patterns.json"), pattern)?;
    told.incident.commits = told.list(&folder.join("context/commits.json"), commit)?;
    told.incident.deploys = told.list(&folder.join("context/deploys.json"), deploy)?;
    told.incident.flags = told.list(&folder.join("context/flags.json"), flag)?;
    told.others(folder)?;
    Ok(Some(told))
}

// === impl Told ===

impl Told {
    /// The entries of a JSON list.
    fn list<Entry>(&mut self, path: &Path, take: impl Fn(&Value) -> Option<Entry>) -> anyhow::Result<Vec<Entry>> {
        let Some((path, value)) = json(path)? else { return Ok(Vec::new()) };
        let Value::Array(values) = value else { anyhow::bail!("`{}` is no list: write a JSON list of objects", path.display()) };
        anyhow::ensure!(values.len() <= MAX_ENTRIES, "`{}` has more than {MAX_ENTRIES} entries: keep those around the alert", path.display());
        let entries: Vec<Entry> = values.iter().filter_map(take).collect();
        self.skipped(&path, values.len() - entries.len());
        Ok(entries)
    }

    /// Files of other names: one that lists events of somebody is a notice, the rest is told.
    fn others(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut names: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("list `{}`", folder.display()))? {
            let entry = entry.with_context(|| format!("list `{}`", folder.display()))?;
            if entry.file_name() != "context" && !KNOWN.iter().any(|known| entry.file_name() == *known) {
                names.push(entry.path());
            }
        }
        names.sort();
        for path in names {
            let value = if path.extension().is_some_and(|extension| extension == "json") { json(&path)?.map(|(_, value)| value) } else { None };
            let notices = value.as_ref().map(notices).unwrap_or_default();
            if notices.is_empty() {
                self.notes.push(format!("`{}` is of no known kind and was passed over", path.display()));
            }
            self.incident.notices.extend(notices);
        }
        Ok(())
    }

    fn skipped(&mut self, path: &Path, count: usize) {
        if count > 0 {
            self.notes.push(format!("{count} entries of `{}` lack what is needed and were skipped", path.display()));
        }
    }
}

fn json(path: &Path) -> anyhow::Result<Option<(PathBuf, Value)>> {
    let Some(text) = read_if_there(path)? else { return Ok(None) };
    let value = serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON: mend it or take it away", path.display()))?;
    Ok(Some((path.to_owned(), value)))
}

fn alert(value: &Value) -> anyhow::Result<Alert> {
    anyhow::ensure!(value.is_object(), "it is no object");
    let at = match value.get("fired_at") {
        Some(at) => Some(time(at).context("`fired_at` is neither a timestamp nor Unix seconds")?),
        None => None,
    };
    Ok(Alert { service: some(value, &["service"]), metric: text(value, &["metric"]), at, summary: text(value, &["summary"]) })
}

fn series(text: &str) -> anyhow::Result<(Vec<Series>, usize)> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let headers = reader.headers().context("read the header")?.clone();
    let place = |names: &[&str]| {
        headers.iter().position(|header| names.contains(&header.trim())).with_context(|| format!("there is no column `{}`", names.join("` or `")))
    };
    let (when, service, metric, value) = (place(&["timestamp", "time"])?, place(&["service"])?, place(&["metric"])?, place(&["value"])?);
    let mut all: BTreeMap<(String, String), Vec<(i64, f64)>> = BTreeMap::new();
    let (mut rows, mut skipped) = (0, 0);
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row).context("read a row")? {
        rows += 1;
        anyhow::ensure!(rows <= MAX_ROWS, "more than {MAX_ROWS} rows");
        let cell = |place: usize| row.get(place).unwrap_or_default().trim();
        let sample = moment(cell(when)).zip(cell(value).parse::<f64>().ok().filter(|value| value.is_finite()));
        match sample {
            Some(sample) if !cell(service).is_empty() => all.entry((clip(cell(service), MAX_TEXT), clip(cell(metric), MAX_TEXT))).or_default().push(sample),
            _ => skipped += 1,
        }
    }
    Ok((all.into_iter().map(|((service, metric), samples)| Series { service, metric, samples }).collect(), skipped))
}

fn line(value: &Value) -> Option<Line> {
    let level = text(value, &["severity_text", "severity", "level"]).to_lowercase();
    Some(Line {
        at: time(value.get("timestamp")?)?,
        service: some(value, &["service"])?,
        severe: ["warn", "err", "fatal", "crit", "panic", "alert", "emerg"].iter().any(|word| level.starts_with(word)),
        text: text(value, &["msg", "message", "body"]),
    })
}

fn span(value: &Value) -> Option<Span> {
    let status = text(value, &["status"]).to_lowercase();
    let error = text(value, &["error", "status_message"]);
    Some(Span {
        trace: text(value, &["trace_id"]),
        id: some(value, &["span_id"])?,
        parent: some(value, &["parent_id", "parent_span_id"]),
        service: some(value, &["service"])?,
        name: text(value, &["name"]),
        duration: value.get("duration_ms").and_then(Value::as_f64).filter(|duration| duration.is_finite() && *duration >= 0.0).unwrap_or(0.0),
        failed: status.contains("err") || (status.is_empty() && !error.is_empty()),
        error,
    })
}

fn pattern(value: &Value) -> Option<Pattern> {
    let more = match value.get("delta_vs_baseline")? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.trim_start_matches('+').parse().ok()?,
        _ => return None,
    };
    Some(Pattern { service: text(value, &["service"]), text: some(value, &["signature"])?, more, negative: text(value, &["sentiment"]) == "negative" })
}

fn commit(value: &Value) -> Option<Commit> {
    let files = value
        .get("files_changed")
        .and_then(Value::as_array)
        .map(|files| files.iter().filter_map(Value::as_str).map(|file| clip(file, MAX_TEXT)).collect())
        .unwrap_or_default();
    Some(Commit { sha: some(value, &["sha"])?, files, diff: value.get("diff").and_then(Value::as_str).map(|diff| clip(diff, MAX_DIFF)) })
}

fn deploy(value: &Value) -> Option<Deploy> {
    Some(Deploy { at: time(value.get("timestamp")?)?, service: some(value, &["service"])?, commit: some(value, &["commit_sha", "sha"])? })
}

fn flag(value: &Value) -> Option<Flag> {
    Some(Flag { at: time(value.get("timestamp")?)?, service: some(value, &["service"])?, name: some(value, &["flag", "name"])? })
}

/// What a status page or a feed of the platform says: a list of events, in an object or alone.
fn notices(value: &Value) -> Vec<Notice> {
    let of = text(value, &["component", "source", "provider"]);
    let events = value.as_array().or_else(|| ["events", "incidents", "updates"].iter().find_map(|name| value.get(name)?.as_array()));
    let told = |event: &Value| {
        let detail = some(event, &["detail", "description", "message", "title", "body", "summary"])?;
        Some(Notice { at: event.get("timestamp").and_then(time), text: clip(&format!("{of}: {detail}"), MAX_TEXT) })
    };
    events.map(|events| events.iter().take(1_000).filter_map(told).collect()).unwrap_or_default()
}

fn text(value: &Value, names: &[&str]) -> String {
    some(value, names).unwrap_or_default()
}

/// The first of these fields that holds text.
fn some(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| value.get(name)?.as_str()).filter(|text| !text.is_empty()).map(|text| clip(text, MAX_TEXT))
}

fn clip(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most.min(text.len()))).unwrap_or_default().to_owned()
}

/// Unix seconds of a number or a timestamp.
fn time(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => moment(text),
        _ => None,
    }
}

fn moment(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).ok().or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("context")).unwrap();
        for (file, text) in files {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_that_is_not_there_is_nothing_and_an_empty_one_is_an_empty_incident() {
        assert!(read(Path::new("/there/is/none")).unwrap().is_none());
        let folder = folder(&[]);
        let told = read(folder.path()).unwrap().unwrap();
        assert_eq!((told.incident, told.notes), (Incident::default(), vec![]));
    }

    #[test]
    fn what_cannot_be_used_is_skipped_and_told() {
        let folder = folder(&[
            ("alert.json", r#"{"service":"cart","metric":"p99","fired_at":"2026-01-01T00:10:00Z","new_field":1}"#),
            ("metrics.csv", "timestamp,service,metric,value\n2026-01-01T00:00:00Z,cart,p99,5\nsoon,cart,p99,5\n2026-01-01T00:01:00Z,cart,p99,NaN\n"),
            ("logs.ndjson", "{\"timestamp\":\"2026-01-01T00:00:00Z\",\"service\":\"cart\",\"severity_text\":\"WARN\",\"msg\":\"slow\"}\nno json\n"),
            ("context/deploys.json", r#"[{"timestamp":"2026-01-01T00:05:00Z","service":"cart","commit_sha":"abc"},{"service":"cart"}]"#),
            ("status.json", r#"{"component":"mail","events":[{"timestamp":"2026-01-01T00:00:00Z","detail":"degraded"}]}"#),
            ("picture.png", "x"),
        ]);
        let told = read(folder.path()).unwrap().unwrap();
        assert_eq!(told.incident.alert.at, Some(1_767_226_200));
        assert_eq!(told.incident.series[0].samples, [(1_767_225_600, 5.0)]);
        assert!(told.incident.lines[0].severe && told.incident.lines.len() == 1);
        assert_eq!(told.incident.deploys.len(), 1);
        assert_eq!(told.incident.notices[0].text, "mail: degraded");
        assert_eq!(told.notes.len(), 4, "{:?}", told.notes);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_what_to_do() {
        for (file, text, says) in [
            ("traces.json", "{}", "list of objects"),
            ("patterns.json", "[", "mend it"),
            ("metrics.csv", "a,b\n1,2\n", "timestamp"),
            ("alert.json", "[]", "`fired_at`"),
        ] {
            let folder = folder(&[(file, text)]);
            let error = format!("{:#}", read(folder.path()).unwrap_err());
            assert!(error.contains(file) && error.contains(says), "{error}");
        }
    }
}
