//! The sidecar's own cgroup, of either version: throttling, memory and pressure.
//!
//! It speaks of the sidecar's container and of nothing else: a cgroup namespace shows no other, and the application's
//! throttling is for kubelets to tell.

use std::path::{Path, PathBuf};

use super::{pressure, read};

/// Counts since the container started, and memory as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cgroup {
    pub(crate) throttled_us: Option<u64>,
    pub(crate) throttled_periods: Option<u64>,
    pub(crate) memory: Option<u64>,
    /// None without a limit.
    pub(crate) memory_limit: Option<u64>,
    /// Times that memory had to be reclaimed at a limit.
    pub(crate) memory_reclaims: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
    /// Processor, memory, disk: the second version only.
    pub(crate) pressure: [Option<u32>; 3],
}

// === impl Cgroup ===

impl Cgroup {
    /// Reads the cgroup that `membership` (`/proc/self/cgroup`) names below `root`.
    pub(super) fn look(root: &Path, membership: &str) -> Self {
        if root.join("cgroup.controllers").exists() { Self::second(&place(root, membership, "")) } else { Self::first(root, membership) }
    }

    fn second(at: &Path) -> Self {
        let file = |name: &str| read(&at.join(name));
        let (cpu, events) = (file("cpu.stat").unwrap_or_default(), file("memory.events").unwrap_or_default());
        Self {
            throttled_us: field(&cpu, "throttled_usec"),
            throttled_periods: field(&cpu, "nr_throttled"),
            memory: file("memory.current").as_deref().and_then(number),
            // The word `max` stands for no limit.
            memory_limit: file("memory.max").as_deref().and_then(number),
            memory_reclaims: field(&events, "max").zip(field(&events, "high")).map(|(max, high)| max.saturating_add(high)),
            oom_kills: field(&events, "oom_kill"),
            pressure: ["cpu.pressure", "memory.pressure", "io.pressure"].map(|name| file(name).as_deref().and_then(pressure::some_avg10)),
        }
    }

    fn first(root: &Path, membership: &str) -> Self {
        let file = |controller: &str, name: &str| read(&place(&root.join(controller), membership, controller).join(name));
        let cpu = file("cpu", "cpu.stat").unwrap_or_default();
        let memory = |name| file("memory", name).as_deref().and_then(number);
        Self {
            // Nanoseconds there.
            throttled_us: field(&cpu, "throttled_time").map(|time| time / 1000),
            throttled_periods: field(&cpu, "nr_throttled"),
            memory: memory("memory.usage_in_bytes"),
            // No limit is the largest number of whole pages.
            memory_limit: memory("memory.limit_in_bytes").filter(|limit| *limit < 1 << 62),
            memory_reclaims: memory("memory.failcnt"),
            oom_kills: file("memory", "memory.oom_control").and_then(|text| field(&text, "oom_kill")),
            pressure: [None; 3],
        }
    }
}

/// Where the cgroup is: at its path if that can be seen, else at the mount itself, as in a container.
fn place(mount: &Path, membership: &str, controller: &str) -> PathBuf {
    let path = membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        // The second version's line names no controller.
        controllers.split(',').any(|name| name == controller).then(|| path.trim_start_matches('/'))
    });
    let path = path.filter(|path| !path.split('/').any(|part| part == "..")).map(|path| mount.join(path));
    path.filter(|path| path.is_dir()).unwrap_or_else(|| mount.to_owned())
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn reads_the_second_version_at_its_own_path() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("cgroup.controllers", "cpu memory\n"),
                ("memory.current", "1\n"),
                ("pod/me/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 77\n"),
                ("pod/me/memory.current", "5242880\n"),
                ("pod/me/memory.max", "134217728\n"),
                ("pod/me/memory.events", "low 0\nhigh 2\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n"),
                ("pod/me/cpu.pressure", "some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00\n"),
            ],
        );
        let cgroup = Cgroup::look(root.path(), "0::/pod/me\n");
        let expected = Cgroup {
            throttled_us: Some(77),
            throttled_periods: Some(3),
            memory: Some(5_242_880),
            memory_limit: Some(134_217_728),
            memory_reclaims: Some(5),
            oom_kills: Some(1),
            pressure: [Some(123_400), None, None],
        };
        assert_eq!(cgroup, expected);
        write(root.path(), &[("pod/me/memory.max", "max\n")]);
        assert_eq!(Cgroup::look(root.path(), "0::/pod/me\n"), Cgroup { memory_limit: None, ..expected });
        // In a container the path is the host's, and the mount is the cgroup itself; so is one that leads out of it.
        for elsewhere in ["0::/kubepods/x\n", "0::/\n", "0::/../pod/me\n", ""] {
            assert_eq!(Cgroup::look(root.path(), elsewhere), Cgroup { memory: Some(1), ..Cgroup::default() }, "{elsewhere}");
        }
    }

    #[test]
    fn reads_the_first_version_by_controller() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("cpu/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 9000\n"),
                ("memory/here/memory.usage_in_bytes", "4096\n"),
                ("memory/here/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/here/memory.failcnt", "6\n"),
                ("memory/here/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ],
        );
        let cgroup = Cgroup::look(root.path(), "4:memory:/here\n2:cpu,cpuacct:/kubepods/x\n0::/\n");
        let memory = Cgroup { memory: Some(4096), memory_reclaims: Some(6), oom_kills: Some(1), ..Cgroup::default() };
        assert_eq!(cgroup, Cgroup { throttled_us: Some(9), throttled_periods: Some(2), ..memory });
        write(root.path(), &[("memory/here/memory.limit_in_bytes", "8192\n")]);
        assert_eq!(Cgroup::look(root.path(), "4:memory:/here\n").memory_limit, Some(8192));
    }

    #[test]
    fn is_unknown_where_there_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Cgroup::look(root.path(), "0::/\n"), Cgroup::default());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(nr_throttled |[0-9]:memory:/)?.{0,60}\n.{0,60}", name in ".{0,10}") {
            let root = Path::new("/nowhere");
            let _ = (field(&text, &name), number(&text), place(root, &text, "memory"));
        }
    }
}
