//! What the kernel tells an unprivileged process of its pod: counters, pressure, and its own scheduling.
//!
//! Everything is read from files whose roots are arguments, parsed by pure functions, and absent rather than zero when it
//! cannot be read. The sidecar's own cgroup says nothing of the application's container, and does not pretend to.

pub(crate) mod sock_diag;

use std::path::{Path, PathBuf};

use assent_api::proto;

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
    pub(crate) run_delay_us: Option<u64>,
    pub(crate) throttled_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) retransmitted_segments: u64,
    pub(crate) attempt_failures: u64,
    pub(crate) listen_overflows: u64,
    pub(crate) resets_sent: u64,
}

// === impl Roots ===

impl Roots {
    pub(crate) fn system() -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }

    /// The counters as they stand.
    pub(crate) fn counters(&self) -> Counters {
        let tcp = read(&self.proc.join("self/net/snmp")).and_then(|snmp| {
            let netstat = read(&self.proc.join("self/net/netstat")).unwrap_or_default();
            tcp(&snmp, &netstat)
        });
        let run_delay_us = read(&self.proc.join("self/schedstat")).as_deref().and_then(run_delay);
        // Version 2 first; version 1 counts nanoseconds and names its file by controller.
        let throttled_us = read(&self.cgroup.join("cpu.stat"))
            .as_deref()
            .and_then(|stat| field(stat, "throttled_usec"))
            .or_else(|| read(&self.cgroup.join("cpu/cpu.stat")).as_deref().and_then(|stat| field(stat, "throttled_time")).map(|ns| ns / 1000));
        Counters { tcp, run_delay_us, throttled_us }
    }

    /// Shares of the last ten seconds, in millionths, that some task of the node waited for processor, memory and disk.
    pub(crate) fn pressure(&self) -> [u32; 3] {
        ["cpu", "memory", "io"].map(|name| read(&self.proc.join("pressure").join(name)).as_deref().and_then(some_avg10).unwrap_or(0))
    }
}

// === impl Counters ===

impl Counters {
    /// The pod's TCP counters since `before`; none when either look failed.
    pub(crate) fn tcp_since(&self, before: &Self) -> Option<proto::NamespaceTcp> {
        let (now, then) = (self.tcp?, before.tcp?);
        Some(proto::NamespaceTcp {
            retransmitted_segments: now.retransmitted_segments.saturating_sub(then.retransmitted_segments),
            attempt_failures: now.attempt_failures.saturating_sub(then.attempt_failures),
            listen_overflows: now.listen_overflows.saturating_sub(then.listen_overflows),
            resets_sent: now.resets_sent.saturating_sub(then.resets_sent),
        })
    }
}

/// The change of a counter that may be unreadable.
pub(crate) fn since(now: Option<u64>, before: Option<u64>) -> u64 {
    now.zip(before).map_or(0, |(now, before)| now.saturating_sub(before))
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn tcp(snmp: &str, netstat: &str) -> Option<Tcp> {
    Some(Tcp {
        retransmitted_segments: column(snmp, "Tcp:", "RetransSegs")?,
        attempt_failures: column(snmp, "Tcp:", "AttemptFails")?,
        resets_sent: column(snmp, "Tcp:", "OutRsts")?,
        listen_overflows: column(netstat, "TcpExt:", "ListenOverflows").unwrap_or(0),
    })
}

/// Files of line pairs: names, then values, behind the same word.
fn column(text: &str, row: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter(|line| line.split_whitespace().next() == Some(row));
    let (names, values) = (rows.next()?, rows.next()?);
    let at = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Second number of `schedstat`: nanoseconds runnable but waiting.
fn run_delay(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse::<u64>().ok().map(|ns| ns / 1000)
}

/// `some avg10=12.34 …` in millionths.
fn some_avg10(text: &str) -> Option<u32> {
    let percent: f64 = text.strip_prefix("some avg10=")?.split_whitespace().next()?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some((percent * 10_000.0) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SNMP: &str = "Ip: A B\nIp: 1 2\nTcp: RtoMin AttemptFails RetransSegs OutRsts\nTcp: 200 7 8 9\n";

    #[test]
    fn reads_named_columns() {
        let tcp = tcp(SNMP, "TcpExt: X ListenOverflows\nTcpExt: 1 5\n").unwrap();
        assert_eq!(tcp, Tcp { retransmitted_segments: 8, attempt_failures: 7, listen_overflows: 5, resets_sent: 9 });
        assert_eq!(super::tcp("Tcp: A\nTcp: 1\n", ""), None);
    }

    #[test]
    fn reads_pressure_delay_and_throttling() {
        assert_eq!(some_avg10("some avg10=12.34 avg60=0.00\nfull avg10=0.00"), Some(123_400));
        assert_eq!(some_avg10("some avg10=NaN"), None);
        assert_eq!(run_delay("100 5000000 7\n"), Some(5000));
        assert_eq!(field("usage_usec 5\nnr_throttled 3\nthrottled_usec 77\n", "throttled_usec"), Some(77));
    }

    #[test]
    fn prefers_the_second_cgroup_version_and_survives_absence() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots { proc: root.path().join("none"), cgroup: root.path().to_owned() };
        assert_eq!((roots.counters(), roots.pressure()), (Counters::default(), [0; 3]));
        std::fs::create_dir(root.path().join("cpu")).unwrap();
        std::fs::write(root.path().join("cpu/cpu.stat"), "throttled_time 9000\n").unwrap();
        assert_eq!(roots.counters().throttled_us, Some(9));
        std::fs::write(root.path().join("cpu.stat"), "throttled_usec 4\n").unwrap();
        assert_eq!(roots.counters().throttled_us, Some(4));
    }

    #[test]
    fn reads_this_machine() {
        let counters = Roots::system().counters();
        assert!(counters.tcp.is_some() && counters.run_delay_us.is_some());
        assert_eq!(counters.tcp_since(&counters), Some(proto::NamespaceTcp::default()));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}", more in "(some avg10=|Tcp: |throttled_usec )?.{0,40}") {
            let _ = (tcp(&text, &more), some_avg10(&more), run_delay(&text), field(&more, "throttled_usec"));
        }
    }
}
