//! What the kernel tells an unprivileged process of its pod: counters, pressure, sockets, and its own scheduling.
//!
//! Everything is read from files whose roots are arguments, or from the kernel's list of sockets, parsed by pure functions,
//! and absent rather than zero when it cannot be read. The sidecar's own cgroup says nothing of the application's container,
//! and does not pretend to.

mod bytes;
pub(crate) mod census;
pub(crate) mod cgroup;
pub(crate) mod namespace;
mod pressure;
pub(crate) mod sock_diag;
pub(crate) mod tcp_info;

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use assent_api::proto;

use census::{Census, Layout, Pair};
use cgroup::Cgroup;
use namespace::Tcp;
use tcp_info::Sample;

/// The largest file that is read has about a tenth of it.
const MAX_FILE: u64 = 64 * 1024;

/// Where to read; the defaults of [`Roots::system`] are the real ones.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    pub(crate) proc: PathBuf,
    pub(crate) cgroup: PathBuf,
}

/// Cumulative counters as of the last look; a delta needs two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) tcp: Option<Tcp>,
    /// Of the thread that does everything but carry bytes.
    pub(crate) run_delay_us: Option<u64>,
    pub(crate) own: Cgroup,
}

/// Looks at the pod again and again, and tells what changed.
#[derive(Debug)]
pub(crate) struct Signals {
    roots: Roots,
    layout: Layout,
    before: Counters,
    /// Connections that seemed to bypass at the last look.
    known: HashSet<Pair>,
}

/// What one look has found, and the changes since the one before.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Of the sidecar's own connections.
    pub(crate) samples: HashMap<Pair, Sample>,
    pub(crate) census: Option<Census>,
    pub(crate) tcp: Option<proto::NamespaceTcp>,
    pub(crate) compute: Compute,
}

/// Shares are millionths: of the last ten seconds, that some task waited for processor, memory and disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compute {
    pub(crate) node_pressure: [Option<u32>; 3],
    pub(crate) own_pressure: [Option<u32>; 3],
    pub(crate) run_delay_us: u64,
    pub(crate) throttled_us: u64,
    pub(crate) throttled_periods: u64,
    pub(crate) memory: u64,
    pub(crate) memory_limit: u64,
    pub(crate) memory_reclaims: u64,
    pub(crate) oom_kills: u64,
}

// === impl Roots ===

impl Roots {
    pub(crate) fn system() -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }

    /// The counters as they stand.
    fn counters(&self) -> Counters {
        let file = |name: &str| read(&self.proc.join("self").join(name));
        let tcp = file("net/snmp").and_then(|snmp| {
            let [netstat, one, other] = ["net/netstat", "net/sockstat", "net/sockstat6"].map(|name| file(name).unwrap_or_default());
            Tcp::parse(&snmp, &netstat, [&one, &other])
        });
        let run_delay_us = file("schedstat").as_deref().and_then(run_delay);
        Counters { tcp, run_delay_us, own: Cgroup::look(&self.cgroup, &file("cgroup").unwrap_or_default()) }
    }

    /// Not namespaced: it is the node's.
    fn pressure(&self) -> [Option<u32>; 3] {
        ["cpu", "memory", "io"].map(|name| read(&self.proc.join("pressure").join(name)).as_deref().and_then(pressure::some_avg10))
    }
}

// === impl Signals ===

impl Signals {
    pub(crate) fn new(roots: Roots, layout: Layout) -> Self {
        Self { before: roots.counters(), roots, layout, known: HashSet::new() }
    }

    /// A handful of small files, and one exchange with the kernel, or two where something new seems to bypass.
    pub(crate) fn look(&mut self) -> Look {
        let mut samples = HashMap::new();
        let census = self.sockets(&mut samples).unwrap_or_else(|error| {
            tracing::debug!(%error, "the kernel's list of sockets is not available");
            None
        });
        let counters = self.roots.counters();
        let tcp = counters.tcp.zip(self.before.tcp).map(|(now, before)| now.since(&before));
        let compute = counters.compute(&self.before, self.roots.pressure());
        self.before = counters;
        Look { samples, census, tcp, compute }
    }

    fn sockets(&mut self, samples: &mut HashMap<Pair, Sample>) -> std::io::Result<Option<Census>> {
        let mut entries = Vec::new();
        let complete = sock_diag::dump(&mut |entry, sample| {
            if let Some(sample) = sample.filter(|_| entry.user == self.layout.user) {
                samples.insert((entry.local, entry.remote), sample);
            }
            entries.push(entry);
        })?;
        let (mut census, mut found) = Census::take(&self.layout, &entries, &self.known);
        // A list that was cut off may lack the other ends.
        if !complete {
            self.known.clear();
            return Ok(Some(Census { truncated: true, bypass: 0, bypasses: Default::default(), ..census }));
        }
        if census.unsettled > 0 {
            entries.clear();
            if sock_diag::list(&mut |entry, _| entries.push(entry))? {
                (census, found) = Census::take(&self.layout, &entries, &found);
            }
        }
        self.known = found;
        Ok(Some(census))
    }
}

// === impl Counters ===

impl Counters {
    fn compute(&self, before: &Self, node_pressure: [Option<u32>; 3]) -> Compute {
        let (own, then) = (&self.own, &before.own);
        Compute {
            node_pressure,
            own_pressure: own.pressure,
            run_delay_us: since(self.run_delay_us, before.run_delay_us),
            throttled_us: since(own.throttled_us, then.throttled_us),
            throttled_periods: since(own.throttled_periods, then.throttled_periods),
            memory: own.memory.unwrap_or(0),
            memory_limit: own.memory_limit.unwrap_or(0),
            memory_reclaims: since(own.memory_reclaims, then.memory_reclaims),
            oom_kills: since(own.oom_kills, then.oom_kills),
        }
    }
}

/// The change of a counter that may be unreadable.
fn since(now: Option<u64>, before: Option<u64>) -> u64 {
    now.zip(before).map_or(0, |(now, before)| now.saturating_sub(before))
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Second number of `schedstat`: nanoseconds runnable but waiting.
fn run_delay(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse::<u64>().ok().map(|ns| ns / 1000)
}

#[cfg(test)]
mod tests;
