//! Starting, watching and killing the servers of a cluster.
//!
//! Every server is recorded by process id and start time before anything waits for it, so that a later run can kill what
//! an aborted one left and never kills a stranger that got the same id. Servers of a bound cluster also die with this
//! process, whatever ends it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::error::{Error, Result};

/// How long the servers of a cluster live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as this process, at most: the kernel kills them when it goes.
    Bound,
    /// Until somebody takes the cluster down.
    Detached,
}

/// One running server.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    /// What it was started with.
    at: Surroundings,
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What a server is started with, besides its own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The cluster's directory; `pids/` and `logs/` are below it.
    pub(crate) dir: PathBuf,
    pub(crate) lifetime: Lifetime,
    /// Name of the network namespace to enter; none for the machine's own.
    pub(crate) network: Option<String>,
    /// Folder of the control group to enter.
    pub(crate) cgroup: Option<PathBuf>,
}

// === impl Surroundings ===

impl Surroundings {
    /// Starts `program` as server `name`, recorded and logged.
    pub(crate) fn start<I, S>(&self, name: &str, program: &Path, arguments: I) -> Result<Process>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let log = self.dir.join("logs").join(format!("{name}.log"));
        // One that is started again goes on in its log.
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).map_err(Error::file("open", &log))?;
        let errors = output.try_clone().map_err(Error::file("open twice", &log))?;

        let mut line: Vec<OsString> = Vec::new();
        if self.lifetime == Lifetime::Bound {
            line.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        }
        if let Some(network) = &self.network {
            // Not `ip netns exec`: that mounts a fresh /sys, and the control groups are gone.
            line.extend(["nsenter".into(), format!("--net=/run/netns/{network}").into(), "--".into()]);
        }
        line.push(program.into());
        line.extend(arguments.iter().cloned());

        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(&self.dir);
        // A proxy, a kubeconfig or a notification socket of the caller must not leak into the servers.
        command.env_clear().env("PATH", search_path()).env("HOME", &self.dir);
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = spawn_lastingly(command).map_err(|source| Error::Start { program: name.to_owned(), source })?;
        let process = Process { name: name.to_owned(), log, child, at: self.clone(), program: program.to_owned(), arguments };
        let record = self.dir.join("pids").join(name);
        fs::write(&record, Recorded::of(process.child.id()).to_string()).map_err(Error::file("write", &record))?;
        if let Some(cgroup) = &self.cgroup {
            let procs = cgroup.join("cgroup.procs");
            fs::write(&procs, process.child.id().to_string()).map_err(Error::file("write", procs))?;
        }
        Ok(process)
    }
}

/// The caller's search path with the administrators' folders, where nft, ip and runc live.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

// === impl Process ===

impl Process {
    /// Its name, as its log is named.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let failed = |source| Error::Start { program: format!("{signal} to {}", self.name), source };
        let pid = i32::try_from(self.child.id()).map_err(|error| failed(io::Error::other(error)))?;
        kill(Pid::from_raw(pid), signal).map_err(|errno| failed(errno.into()))
    }

    /// Another one of the same, in place of this one, which has ended.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        *self = self.at.start(&self.name, &self.program, &self.arguments)?;
        Ok(())
    }

    /// Fails, with the end of the log, when the server has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(source) => Err(Error::Start { program: self.name.clone(), source }),
        }
    }

    /// Waits for the end of a process that was killed, so that it does not stay a zombie.
    pub(crate) fn reap(&mut self) {
        if let Err(error) = self.child.wait() {
            tracing::debug!(process = %self.name, %error, "could not wait for process");
        }
    }

    fn ended(&self, status: ExitStatus) -> Error {
        Error::Ended { process: self.name.clone(), status: status.to_string(), log: self.log.clone(), tail: tail(&self.log) }
    }
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4000)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Spawns on a thread that lives as long as this process.
///
/// The kernel's parent-death signal is sent when the *thread* that spawned ends, and the caller's thread may be a test's
/// or a short-lived runtime's.
fn spawn_lastingly(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::SyncSender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let gone = || io::Error::other("the spawning thread is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, received) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in received {
                // A caller that went away has no use for the answer; its process is recorded nowhere, so end it.
                if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                    let _killed = child.kill();
                }
            }
        });
        jobs
    });
    let (reply, answer) = mpsc::sync_channel(1);
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// A process id together with the time its process started, which makes it unambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pid: u32,
    /// In clock ticks since boot; none when the process was already gone.
    started: Option<u64>,
}

impl Recorded {
    fn of(pid: u32) -> Self {
        Self { pid, started: start_time(pid) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok() })
    }

    fn is_alive(self) -> bool {
        self.started.is_some() && start_time(self.pid) == self.started
    }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.started {
            Some(started) => write!(f, "{} {started}", self.pid),
            None => write!(f, "{} gone", self.pid),
        }
    }
}

/// Field 22 of `/proc/PID/stat`, counted after the parenthesised name, which may hold anything. A zombie counts as gone.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Kills every process recorded in `dir/pids` that is still the recorded one, and waits (some seconds at most) for their
/// end.
pub(crate) fn kill_recorded(dir: &Path) {
    let records: Vec<Recorded> =
        fs::read_dir(dir.join("pids")).into_iter().flatten().flatten().filter_map(|entry| Recorded::parse(&fs::read_to_string(entry.path()).ok()?)).collect();
    for record in records.iter().filter(|record| record.is_alive()) {
        kill_pid(record.pid);
    }
    // Bounded poll: the processes may not be our children, so there is no event to wait for.
    let deadline = Instant::now() + Duration::from_secs(10);
    while records.iter().any(|record| record.is_alive()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends SIGKILL; that the process is gone already is fine.
pub(crate) fn kill_pid(pid: u32) {
    let Ok(raw) = i32::try_from(pid) else { return };
    if raw <= 1 {
        return;
    }
    match kill(Pid::from_raw(raw), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(pid, %error, "could not kill process"),
    }
}

/// Whether any server recorded in `dir/pids` still runs.
pub(crate) fn any_alive(dir: &Path) -> bool {
    fs::read_dir(dir.join("pids"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Recorded::parse(&fs::read_to_string(entry.path()).ok()?))
        .any(Recorded::is_alive)
}

/// Runs a short command to its end; its output when it succeeds.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
    Err(Error::Command {
        command: format!("{program} {}", words.join(" ")),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
