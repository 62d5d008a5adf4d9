//! GitOps objects that track the target, which of the changed fields are theirs, and which of those they leave to others.
//!
//! A field is theirs if their controller's field manager owns it in the target's `managedFields`. If a controller that tracks
//! the target for certain has no entry there at all (anybody who may edit the target may clear them), every changed field
//! counts as theirs. Marks on the target that name an object which is not in this cluster speak of a controller elsewhere:
//! nobody can see what it is told, so it corrects and leaves nothing.

mod argo;
mod fields;
mod flux;

use serde_json::Value;

use super::Sources;
use super::object::Object;
use crate::facts::{FactsError, GitOps};

/// What the owners are asked about.
struct Subject<'a> {
    /// The target.
    object: &'a Object<'a>,
    /// Its API group.
    group: &'a str,
    /// `action.changes`.
    changes: &'a [String],
    /// The target now, and the object after the write: where the items of lists are looked up.
    values: [&'a Value; 2],
}

/// One object that tracks the target.
struct Tracker<'a> {
    tool: &'static str,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    /// Whether it is certainly this target, and not one of the same name elsewhere.
    certain: bool,
    corrects: bool,
    /// Names of its controller's field managers.
    managers: &'static [&'static str],
    /// JSON pointers that it leaves to others, with all below them.
    leaves: Vec<String>,
}

pub(super) fn gitops(object: &Object<'_>, sources: &Sources<'_>, changes: &[String]) -> Result<Vec<GitOps>, FactsError> {
    let group = sources.target.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let subject = Subject { object, group, changes, values: [sources.workload, sources.new] };
    let mut owners = Vec::new();
    argo::trackers(&subject, sources.applications, &mut owners)?;
    flux::kustomizations(&subject, sources.kustomizations, &mut owners)?;
    flux::helm_releases(&subject, sources.helm_releases, &mut owners)?;
    owners.into_iter().map(|tracker| tracker.fact(&subject)).collect()
}

// === impl Subject ===

impl Subject<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.mark("labels", key)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.mark("annotations", key)
    }

    /// Whether a label or annotation has this value, in whatever case, as Flux reads its own.
    fn says(&self, key: &str, value: &str) -> bool {
        [self.label(key), self.annotation(key)].into_iter().flatten().any(|found| found.eq_ignore_ascii_case(value))
    }

    fn mark(&self, part: &str, key: &str) -> Option<&str> {
        self.object.value.get("metadata")?.get(part)?.get(key)?.as_str()
    }
}

// === impl Tracker ===

impl Tracker<'_> {
    fn fact(self, subject: &Subject<'_>) -> Result<GitOps, FactsError> {
        let entries = fields::of_managers(subject.object, self.managers)?;
        let theirs = |path: &&String| match entries.as_slice() {
            [] => self.certain,
            entries => entries.iter().any(|fields| fields::owns(fields, path, &subject.values)),
        };
        let contested: Vec<String> = subject.changes.iter().filter(theirs).cloned().collect();
        let left = |path: &&String| self.leaves.iter().any(|pointer| covers(pointer, path));
        let yields = contested.iter().filter(left).cloned().collect();
        Ok(GitOps {
            tool: self.tool.to_owned(),
            kind: self.kind.to_owned(),
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            corrects: self.corrects,
            contested,
            yields,
        })
    }
}

/// Whether `path` is what `pointer` names, or lies below it.
fn covers(pointer: &str, path: &str) -> bool {
    path.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
