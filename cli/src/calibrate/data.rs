//! Recorded cases with what people know about them. Only here are labels read: nothing that diagnoses ever sees one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use assent_core::diagnosis::Recording;
use serde::Deserialize;

use crate::diagnose::read::Folder;

/// Largest file of labels.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What was really the matter. Other fields, for example those that name a commit or a remedy, teach the tally nothing.
#[derive(Clone, Debug, Deserialize)]
pub struct Label {
    /// Which case.
    pub case: String,
    /// The services at fault; none in a quiet window.
    #[serde(default)]
    pub root: BTreeSet<String>,
    /// Of which kind, where that is known.
    #[serde(default)]
    pub domain: Option<String>,
    /// What was done to them.
    #[serde(default)]
    pub fault: String,
}

/// A case with its label.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The folder, by its last name.
    pub folder: String,
    /// The application. One that is not named is its folder's own.
    pub application: String,
    /// What was recorded.
    pub recording: Recording,
    /// What was the matter.
    pub label: Label,
    /// How long reading took.
    pub reading: Duration,
}

/// The labelled cases of all folders, and what a reader of figures should know. Of each folder these kinds of data are read (all, if
/// none is named).
///
/// # Errors
/// When a folder cannot be read, or has no labels.
pub fn read(folders: &[PathBuf], only: &[String]) -> anyhow::Result<(Vec<Labelled>, Vec<String>)> {
    let (mut cases, mut notes) = (Vec::new(), Vec::new());
    for root in folders {
        let name = root.canonicalize().unwrap_or_else(|_| root.clone()).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        anyhow::ensure!(!cases.iter().any(|case: &Labelled| case.folder == name), "two folders are named `{name}`");
        let mut labels = labels(root)?;
        let mut folder = Folder::open(root, only)?;
        for case in folder.cases()? {
            let Some(label) = labels.remove(&case.case) else {
                notes.push(format!("{name}: case `{}` has no label and is left out", case.case));
                continue;
            };
            let began = Instant::now();
            let recording = folder.recording(&case)?;
            let application = case.app.clone().unwrap_or_else(|| name.clone());
            cases.push(Labelled { folder: name.clone(), application, recording, label, reading: began.elapsed() });
        }
        notes.extend(labels.into_keys().map(|case| format!("{name}: label `{case}` has no case and is left out")));
        notes.extend(folder.notes().map(|note| format!("{name}: {note}")));
    }
    Ok((cases, notes))
}

fn labels(root: &Path) -> anyhow::Result<BTreeMap<String, Label>> {
    let path = root.join("labels.jsonl");
    let length = std::fs::metadata(&path).with_context(|| format!("read `{}`: only labelled cases can teach", path.display()))?.len();
    anyhow::ensure!(length <= MAX_BYTES, "`{}` has {length} bytes, and at most {MAX_BYTES} are read", path.display());
    let text = std::fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
    let mut labels = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let label: Label = serde_json::from_str(line).with_context(|| format!("`{}` line {}", path.display(), number + 1))?;
        anyhow::ensure!(!labels.contains_key(&label.case), "`{}` line {}: `{}` is labelled twice", path.display(), number + 1, label.case);
        labels.insert(label.case.clone(), label);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(labels: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cases.jsonl"), "{\"case\": \"a\", \"alert_ts\": 60, \"app\": \"shop\"}\n{\"case\": \"b\", \"alert_ts\": 60}\n")
            .unwrap();
        std::fs::write(folder.path().join("labels.jsonl"), labels).unwrap();
        folder
    }

    fn read_one(folder: &tempfile::TempDir) -> anyhow::Result<(Vec<Labelled>, Vec<String>)> {
        read(&[folder.path().to_owned()], &[])
    }

    #[test]
    fn cases_and_labels_are_joined_by_name_and_what_is_left_over_is_said() {
        let labels = "{\"case\": \"a\", \"root\": [\"web\"], \"domain\": \"compute\", \"fault\": \"cpu\", \"commit\": \"x\"}\n\n{\"case\": \"c\"}\n";
        let (cases, notes) = read_one(&folder(labels)).unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!((cases[0].application.as_str(), cases[0].label.root.first().map(String::as_str)), ("shop", Some("web")));
        assert!(notes.len() == 2 && notes[0].contains("case `b`") && notes[1].contains("label `c`"), "{notes:?}");
    }

    #[test]
    fn what_is_no_label_is_named_with_its_line() {
        for (labels, expected) in [("{\"case\": \"a\"}\nnonsense", "line 2"), ("{\"case\": \"a\"}\n{\"case\": \"a\"}", "labelled twice")] {
            let error = format!("{:#}", read_one(&folder(labels)).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let bare = tempfile::tempdir().unwrap();
        std::fs::write(bare.path().join("cases.jsonl"), "").unwrap();
        assert!(format!("{:#}", read_one(&bare).unwrap_err()).contains("labels.jsonl"));
    }
}
