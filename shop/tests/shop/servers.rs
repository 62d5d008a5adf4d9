//! A PostgreSQL and a Redis of this machine's packages, each in a directory of its own and on a
//! Unix socket, so that tests run side by side. Nothing here waits for a server to be ready: the
//! shop must do that itself.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

const POSTGRES: &str = "/usr/lib/postgresql/15/bin";
const REDIS: &str = "/usr/bin/redis-server";

pub(crate) struct Postgres {
    dir: TempDir,
    server: Child,
}

pub(crate) struct Redis {
    dir: TempDir,
    server: Child,
}

/// Whether the servers are installed. Says so if not, and fails where they have to be.
pub(crate) fn installed() -> bool {
    let missing: Vec<PathBuf> = [format!("{POSTGRES}/initdb"), REDIS.to_owned()].into_iter().map(PathBuf::from).filter(|path| !path.exists()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: {missing:?}");
    eprintln!("SKIPPED: not installed: {missing:?}");
    false
}

// === impl Postgres ===

impl Postgres {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            let user = User::from_name("postgres").unwrap().expect("the package makes a user");
            chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let data = dir.path().join("data");
        let made = Self::program("initdb", dir.path())
            .args(["--username=shop", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        let server = Self::program("postgres", dir.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(dir.path())
            .arg("-D")
            .arg(&data)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, server }
    }

    pub(crate) fn url(&self) -> String {
        let dir = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://shop@{dir}/postgres")
    }

    /// Stops every process of the server, as a hung disk would; they keep their connections.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let server = self.server.id();
        // The server itself first, so that it starts no further process.
        kill(Pid::from_raw(server.cast_signed()), signal).unwrap();
        let children = format!("/proc/{server}/task/{server}/children");
        for child in std::fs::read_to_string(children).unwrap().split_whitespace() {
            kill(Pid::from_raw(child.parse().unwrap()), signal).unwrap();
        }
    }

    /// A program of the package, run as the package's user where this process is root.
    fn program(name: &str, dir: &Path) -> Command {
        let path = format!("{POSTGRES}/{name}");
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", &path]);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(dir);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        // Immediate shutdown: its children end with it.
        kill(Pid::from_raw(self.server.id().cast_signed()), Signal::SIGQUIT).unwrap();
        self.server.wait().unwrap();
    }
}

// === impl Redis ===

impl Redis {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Command::new(REDIS)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(dir.path().join("socket"))
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("socket").display())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}
