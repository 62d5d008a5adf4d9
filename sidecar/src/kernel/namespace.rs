//! The TCP counters of the pod's network namespace: `/proc/self/net/{snmp,netstat,sockstat}`.
//!
//! The files are pairs of lines, names and then values, and grow with the kernel: columns are found by name, and those that
//! are missing are 0.

use assent_api::proto;

/// Counts since the namespace was made; the last two are as they stand now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) retransmitted_segments: u64,
    pub(crate) attempt_failures: u64,
    pub(crate) resets_sent: u64,
    pub(crate) established_resets: u64,
    pub(crate) opened: u64,
    pub(crate) accepted: u64,
    pub(crate) listen_overflows: u64,
    pub(crate) listen_drops: u64,
    pub(crate) timeouts: u64,
    pub(crate) unanswered_requests: u64,
    pub(crate) given_up: u64,
    pub(crate) sockets: u64,
    pub(crate) time_wait: u64,
}

// === impl Tcp ===

impl Tcp {
    /// None without the first of the files; the other two only add to it.
    pub(super) fn parse(snmp: &str, netstat: &str, sockstat: [&str; 2]) -> Option<Self> {
        let tcp = Columns::of(snmp, "Tcp:")?;
        let more = Columns::of(netstat, "TcpExt:");
        let more = |name| more.as_ref().and_then(|columns| columns.get(name)).unwrap_or(0);
        let used = |row, name| sockstat.iter().filter_map(|text| pair(text, row, name)).fold(0, u64::saturating_add);
        Some(Self {
            retransmitted_segments: tcp.get("RetransSegs")?,
            attempt_failures: tcp.get("AttemptFails")?,
            resets_sent: tcp.get("OutRsts")?,
            established_resets: tcp.get("EstabResets").unwrap_or(0),
            opened: tcp.get("ActiveOpens").unwrap_or(0),
            accepted: tcp.get("PassiveOpens").unwrap_or(0),
            listen_overflows: more("ListenOverflows"),
            listen_drops: more("ListenDrops"),
            timeouts: more("TCPTimeouts"),
            unanswered_requests: more("TCPSynRetrans"),
            given_up: more("TCPAbortOnTimeout"),
            sockets: used("TCP:", "inuse").saturating_add(used("TCP6:", "inuse")),
            time_wait: used("TCP:", "tw"),
        })
    }

    /// The change since `before`.
    pub(crate) fn since(&self, before: &Self) -> proto::NamespaceTcp {
        let change = u64::saturating_sub;
        proto::NamespaceTcp {
            retransmitted_segments: change(self.retransmitted_segments, before.retransmitted_segments),
            attempt_failures: change(self.attempt_failures, before.attempt_failures),
            listen_overflows: change(self.listen_overflows, before.listen_overflows),
            resets_sent: change(self.resets_sent, before.resets_sent),
            established_resets: change(self.established_resets, before.established_resets),
            opened: change(self.opened, before.opened),
            accepted: change(self.accepted, before.accepted),
            listen_drops: change(self.listen_drops, before.listen_drops),
            timeouts: change(self.timeouts, before.timeouts),
            unanswered_requests: change(self.unanswered_requests, before.unanswered_requests),
            given_up: change(self.given_up, before.given_up),
            sockets: self.sockets,
            time_wait: self.time_wait,
        }
    }
}

/// A line of names and the line of values below it.
struct Columns<'a> {
    names: &'a str,
    values: &'a str,
}

// === impl Columns ===

impl<'a> Columns<'a> {
    fn of(text: &'a str, row: &str) -> Option<Self> {
        let mut rows = text.lines().filter(|line| line.split_whitespace().next() == Some(row));
        Some(Self { names: rows.next()?, values: rows.next()? })
    }

    fn get(&self, name: &str) -> Option<u64> {
        let at = self.names.split_whitespace().position(|word| word == name)?;
        self.values.split_whitespace().nth(at)?.parse().ok()
    }
}

/// Lines of a word and then pairs of a name and a value.
fn pair(text: &str, row: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(row))?;
    let mut words = line.split_whitespace().skip(1);
    while let (Some(word), Some(value)) = (words.next(), words.next()) {
        if word == name {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SNMP: &str = "Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn AttemptFails RetransSegs OutRsts EstabResets\nTcp: 200 -1 7 8 9 3\n";
    const NETSTAT: &str = "TcpExt: X ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 1 5 6 4\n";
    const SOCKSTAT: [&str; 2] = ["sockets: used 24\nTCP: inuse 2 orphan 0 tw 5 alloc 1 mem 304\n", "TCP6: inuse 3\n"];

    #[test]
    fn reads_named_columns() {
        let tcp = Tcp::parse(SNMP, NETSTAT, SOCKSTAT).unwrap();
        let counts = Tcp { retransmitted_segments: 8, attempt_failures: 7, resets_sent: 9, established_resets: 3, ..Tcp::default() };
        assert_eq!(tcp, Tcp { listen_overflows: 5, listen_drops: 6, timeouts: 4, sockets: 5, time_wait: 5, ..counts });
        assert_eq!(Tcp::parse(SNMP, "", [""; 2]), Some(counts));
        assert_eq!(Tcp::parse("Tcp: A\nTcp: 1\n", NETSTAT, SOCKSTAT), None);
    }

    #[test]
    fn counts_are_changes_and_sockets_are_not() {
        let before = Tcp::parse(SNMP, NETSTAT, SOCKSTAT).unwrap();
        let now = Tcp { timeouts: 10, retransmitted_segments: 1, ..before };
        // A counter that went back is another namespace's, or was reset: no change is known.
        assert_eq!(now.since(&before), proto::NamespaceTcp { timeouts: 6, sockets: 5, time_wait: 5, ..Default::default() });
    }

    proptest! {
        #[test]
        fn never_panics(text in "(Tcp: |TcpExt: |TCP: )?.{0,80}\n(Tcp: )?.{0,80}", more in "(TCP: inuse )?.{0,40}") {
            let _ = (Tcp::parse(&text, &more, [&more, &text]), pair(&more, "TCP:", "inuse"));
        }
    }
}
