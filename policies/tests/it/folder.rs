//! The library as it lies on disk: policies, cases, and the list that the documentation holds of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use assent_policies::cases::{File, Folder};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One policy with its binding.
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) object: Value,
    pub(crate) spec: Value,
    pub(crate) binding: Value,
}

/// The folder `library/`.
pub(crate) struct Library {
    /// By name.
    pub(crate) policies: Vec<Policy>,
    /// By name.
    pub(crate) files: Vec<(String, File)>,
    pub(crate) shared: Folder,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn yaml<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `docs/guardrails.md` with its list made anew, between the two marks.
pub(crate) fn document(text: &str, library: &Library) -> String {
    const BEGIN: &str = "<!-- library: begin, written by the test of the library -->\n";
    const END: &str = "<!-- library: end -->";
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut list = String::from("| guardrail | severity | | reads `Facts` | may be exempt | cases |\n|---|---|---|---|---|---|\n");
    for policy in &library.policies {
        let mark = |yes: bool| if yes { "yes" } else { "" };
        let cases = library.files.iter().find(|(name, _)| *name == policy.name).map_or(0, |(_, file)| file.cases.len());
        let (name, severity, title) = (&policy.name, policy.annotation("severity"), policy.annotation("title"));
        let (facts, exempt) = (mark(policy.is_bound_to_facts()), mark(policy.text.contains("params.exemptions")));
        writeln!(list, "| [`{name}`](../policies/library/{name}.yaml) | {severity} | {title} | {facts} | {exempt} | {cases} |").unwrap();
    }
    format!("{before}{BEGIN}{list}{END}{after}")
}

// === impl Library ===

impl Library {
    pub(crate) fn read() -> Self {
        let folder = root().join("library");
        let mut names: Vec<String> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let (mut policies, mut files) = (Vec::new(), Vec::new());
        for name in names {
            if let Some(guardrail) = name.strip_suffix(".cases.yaml") {
                files.push((guardrail.to_owned(), yaml(&folder.join(&name))));
            } else if let Some(guardrail) = name.strip_suffix(".yaml").filter(|name| *name != "given") {
                policies.push(Policy::read(&folder.join(&name), guardrail));
            }
        }
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        files.sort_by(|a: &(String, File), b| a.0.cmp(&b.0));
        Self { policies, files, shared: yaml(&folder.join("given.yaml")) }
    }

    pub(crate) fn policy(&self, name: &str) -> &Policy {
        self.policies.iter().find(|policy| policy.name == name).unwrap_or_else(|| panic!("no policy `{name}`"))
    }
}

// === impl Policy ===

impl Policy {
    fn read(path: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap()).collect();
        let [object, binding] = documents.try_into().unwrap_or_else(|_| panic!("{name}: a Guardrail and its GuardrailBinding"));
        for (document, kind) in [(&object, "Guardrail"), (&binding, "GuardrailBinding")] {
            assert_eq!((&document["apiVersion"], &document["kind"]), (&Value::from("assent.dev/v1alpha1"), &Value::from(kind)), "{name}");
            assert_eq!(document["metadata"]["name"], name);
        }
        Self { name: name.to_owned(), text, spec: object["spec"].clone(), object, binding }
    }

    pub(crate) fn annotation(&self, key: &str) -> &str {
        self.object["metadata"]["annotations"][format!("assent.dev/{key}")].as_str().unwrap_or_default()
    }

    pub(crate) fn is_bound_to_facts(&self) -> bool {
        self.spec["paramKind"]["kind"] == "Facts"
    }

    pub(crate) fn validations(&self) -> &[Value] {
        self.spec["validations"].as_array().unwrap()
    }
}
