//! The one Blueprint of some files that a command is about, below the ClusterBlueprints beside it.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use assent_api::facts::listed;
use assent_core::blueprint::{ClusterBlueprint, Effective, effective, read, read_cluster};
use assent_core::workload::Kind;
use serde_json::Value;

use crate::describe::plain;
use crate::policy::read::{MAX_FILE, documents, files};

/// Which files, and which Blueprint of theirs.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ChosenArgs {
    /// Files or folders with one Blueprint, and any ClusterBlueprints above it.
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Which Blueprint, where there are several.
    #[arg(long)]
    name: Option<String>,
}

/// A Blueprint, with what stands above it in the same files.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) namespace: String,
    pub(super) effective: Effective,
    /// Deployments in the same files.
    pub(super) workloads: Vec<Value>,
}

// === impl ChosenArgs ===

impl ChosenArgs {
    /// Reads them.
    pub(super) fn read(&self) -> anyhow::Result<Chosen> {
        let (mut services, mut above, mut workloads) = (Vec::new(), Vec::new(), Vec::new());
        for file in files(&self.files)? {
            for (place, object) in documents(&file, MAX_FILE)? {
                let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                let spec = object.get("spec").unwrap_or(&Value::Null);
                let wrong = |problems: Vec<_>| anyhow::anyhow!("{place}: {}", plain(&listed(&problems)));
                match text("/kind").as_str() {
                    "Blueprint" if self.name.as_ref().is_none_or(|name| *name == text("/metadata/name")) => {
                        services.push((text("/metadata/namespace"), read(spec).into_result().map_err(wrong)?));
                    }
                    "ClusterBlueprint" => above.push(read_cluster(&text("/metadata/name"), spec).into_result().map_err(wrong)?),
                    kind if Kind::named(kind).is_some() => workloads.push(object),
                    _ => {}
                }
            }
        }
        ensure!(services.len() <= 1, "there are {} Blueprints in these files; choose one with --name", services.len());
        let Some((namespace, service)) = services.pop() else { bail!("there is no such Blueprint in these files") };
        above.retain(|rules: &ClusterBlueprint| rules.concerns(&namespace));
        Ok(Chosen { namespace, effective: effective(&above, &service), workloads })
    }
}
