//! The node program: every process of a Kubernetes node in one Go binary, built once and kept in a cache.
//!
//! Its sources travel inside this crate, so a build needs a Go toolchain and the module proxy, but no checkout at a known
//! place. The cache key is a digest of those sources: a build happens only when they change. Also here: the cache
//! directory itself and the check for the operating system's own parts.

use std::{
    fs,
    io::{BufRead, BufReader, IsTerminal},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The release of Kubernetes that `tests/node/go.mod` names; the servers report it.
pub const KUBERNETES_VERSION: &str = "v1.34.4";

/// Sources of the Go module, by the name they have in it; the pause program is the first.
const SOURCES: [(&str, &str); 13] = [
    ("pause/main.go", include_str!("../../tests/node/pause/main.go")),
    ("go.mod", include_str!("../../tests/node/go.mod")),
    ("go.sum", include_str!("../../tests/node/go.sum")),
    ("main.go", include_str!("../../tests/node/main.go")),
    ("oracle/authorizer.go", include_str!("../../tests/node/oracle/authorizer.go")),
    ("oracle/cel.go", include_str!("../../tests/node/oracle/cel.go")),
    ("oracle/lines.go", include_str!("../../tests/node/oracle/lines.go")),
    ("oracle/policy.go", include_str!("../../tests/node/oracle/policy.go")),
    ("oracle/request.go", include_str!("../../tests/node/oracle/request.go")),
    ("oracle/server.go", include_str!("../../tests/node/oracle/server.go")),
    ("oracle/surroundings.go", include_str!("../../tests/node/oracle/surroundings.go")),
    ("oracle/value.go", include_str!("../../tests/node/oracle/value.go")),
    ("oracle/versioned.go", include_str!("../../tests/node/oracle/versioned.go")),
];

/// Programs a node needs besides ours, and the Debian packages that hold them.
const PROGRAMS: [&str; 11] = ["containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft", "iptables", "conntrack", "ip", "nsenter", "setpriv", "mount"];
const PACKAGES: &str = "containerd runc containernetworking-plugins iptables nftables conntrack iproute2 util-linux mount";

/// Where Debian's `containernetworking-plugins` puts the plugins.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Directory for what is expensive to make and independent of the checkout: `$ASSENT_CACHE`, else
/// `$XDG_CACHE_HOME/assent`, else `~/.cache/assent`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ASSENT_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("assent")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/assent")))
        .unwrap_or_else(|| std::env::temp_dir().join("assent-cache"))
}

/// Path of the node program, built first if the cache lacks it (some minutes, with a progress line on stderr). Blocks.
///
/// # Errors
/// When the Go toolchain is missing, the build fails or the cache cannot be written.
pub fn binary() -> Result<PathBuf> {
    built("node", &SOURCES, ".", &SOURCES, &node_flags())
}

/// Path of a program of another project, built first if the cache lacks it: `package` of the Go module that `sources` are
/// (its `go.mod` and `go.sum` by name and text). Blocks.
///
/// # Errors
/// As [`binary`].
pub fn program(name: &str, sources: &[(&str, &str)], package: &str) -> Result<PathBuf> {
    built(name, sources, package, sources, "-s -w")
}

/// Path of the static program that holds a pod's namespaces open, built first if the cache lacks it. Blocks.
pub(crate) fn pause() -> Result<PathBuf> {
    built("pause", &SOURCES, "./pause", &SOURCES[..1], &node_flags())
}

/// Fails with the packages to install when the operating system lacks a part that a node needs.
///
/// # Errors
/// [`Error::Missing`], naming every missing program at once.
pub(crate) fn check_system() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !std::env::split_paths(&path).any(|dir| dir.join(program).is_file())).collect();
    if !["ptp", "host-local", "portmap", "loopback"].iter().all(|plugin| Path::new(CNI_PLUGINS).join(plugin).is_file()) {
        missing.push("the CNI plugins");
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Missing { programs: missing.join(", "), packages: PACKAGES.to_owned() })
}

fn built(name: &str, sources: &[(&str, &str)], package: &str, keyed_by: &[(&str, &str)], flags: &str) -> Result<PathBuf> {
    let cache = cache_dir();
    let target = cache.join(format!("{name}-{}", key(keyed_by)));
    if target.is_file() {
        return Ok(target);
    }
    fs::create_dir_all(&cache).map_err(Error::file("create", &cache))?;
    // One build at a time per cache: a second caller waits here and then finds the result.
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = fs::File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
    lock.lock().map_err(Error::file("lock", &lock_path))?;
    if target.is_file() {
        return Ok(target);
    }
    let module = tempfile::Builder::new().prefix("module-").tempdir_in(&cache).map_err(Error::file("create a folder in", &cache))?;
    for (file, text) in sources {
        let path = module.path().join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        }
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    let output = module.path().join("built");
    go_build(module.path(), package, &output, name, flags)?;
    fs::set_permissions(&output, fs::Permissions::from_mode(0o755)).map_err(Error::file("make executable", &output))?;
    fs::rename(&output, &target).map_err(Error::file("move into place", &target))?;
    Ok(target)
}

fn key(sources: &[(&str, &str)]) -> String {
    let mut digest = Sha256::new();
    for (name, text) in sources {
        digest.update(name.len().to_le_bytes());
        digest.update(name);
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    hex::encode(&digest.finalize()[..6])
}

/// Without these the servers call themselves v0.0.0 and clients misbehave.
fn node_flags() -> String {
    let variable = "k8s.io/component-base/version.git";
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    format!("-s -w -X {variable}Version={KUBERNETES_VERSION} -X {variable}Major={major} -X {variable}Minor={minor}")
}

fn go_build(module: &Path, package: &str, output: &Path, name: &str, flags: &str) -> Result<()> {
    let mut command = Command::new("go");
    command.current_dir(module).env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    command.args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o"]).arg(output).arg(package);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|source| Error::Start { program: "go (it is built from Go modules; install a Go toolchain)".to_owned(), source })?;
    let progress = Progress::start(format!("building the {name} program, once (several minutes from nothing)"));
    // Keeps the last lines only: a cold build prints a line for every one of some thousand packages.
    let mut tail: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
            progress.line(&line);
            tail.push_back(line);
            if tail.len() > 30 {
                tail.pop_front();
            }
        }
    }
    let status = child.wait().map_err(|source| Error::Start { program: "go".to_owned(), source })?;
    progress.finish(status.success());
    if status.success() {
        return Ok(());
    }
    Err(Error::Command { command: format!("go build {package}"), status: status.to_string(), stderr: Vec::from(tail).join("\n") })
}

/// A spinner on a terminal, two plain lines anywhere else.
struct Progress {
    bar: ProgressBar,
    what: String,
    started: Instant,
    interactive: bool,
}

impl Progress {
    fn start(what: String) -> Self {
        let interactive = std::io::stderr().is_terminal();
        let bar = if interactive { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {pos} packages · {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        if !interactive {
            eprintln!("{what} …");
        }
        Self { bar, what, started: Instant::now(), interactive }
    }

    fn line(&self, line: &str) {
        self.bar.inc(1);
        self.bar.set_message(line.to_owned());
    }

    fn finish(self, success: bool) {
        self.bar.finish_and_clear();
        if !self.interactive || success {
            let end = if success { "done" } else { "failed" };
            eprintln!("{}: {end} after {} s", self.what, self.started.elapsed().as_secs());
        }
    }
}
