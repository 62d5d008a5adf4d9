//! What a cluster leaves on the machine, and its removal in the only order that works.
//!
//! Processes first (recorded servers, then everything in the cluster's control group: shims and containers), mounts
//! before folders, the network namespace last. Every step accepts that there is nothing to do, so the same function cleans
//! up after a good run, a failed start and a killed process.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::mount::{MntFlags, umount2};

use crate::{
    error::{Error, Result},
    process, scratch,
};

/// The root-namespace end of a node's link; 15 characters at most.
pub(crate) fn host_device(index: u8) -> String {
    format!("assent{index}")
}

/// The node's end of the link.
pub(crate) fn node_device(index: u8) -> String {
    format!("assent{index}n")
}

/// Network namespace, control group and CNI network of the cluster `name`.
pub(crate) fn full_name(name: &str) -> String {
    format!("assent-{name}")
}

/// Removes everything that belongs to the cluster in `dir`; with `keep`, the directory itself stays for its logs.
pub(crate) fn remove(dir: &Path, keep: bool) -> Result<()> {
    process::kill_recorded(dir);
    let node = scratch::read_state(dir).ok().flatten().filter(|state| state.index.is_some());
    let name = node.map(|state| full_name(&state.name));
    if let Some(name) = &name {
        for group in cgroups(name) {
            empty(&group);
        }
    }
    unmount(dir)?;
    if let Some(name) = &name {
        for group in cgroups(name) {
            remove_cgroup(&group);
        }
        remove_shim_sockets(dir);
        remove_files("/var/lib/cni/results", |path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-"))));
        remove_files("/var/log/containers", |path| fs::read_link(path).is_ok_and(|target| target.starts_with(dir)));
        // Takes both ends of the link and the routes through it along.
        if Path::new("/run/netns").join(name).exists() {
            process::run("ip", &["netns", "delete", name])?;
        }
    }
    if keep {
        let marker = dir.join("kept");
        return fs::write(&marker, "").map_err(Error::file("write", marker));
    }
    match fs::remove_dir_all(dir) {
        // Two may remove the same: its owner, and somebody who found it unlocked.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// The cluster's folder in every control group hierarchy of the machine: one for version 2, one per controller for
/// version 1.
pub(crate) fn cgroups(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (place, kind) = (fields.nth(1)?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(place).join(name))
        })
        .collect()
}

/// Kills what is in `group` and below until nothing is, some seconds at most.
fn empty(group: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut pids = Vec::new();
        collect(group, &mut pids);
        if pids.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(group = %group.display(), ?pids, "processes of the node do not end");
            return;
        }
        pids.into_iter().for_each(process::kill_pid);
        // Bounded poll: these are not our children, and version 1 has no event for an empty group.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn collect(group: &Path, pids: &mut Vec<u32>) {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in subgroups(group) {
        collect(&child, pids);
    }
}

fn subgroups(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Removes `group` from the leaves up; a dying process can hold one for a moment, so tries for a second.
fn remove_cgroup(group: &Path) {
    for child in subgroups(group) {
        remove_cgroup(&child);
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    while let Err(error) = fs::remove_dir(group) {
        if error.kind() == std::io::ErrorKind::NotFound {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(group = %group.display(), %error, "could not remove control group");
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Unmounts everything below `dir`, innermost first, and makes sure of it: removing a folder must never reach through a
/// mount.
fn unmount(dir: &Path) -> Result<()> {
    for place in mounts_below(dir)?.iter().rev() {
        if let Err(error) = umount2(place, MntFlags::MNT_DETACH) {
            tracing::debug!(place = %place.display(), %error, "could not unmount");
        }
    }
    match mounts_below(dir)?.first() {
        None => Ok(()),
        Some(place) => Err(Error::file("unmount", place)(std::io::Error::new(std::io::ErrorKind::ResourceBusy, "still mounted"))),
    }
}

fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let dir = match fs::canonicalize(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(Error::file("resolve", dir))?,
    };
    let table = "/proc/self/mountinfo";
    let text = fs::read_to_string(table).map_err(Error::file("read", table))?;
    let places = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(places.filter(|place| place.starts_with(&dir)).collect())
}

/// Undoes the kernel's octal escapes for the characters that would break its table.
fn unescape(place: &str) -> PathBuf {
    let plain = place.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    PathBuf::from(plain)
}

/// Shims put their sockets into a folder of the machine and remove them only when they end in peace.
fn remove_shim_sockets(dir: &Path) {
    let tasks = dir.join("containerd/state/io.containerd.runtime.v2.task/k8s.io");
    for task in subgroups(&tasks) {
        let address = fs::read_to_string(task.join("address")).unwrap_or_default();
        let Some(socket) = address.trim().strip_prefix("unix://") else {
            continue;
        };
        if socket.starts_with("/run/containerd/s/") && fs::remove_file(socket).is_err() {
            tracing::debug!(socket, "shim socket was gone already");
        }
    }
}

fn remove_files(folder: &str, ours: impl Fn(&Path) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if ours(&path)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "could not remove file");
        }
    }
}
