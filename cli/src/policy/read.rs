//! Guardrails, bindings and cases from files. Bounded before it is parsed; what is of another kind is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use assent_policies::cases::{File, Folder};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest file that is read, in bytes.
pub(crate) const MAX_FILE: u64 = 1 << 20;
/// Most files that are read.
const MAX_FILES: usize = 10_000;
/// What a folder's cases share.
const GIVEN: &str = "given.yaml";
const CASES: &str = ".cases.yaml";

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Name and spec of each guardrail.
    pub(super) policies: Vec<(String, Value)>,
    /// Those of them that are of our own kind, which judges nobody but Assent.
    pub(super) guardrails: BTreeSet<String>,
    /// Name and spec of each binding.
    pub(super) bindings: Vec<(String, Value)>,
    /// Cases by the guardrail that they are named after, with what their folder shares.
    pub(super) cases: Vec<Suite>,
    /// Path and text of the file of each guardrail.
    files: BTreeMap<String, (PathBuf, Arc<str>)>,
    /// How many objects of other kinds there were.
    pub(super) others: usize,
}

/// The cases of one guardrail; they are read when they are asked for.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) guardrail: String,
    pub(super) path: PathBuf,
}

/// Files, and the YAML files of folders, in order.
pub(crate) fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
            for entry in entries {
                let path = entry.with_context(|| format!("list {}", path.display()))?.path();
                if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json") {
                    files.push(path);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    ensure!(files.len() <= MAX_FILES, "{} files are more than the {MAX_FILES} that are read at once", files.len());
    Ok(files)
}

/// The objects of a file, each with its place for messages; what is empty is passed over.
pub(crate) fn documents(path: &Path, most: u64) -> anyhow::Result<Vec<(String, Value)>> {
    parsed(path, &text(path, most)?)
}

fn parsed(path: &Path, text: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let mut documents = Vec::new();
    for (number, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let place = format!("{}, document {}", path.display(), number + 1);
        let object = Value::deserialize(document).with_context(|| place.clone())?;
        if !object.is_null() {
            documents.push((place, object));
        }
    }
    Ok(documents)
}

/// Reads files and folders.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Sources> {
    let files = files(paths)?;
    let mut sources = Sources::default();
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == GIVEN {
            continue;
        }
        let Some(guardrail) = name.strip_suffix(CASES) else {
            sources.objects(path)?;
            continue;
        };
        sources.cases.push(Suite { guardrail: guardrail.to_owned(), path: path.clone() });
    }
    Ok(sources)
}

impl Suite {
    /// The cases, with what their folder shares.
    pub(super) fn read(&self) -> anyhow::Result<(Folder, File)> {
        let given = self.path.parent().unwrap_or(Path::new(".")).join(GIVEN);
        let folder = if given.is_file() { yaml(&given)? } else { Folder::default() };
        Ok((folder, yaml(&self.path)?))
    }
}

fn text(path: &Path, most: u64) -> anyhow::Result<String> {
    let length = path.metadata().with_context(|| format!("read {}", path.display()))?.len();
    ensure!(length <= most, "{}: {length} bytes are more than the {most} that are read", path.display());
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn yaml<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    serde_yaml_ng::from_str(&text(path, MAX_FILE)?).with_context(|| format!("{}", path.display()))
}

// === impl Sources ===

impl Sources {
    /// The file of a guardrail.
    pub(super) fn place(&self, guardrail: &str) -> Option<(&Path, &str)> {
        self.files.get(guardrail).map(|(path, text)| (path.as_path(), &**text))
    }

    /// That something was found at all.
    pub(super) fn ensure_policies(&self, paths: &[PathBuf]) -> anyhow::Result<()> {
        let places = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let others = if self.others == 0 { String::new() } else { format!(" (but {} objects of other kinds)", self.others) };
        ensure!(
            !self.policies.is_empty(),
            "there is no Guardrail and no ValidatingAdmissionPolicy in {places}{others}; of folders, the .yaml, .yml and .json files directly in them are read"
        );
        Ok(())
    }

    fn objects(&mut self, path: &Path) -> anyhow::Result<()> {
        let text: Arc<str> = text(path, MAX_FILE)?.into();
        for (place, object) in parsed(path, &text)? {
            let into = match object["kind"].as_str().unwrap_or_default() {
                "Guardrail" | "ValidatingAdmissionPolicy" => &mut self.policies,
                "GuardrailBinding" | "ValidatingAdmissionPolicyBinding" => &mut self.bindings,
                _ => {
                    self.others += 1;
                    continue;
                }
            };
            let Some(name) = object.pointer("/metadata/name").and_then(Value::as_str) else { bail!("{place} has no name") };
            ensure!(into.iter().all(|(known, _)| known != name), "{place}: there is another `{name}`");
            into.push((name.to_owned(), object["spec"].clone()));
            if object["kind"] == "Guardrail" || object["kind"] == "ValidatingAdmissionPolicy" {
                self.files.insert(name.to_owned(), (path.to_owned(), Arc::clone(&text)));
            }
            if object["kind"] == "Guardrail" {
                self.guardrails.insert(name.to_owned());
            }
        }
        Ok(())
    }
}
