//! `init`: writes an overlay that installs Assent with `kubectl apply -k`, in two stages: the gate first, and once it judges,
//! everything that must pass it. It makes the keys that live as long as the installation and asks no cluster for anything, so
//! the result can be read, changed and kept in git (without its secrets) before anything is applied.

mod certificates;
mod keys;
mod overlay;
mod slack;
mod sources;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueHint;

pub use overlay::{File, Settings, gate_digest};
pub use sources::Sources;

use crate::output::{bold, dim};

/// Directories of an overlay that hold nothing of the user's.
const REPLACED: [&str; 3] = ["base", "crds", "optional"];
/// Its presence says that the directory is an overlay of ours.
const MARKER: &str = "gate/secrets.yaml";

/// Flags of `init`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent init assent
  kubectl apply -k assent/gate
  kubectl -n assent-system rollout status deployment/assent-identity deployment/assent-gate
  kubectl apply -k assent

  kubectl assent init assent --force    refresh the manifests after an upgrade; keys and roster are kept

`secrets.yaml` and `gate/secrets.yaml` hold private keys: keep them out of git (the overlay's .gitignore does).")]
pub struct InitArgs {
    /// Directory to write; it must not exist yet, or be empty.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// Refresh an overlay that `init` wrote before: its manifests are replaced, its keys and roster are kept.
    #[arg(long)]
    pub force: bool,
    /// What to install.
    #[command(flatten)]
    pub settings: Settings,
}

pub(crate) fn run(args: &InitArgs) -> anyhow::Result<()> {
    write(args)?;
    let dir = args.directory.display();
    anstream::println!("wrote {}", bold(&dir.to_string()));
    anstream::println!("{}", dim("the gate first; our own objects when it judges:"));
    anstream::println!("  kubectl apply -k {dir}/gate");
    anstream::println!("  kubectl -n assent-system rollout status deployment/assent-identity");
    anstream::println!("  kubectl -n assent-system rollout status deployment/assent-gate");
    anstream::println!("  kubectl apply -k {dir}");
    Ok(())
}

/// Writes the overlay that `args` describes.
///
/// # Errors
/// If the directory holds something already and `force` was not given, or holds something that is no overlay of ours.
pub fn write(args: &InitArgs) -> anyhow::Result<()> {
    let dir = &args.directory;
    let occupied = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    let known = dir.join(MARKER).is_file();
    if occupied && !args.force {
        bail!(
            "`{}` exists and is not empty: choose another directory, or pass --force to refresh the overlay in it (its keys and roster are kept)",
            dir.display()
        );
    }
    if occupied && !known {
        bail!("`{}` is not an overlay that `init` wrote (it has no {MARKER}): choose another directory", dir.display());
    }
    let before = |path: &str| -> anyhow::Result<Option<String>> {
        let path = dir.join(path);
        if !path.exists() {
            return Ok(None);
        }
        fs::read_to_string(&path).map(Some).with_context(|| format!("read `{}`", path.display()))
    };
    let files = overlay::files(&args.settings, jiff::Timestamp::now(), before)?;
    if known {
        for name in REPLACED.iter().map(|name| dir.join(name)).filter(|path| path.is_dir()) {
            fs::remove_dir_all(&name).with_context(|| format!("remove `{}`", name.display()))?;
        }
    }
    files.iter().try_for_each(|file| put(dir, file))
}

fn put(dir: &Path, file: &File) -> anyhow::Result<()> {
    let path = dir.join(&file.path);
    let parent = path.parent().unwrap_or(dir);
    fs::create_dir_all(parent).with_context(|| format!("create `{}`", parent.display()))?;
    let mode = if file.secret { 0o600 } else { 0o644 };
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options.open(&path).and_then(|mut open| open.write_all(file.text.as_bytes()));
    written.with_context(|| format!("write `{}`", path.display()))
}
