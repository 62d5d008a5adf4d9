//! Servers under measurement: started on a core of their own, watched from outside.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The core of whatever is measured.
pub const SERVER: usize = 0;
/// The core of whatever asks it.
pub const GENERATOR: usize = 1;

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// When it was started.
    pub started: Instant,
    log: std::path::PathBuf,
}

/// Keeps the calling thread, and what it starts from now on, on a core.
///
/// # Errors
/// If the machine has no such core.
pub fn pin_thread(core: usize) -> anyhow::Result<()> {
    pin(Pid::from_raw(0), core)
}

/// Keeps all threads of a running process on a core.
///
/// # Errors
/// If there is no such process or core.
pub fn pin_process(pid: u32, core: usize) -> anyhow::Result<()> {
    // Twice: a thread that starts meanwhile may be missed once.
    for _ in 0..2 {
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread: i32 = entry?.file_name().to_string_lossy().parse()?;
            // It may have ended by now.
            let _ended = pin(Pid::from_raw(thread), core);
        }
    }
    Ok(())
}

/// Lets the calling thread run on any core.
///
/// # Errors
/// If the kernel refuses.
pub fn unpin_thread() -> anyhow::Result<()> {
    unpin(Pid::from_raw(0))
}

fn unpin(thread: Pid) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    (0..CpuSet::count()).try_for_each(|core| cores.set(core))?;
    sched_setaffinity(thread, &cores).context("run on any core")
}

/// Lets this process, and what it starts from now on, have as many files open as it may; how many.
///
/// # Errors
/// If the kernel refuses.
pub fn allow_files() -> anyhow::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit of open files")?;
    Ok(hard)
}

fn pin(thread: Pid, core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(thread, &cores).with_context(|| format!("pin to core {core}: the benchmark needs two cores"))
}

/// A command that runs a program and is killed when the thread that started it ends, however this program ends.
#[must_use]
pub fn program(path: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(path);
    command
}

/// A free loopback port.
///
/// # Errors
/// If there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether a plain HTTP server answers 200 there.
#[must_use]
pub fn is_ready(address: SocketAddr, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

// === impl Server ===

impl Server {
    /// Starts `command`, one of [`program`], on the server's core, writing to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // It is born on the core of the thread that starts it, and ends with that thread, which is this program's first.
        pin_thread(SERVER)?;
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("start {:?}", command.get_args().next().unwrap_or_default()));
        pin_thread(GENERATOR)?;
        let child = child?;
        Ok(Self { child, started, log: log.to_owned() })
    }

    /// Waits until `is_so`; the seconds since its start.
    ///
    /// # Errors
    /// If it ends before, or takes longer than `limit`; with the end of its log.
    pub fn until(&mut self, what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> anyhow::Result<f64> {
        loop {
            if is_so() {
                return Ok(self.started.elapsed().as_secs_f64());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) before {what}: {}", self.tail());
            }
            if self.started.elapsed() > limit {
                bail!("not {what} within {} s: {}", limit.as_secs(), self.tail());
            }
            // Bounded poll: readiness is a question to a server that is not there yet.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory now and at its peak, in MB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} of process {}", self.child.id()))?;
            let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
            Ok(kib * 1024.0 / 1e6)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Lets its threads run on any core.
    ///
    /// # Errors
    /// If it has ended.
    pub fn unpin(&self) -> anyhow::Result<()> {
        self.threads()?.into_iter().try_for_each(|thread| unpin(Pid::from_raw(thread)))
    }

    /// Processor seconds that its threads have used.
    ///
    /// # Errors
    /// If it has ended.
    pub fn processor(&self) -> anyhow::Result<f64> {
        let mut nanoseconds = 0;
        for thread in self.threads()? {
            let text = std::fs::read_to_string(format!("/proc/{}/task/{thread}/schedstat", self.child.id()))?;
            let ran: u64 = text.split_whitespace().next().context("an empty schedstat")?.parse()?;
            nanoseconds += ran;
        }
        Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
    }

    fn threads(&self) -> anyhow::Result<Vec<i32>> {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id()))?.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?)).collect()
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().map(|line| format!("{line:.300}")).collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
