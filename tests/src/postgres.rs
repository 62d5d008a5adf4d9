//! A PostgreSQL of this machine's packages, for whoever stores in one.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use tempfile::TempDir;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A server in a directory of its own, reached by its socket there. Dropped, it is stopped.
#[derive(Debug)]
pub struct Postgres(TempDir);

// === impl Postgres ===

impl Postgres {
    /// A running one; nothing, aloud, where the package is missing and `CI` does not insist.
    #[must_use]
    pub fn start() -> Option<Self> {
        let missing: Vec<_> = ["initdb", "pg_ctl"].into_iter().filter(|name| !Path::new(PROGRAMS).join(name).exists()).collect();
        if !missing.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "not installed: {missing:?}");
            eprintln!("SKIPPED: not installed: {missing:?}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            let user = User::from_name("postgres").unwrap().unwrap();
            chown(directory.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let server = Self(directory);
        // What stops in these tests is never the server.
        let options = format!("-c listen_addresses= -c fsync=off -k {}", server.0.path().display());
        server.control(&["initdb", "--username=assent", "--auth=trust", "--encoding=UTF8", "--no-sync"]);
        server.control(&["pg_ctl", "start", "--wait", "--silent", "--log=log", "--options", &options]);
        Some(server)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://assent:a-password@localhost/postgres?host={}", self.0.path().display().to_string().replace('/', "%2F"))
    }

    /// Runs a program as the package's user, where this process is root.
    fn control(&self, words: &[&str]) {
        let mut command = Command::new(if geteuid().is_root() { "setpriv" } else { "env" });
        if geteuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(Path::new(PROGRAMS).join(words[0])).arg("--pgdata=data").args(&words[1..]).current_dir(self.0.path());
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "{words:?}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.control(&["pg_ctl", "stop", "--silent", "--mode=immediate"]);
    }
}
