//! The directory of one cluster: claimed, recorded, swept and removed.
//!
//! Every cluster has one directory under one per-user root. A lock in it, held by the owning process, says whether
//! somebody still uses it; the kernel lets go of the lock however that process ends. So each start can first remove what
//! aborted runs left, and nobody removes what is in use. This module knows directories and locks; what else a node leaves
//! behind (mounts, namespaces, control groups) is `remains`' business.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    process, remains, sysctl,
};

/// How many nodes can be up at once; each has an address range of its own.
const NODES: u8 = 64;

/// How long the directory of a failed run is kept when its logs were asked for.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// What is recorded of a cluster, for those who come later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The name its owner gave it.
    pub(crate) name: String,
    /// Number of the node's address range; none for a cluster without a node.
    pub(crate) index: Option<u8>,
    /// Address of the API server.
    pub(crate) url: String,
    /// Whether it was left running on purpose.
    pub(crate) detached: bool,
}

/// A cluster's directory, and the claim on it.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) dir: PathBuf,
    pub(crate) state: State,
    /// Held while this process owns the cluster.
    lock: Option<File>,
}

// === impl Scratch ===

impl Scratch {
    /// Sweeps, then claims a fresh directory `unique` for cluster `name`; `node` asks for an address range too.
    pub(crate) fn claim(name: &str, unique: &str, node: bool) -> Result<Self> {
        check_name(name)?;
        let root = root()?;
        let _guard = guard(&root)?;
        sweep(&root)?;
        let dir = root.join(unique);
        if dir.exists() {
            if !is_free(&dir)? || is_up(&dir) {
                return Err(Error::InUse { name: name.to_owned(), dir });
            }
            remains::remove(&dir, false)?;
        }
        let index = if node {
            sysctl::remember(&root)?;
            Some(free_index(&root)?)
        } else {
            None
        };
        for part in ["pids", "logs", "pki"] {
            let path = dir.join(part);
            private_dir(&path)?;
        }
        let lock = open_lock(&dir)?;
        lock.try_lock().map_err(|_| Error::InUse { name: name.to_owned(), dir: dir.clone() })?;
        let state = State { name: name.to_owned(), index, url: String::new(), detached: false };
        let scratch = Self { dir, state, lock: Some(lock) };
        scratch.save()?;
        Ok(scratch)
    }

    /// The directory of a cluster that was left running, without a claim on it.
    pub(crate) fn find(name: &str) -> Result<Self> {
        check_name(name)?;
        let dir = root()?.join(name);
        match read_state(&dir)? {
            Some(state) if state.detached && process::any_alive(&dir) => Ok(Self { dir, state, lock: None }),
            _ => Err(Error::Absent { name: name.to_owned() }),
        }
    }

