//! Params that guardrails want, read as their bindings name them. `Facts` are ours and computed; any other kind is found by
//! discovery and read with the judge's own rights.

use assent_core::refusal::Refusal;
use assent_policies::spec::ParamKind;
use assent_policies::{ParamScope, ParamTable, WantedParams, facts as shape};
use serde_json::Value;

use crate::authority::Authority;
use crate::judging::Subject;
use crate::reader::Live;

/// What a binding wants, owned, so that it can be read while nothing of the set is borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    kind: ParamKind,
    namespace: Option<String>,
    name: Option<String>,
}

impl From<&WantedParams<'_>> for Wanted {
    fn from(wanted: &WantedParams<'_>) -> Self {
        Self { kind: wanted.kind.clone(), namespace: wanted.namespace.map(str::to_owned), name: wanted.name.map(str::to_owned) }
    }
}

/// Where a kind is served.
struct Served {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    root: String,
    plural: String,
    scope: ParamScope,
}

fn is_facts(kind: &ParamKind) -> bool {
    kind.api_version == shape::API_VERSION && kind.kind == shape::KIND
}

/// What goes into a path must be a name and nothing else.
fn plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':'))
}

// === impl Live ===

impl Live {
    /// A table of all that is wanted, and the `Facts` in it. What cannot be read fails in the table, and with it whoever reads it.
    pub(crate) async fn params(
        &self,
        authority: &Authority,
        request_namespace: &str,
        wanted: &[Wanted],
        subject: Result<&Subject<'_>, &str>,
    ) -> (ParamTable, Option<Value>) {
        let mut table = ParamTable::default();
        let mut told = None;
        for Wanted { kind, namespace, name } in wanted {
            if is_facts(kind) {
                let facts = match subject {
                    Ok(subject) => subject.facts.get_or_init(|| self.facts(authority, subject)).await.clone(),
                    Err(reason) => Err(reason.to_owned()),
                };
                told = facts.as_ref().ok().cloned();
                put(&mut table, kind, ParamScope::Cluster, facts.map(|facts| vec![facts]));
                continue;
            }
            let served = match self.served(kind).await {
                Ok(Some(served)) => served,
                // The kind stays unknown, which is what an API server says of a kind that is not served.
                Ok(None) => continue,
                Err(refusal) => {
                    table.fail(kind.clone(), ParamScope::Cluster, refusal.reason);
                    continue;
                }
            };
            let namespace = match served.scope {
                ParamScope::Cluster => None,
                ParamScope::Namespaced => Some(namespace.as_deref().unwrap_or(request_namespace)),
            };
            let read = self.read(&served, namespace, name.as_deref()).await.map_err(|refusal| refusal.reason);
            put(&mut table, kind, served.scope, read);
        }
        (table, told)
    }

    async fn read(&self, served: &Served, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<Value>, Refusal> {
        let place = match namespace {
            // Not to be read, and the engine says so by itself.
            Some(namespace) if !plain(namespace) => return Ok(Vec::new()),
            Some(namespace) => format!("/namespaces/{namespace}"),
            None => String::new(),
        };
        let path = format!("{}{place}/{}", served.root, served.plural);
        match name {
            Some(name) if !plain(name) => Ok(Vec::new()),
            Some(name) => Ok(self.object(&format!("{path}/{name}")).await?.into_iter().collect()),
            None => Ok(self.items(&path).await?.unwrap_or_default()),
        }
    }

    /// Where a kind is served; `None` when it is not.
    async fn served(&self, kind: &ParamKind) -> Result<Option<Served>, Refusal> {
        let root = match kind.api_version.split_once('/') {
            None if plain(&kind.api_version) => format!("/api/{}", kind.api_version),
            Some((group, version)) if plain(group) && plain(version) => format!("/apis/{group}/{version}"),
            _ => return Ok(None),
        };
        let Some(list) = self.object(&root).await? else { return Ok(None) };
        let text = |resource: &Value, field: &str| resource.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let resources = list.get("resources").and_then(Value::as_array);
        let found = resources.into_iter().flatten().find(|resource| text(resource, "kind") == kind.kind && !text(resource, "name").contains('/'));
        Ok(found.map(|resource| {
            let namespaced = resource.get("namespaced").and_then(Value::as_bool).unwrap_or_default();
            Served { root, plural: text(resource, "name"), scope: if namespaced { ParamScope::Namespaced } else { ParamScope::Cluster } }
        }))
    }
}

fn put(table: &mut ParamTable, kind: &ParamKind, scope: ParamScope, read: Result<Vec<Value>, String>) {
    match read {
        Ok(objects) => {
            table.know(kind.clone(), scope);
            for object in objects {
                table.insert(kind, object);
            }
        }
        Err(reason) => table.fail(kind.clone(), scope, reason),
    }
}
