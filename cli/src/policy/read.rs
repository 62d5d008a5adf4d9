//! Guardrails, bindings and cases from files. Bounded before it is parsed; what is of another kind is passed over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use assent_policies::cases::{File, Folder};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
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
    /// Name and spec of each binding.
    pub(super) bindings: Vec<(String, Value)>,
    /// Cases by the guardrail that they are named after, with what their folder shares.
    pub(super) cases: Vec<Suite>,
}

/// The cases of one guardrail.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) guardrail: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) folder: Folder,
}

/// Reads files and folders.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Sources> {
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
    let mut sources = Sources::default();
    let mut shared: BTreeMap<PathBuf, Folder> = BTreeMap::new();
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == GIVEN {
            continue;
        }
        let Some(guardrail) = name.strip_suffix(CASES) else {
            sources.objects(path)?;
            continue;
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        if !shared.contains_key(folder) {
            let given = folder.join(GIVEN);
            shared.insert(folder.to_owned(), if given.is_file() { yaml(&given)? } else { Folder::default() });
        }
        let folder = shared.get(folder).cloned().unwrap_or_default();
        sources.cases.push(Suite { guardrail: guardrail.to_owned(), path: path.clone(), file: yaml(path)?, folder });
    }
    Ok(sources)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let length = path.metadata().with_context(|| format!("read {}", path.display()))?.len();
    ensure!(length <= MAX_FILE, "{}: {length} bytes are more than the {MAX_FILE} that are read", path.display());
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn yaml<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    serde_yaml_ng::from_str(&text(path)?).with_context(|| format!("{}", path.display()))
}

// === impl Sources ===

impl Sources {
    fn objects(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = text(path)?;
        for (number, document) in serde_yaml_ng::Deserializer::from_str(&text).enumerate() {
            let object = Value::deserialize(document).with_context(|| format!("{}, document {}", path.display(), number + 1))?;
            let place = || format!("{}, document {}", path.display(), number + 1);
            let into = match object["kind"].as_str().unwrap_or_default() {
                "Guardrail" | "ValidatingAdmissionPolicy" => &mut self.policies,
                "GuardrailBinding" | "ValidatingAdmissionPolicyBinding" => &mut self.bindings,
                _ => continue,
            };
            let Some(name) = object.pointer("/metadata/name").and_then(Value::as_str) else { bail!("{} has no name", place()) };
            ensure!(into.iter().all(|(known, _)| known != name), "{}: there is another `{name}`", place());
            into.push((name.to_owned(), object["spec"].clone()));
        }
        Ok(())
    }
}