    /// Writes the record.
    pub(crate) fn save(&self) -> Result<()> {
        let path = self.dir.join("state.json");
        let text = serde_json::to_string_pretty(&self.state).map_err(|source| Error::State { path: path.clone(), source })?;
        let fresh = self.dir.join("state.json.new");
        fs::write(&fresh, text).map_err(Error::file("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(Error::file("move into place", path))
    }

    /// Whether this process owns the cluster, and so has to remove it.
    pub(crate) fn is_owned(&self) -> bool {
        self.lock.is_some()
    }

    /// Gives the claim up and leaves the cluster running.
    pub(crate) fn detach(&mut self) -> Result<()> {
        self.state.detached = true;
        self.save()?;
        self.lock = None;
        Ok(())
    }

    /// Removes the cluster; with `keep`, all but its directory.
    pub(crate) fn remove(&mut self, keep: bool) -> Result<()> {
        let removed = remains::remove(&self.dir, keep);
        self.lock = None;
        removed?;
        let root = root()?;
        let _guard = guard(&root)?;
        settle(&root)
    }
}

/// Removes the cluster `name` whatever state it is in, unless another live process owns it. Absence is fine.
pub(crate) fn remove(name: &str) -> Result<bool> {
    check_name(name)?;
    let root = root()?;
    let _guard = guard(&root)?;
    let dir = root.join(name);
    if !dir.exists() {
        return Ok(false);
    }
    if !is_free(&dir)? {
        return Err(Error::InUse { name: name.to_owned(), dir });
    }
    remains::remove(&dir, false)?;
    settle(&root)?;
    Ok(true)
}

/// Puts the machine's settings back when no node is left.
fn settle(root: &Path) -> Result<()> {
    for dir in directories(root)? {
        if !is_kept(&dir) && read_state(&dir)?.is_some_and(|state| state.index.is_some()) {
            return Ok(());
        }
    }
    sysctl::restore(root)
}

/// The record in `dir`, if there is one.
pub(crate) fn read_state(dir: &Path) -> Result<Option<State>> {
    let path = dir.join("state.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::State { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// The directory under which every cluster of this user lives: in the machine's folder for temporary files.
fn root() -> Result<PathBuf> {
    let user = nix::unistd::geteuid();
    let root = std::env::temp_dir().join(format!("assent-cluster-{user}"));
    private_dir(&root)?;
    let metadata = fs::symlink_metadata(&root).map_err(Error::file("look at", &root))?;
    // The name can be guessed, and keys are written below: it must be ours and a folder, not somebody's link.
    if !metadata.is_dir() || metadata.uid() != user.as_raw() {
        let error = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "belongs to another user");
        return Err(Error::file("use", root)(error));
    }
    Ok(root)
}

fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("create", path))
}

/// Held while directories are swept, created and claimed, so that nobody sweeps what is just being claimed.
fn guard(root: &Path) -> Result<File> {
    let path = root.join(".lock");
    let file = File::create(&path).map_err(Error::file("create", &path))?;
    file.lock().map_err(Error::file("lock", path))?;
    Ok(file)
}

fn sweep(root: &Path) -> Result<()> {
    for dir in directories(root)? {
        if is_free(&dir)? && !is_up(&dir) && !is_kept(&dir) {
            tracing::info!(dir = %dir.display(), "removing what an aborted run left");
            remains::remove(&dir, false)?;
        }
    }
    Ok(())
}

fn directories(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root).map_err(Error::file("list", root))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

fn open_lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::file("open", path))
}

/// Whether no live process owns the cluster in `dir`.
fn is_free(dir: &Path) -> Result<bool> {
    let path = dir.join("lock");
    // Opened as it is, never made: its owner may be removing the directory this very moment.
    let lock = match File::options().write(true).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::file("lock", dir)(error)),
    }
}

/// Whether the cluster in `dir` was left running on purpose and does run.
fn is_up(dir: &Path) -> bool {
    matches!(read_state(dir), Ok(Some(state)) if state.detached) && process::any_alive(dir)
}

fn is_kept(dir: &Path) -> bool {
    let kept = fs::metadata(dir.join("kept")).and_then(|metadata| metadata.modified());
    kept.is_ok_and(|since| since.elapsed().is_ok_and(|age| age < KEEP))
}

/// The lowest number that no recorded cluster and no network device on this machine uses.
fn free_index(root: &Path) -> Result<u8> {
    let mut used = Vec::new();
    for dir in directories(root)? {
        used.extend(read_state(&dir)?.filter(|_| !is_kept(&dir)).and_then(|state| state.index));
    }
    let device = |index: u8| Path::new("/sys/class/net").join(remains::host_device(index)).exists();
    (0..NODES).find(|index| !used.contains(index) && !device(*index)).ok_or(Error::Full { count: usize::from(NODES) })
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=24).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits { Ok(()) } else { Err(Error::Name { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_do_not_fit_a_device_or_a_path() {
        for good in ["a", "assent", "gate-2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "2a", "A", "a/b", "..", "a.b", "averyveryverylongclustername"] {
            assert!(matches!(check_name(bad), Err(Error::Name { .. })), "{bad}");
        }
    }

    /// Each claim sweeps what others are removing at that moment.
    #[test]
    fn many_come_and_go_at_once() {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for turn in 0..50 {
                        let unique = format!("race-{}-{thread}-{turn}", std::process::id());
                        let mut scratch = Scratch::claim("race", &unique, false).unwrap();
                        scratch.remove(false).unwrap();
                        assert!(!scratch.dir.exists());
                    }
                });
            }
        });
    }
}
