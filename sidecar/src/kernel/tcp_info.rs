//! `struct tcp_info`: what the kernel knows of one connection, and what held its sender back.
//!
//! Fields are read by offset and by the length that the kernel gave, so that older and newer kernels both work. The split is
//! a pure function of two readings. Nothing here says which side is to blame for more than the connection at hand.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use nix::libc;
use nix::sys::socket::{getsockopt, sockopt};

use super::bytes::{long_at, word_at};

/// A reading; times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) rtt_us: u32,
    pub(crate) rtt_variation_us: u32,
    pub(crate) min_rtt_us: u32,
    /// Segments that are thought lost now.
    pub(crate) lost: u32,
    /// Bytes a second, by the latest acknowledgements.
    pub(crate) delivery_rate: u64,
    /// Bytes that the application has written and the kernel has not sent.
    pub(crate) not_sent: u32,
    pub(crate) counts: Counts,
}

/// What only grows, since the connection was opened; or the change between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) retransmits: u64,
    pub(crate) retransmitted_bytes: u64,
    /// Time with something to send or unacknowledged; the next two are parts of it.
    pub(crate) busy_us: u64,
    /// The receiver's window was closed.
    pub(crate) receiver_us: u64,
    /// The send buffer was full while the network could have taken more.
    pub(crate) sender_us: u64,
}

/// Where a connection's busy time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) network_us: u64,
    pub(crate) receiver_us: u64,
    pub(crate) sender_us: u64,
}

/// What held a flow back for most of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// It was seldom busy: whatever is slow, it is not this connection.
    None,
    /// Bytes were on their way or waited for their turn.
    Network,
    /// The application at the other end does not read.
    Receiver,
    /// This end's send buffer is too small for the path.
    Sender,
}

// === impl Sample ===

impl Sample {
    /// Reads `info` as far as it goes; what the kernel does not know is 0.
    pub(crate) fn parse(info: &[u8]) -> Self {
        let word = |at| word_at(info, at).unwrap_or(0);
        let long = |at| long_at(info, at).unwrap_or(0);
        Self {
            rtt_us: word(68),
            rtt_variation_us: word(72),
            // A connection without a measurement has the maximum.
            min_rtt_us: Some(word(148)).filter(|rtt| *rtt != u32::MAX).unwrap_or(0),
            lost: word(32),
            delivery_rate: long(160),
            not_sent: word(144),
            counts: Counts {
                retransmits: u64::from(word(100)),
                retransmitted_bytes: long(208),
                busy_us: long(168),
                receiver_us: long(176),
                sender_us: long(184),
            },
        }
    }

    /// What holds of two connections: the larger of what changes both ways, the sum of what only grows and of what is lost.
    pub(crate) fn join(&mut self, other: &Self) {
        self.rtt_us = self.rtt_us.max(other.rtt_us);
        self.rtt_variation_us = self.rtt_variation_us.max(other.rtt_variation_us);
        self.min_rtt_us = self.min_rtt_us.max(other.min_rtt_us);
        self.lost = self.lost.saturating_add(other.lost);
        self.delivery_rate = self.delivery_rate.max(other.delivery_rate);
        self.not_sent = self.not_sent.max(other.not_sent);
        self.counts = self.counts.plus(&other.counts);
    }

    /// Asks for the connection of `socket`; none where the kernel's answer has no length that is known beforehand.
    pub(crate) fn of(socket: &impl AsFd) -> Option<Self> {
        static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();
        let layout = LAYOUT.get_or_init(|| layout(std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.as_str()));
        match layout.as_ref()? {
            Layout::Full => getsockopt(socket, Full).ok().map(|info| Self::parse(&info)),
            Layout::Limits => getsockopt(socket, Limits).ok().map(|info| Self::parse(&info)),
        }
    }
}

/// The option, read into an array that the kernel fills whole: it gives at most what is asked for.
#[derive(Clone, Copy, Debug)]
struct Full;

#[derive(Clone, Copy, Debug)]
struct Limits;

nix::getsockopt_impl!(Full, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 216], sockopt::GetStruct<[u8; 216]>);
nix::getsockopt_impl!(Limits, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; 192], sockopt::GetStruct<[u8; 192]>);

/// How much of the structure a kernel surely has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Up to the retransmitted bytes: since 4.19.
    Full,
    /// Up to the limited times: since 4.10.
    Limits,
}

fn layout(release: &str) -> Option<Layout> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next()?, numbers.next()?) {
        version if version >= (4, 19) => Some(Layout::Full),
        version if version >= (4, 10) => Some(Layout::Limits),
        _ => None,
    }
}

// === impl Counts ===

impl Counts {
    /// The change since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        self.zip(before, u64::saturating_sub)
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    fn zip(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            retransmits: with(self.retransmits, other.retransmits),
            retransmitted_bytes: with(self.retransmitted_bytes, other.retransmitted_bytes),
            busy_us: with(self.busy_us, other.busy_us),
            receiver_us: with(self.receiver_us, other.receiver_us),
            sender_us: with(self.sender_us, other.sender_us),
        }
    }

    /// Where the busy time of a change went. The kernel's clock ticks once in several milliseconds, so parts may exceed the whole.
    pub(crate) fn split(&self) -> Split {
        let receiver_us = self.receiver_us.min(self.busy_us);
        let sender_us = self.sender_us.min(self.busy_us - receiver_us);
        Split { network_us: self.busy_us - receiver_us - sender_us, receiver_us, sender_us }
    }

    /// What held `connections` back for most of the time that they were busy in a window of `window_us`.
    pub(crate) fn limit(&self, connections: u32, window_us: u64) -> Limit {
        let split = self.split();
        // Less than a twentieth of their time: nothing worth a name.
        let busy = self.busy_us.saturating_mul(20) >= window_us.saturating_mul(u64::from(connections.max(1))).max(1);
        match busy {
            false => Limit::None,
            true if split.receiver_us.saturating_mul(2) >= self.busy_us => Limit::Receiver,
            true if split.sender_us.saturating_mul(2) >= self.busy_us => Limit::Sender,
            true => Limit::Network,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn busy_time_is_split_and_the_larger_part_named() {
        let cases = [
            // busy, receiver, sender -> network, receiver, sender, limit
            ((0, 0, 0), (0, 0, 0), Limit::None),
            ((90_000, 0, 0), (90_000, 0, 0), Limit::None),
            ((2_000_000, 0, 0), (2_000_000, 0, 0), Limit::Network),
            ((1_000_000, 600_000, 100_000), (300_000, 600_000, 100_000), Limit::Receiver),
            ((1_000_000, 100_000, 700_000), (200_000, 100_000, 700_000), Limit::Sender),
            ((1_000_000, 300_000, 300_000), (400_000, 300_000, 300_000), Limit::Network),
            // Ticks of the kernel's clock that do not add up.
            ((1_000_000, 1_004_000, 8_000), (0, 1_000_000, 0), Limit::Receiver),
            ((u64::MAX, u64::MAX, u64::MAX), (0, u64::MAX, 0), Limit::Receiver),
        ];
        for ((busy_us, receiver_us, sender_us), (network, receiver, sender), limit) in cases {
            let counts = Counts { busy_us, receiver_us, sender_us, ..Counts::default() };
            let split = Split { network_us: network, receiver_us: receiver, sender_us: sender };
            assert_eq!((counts.split(), counts.limit(1, 2_000_000)), (split, limit), "{counts:?}");
        }
        let shared = Counts { busy_us: 2_000_000, ..Counts::default() };
        assert_eq!((shared.limit(10, 2_000_000), shared.limit(100, 2_000_000)), (Limit::Network, Limit::None));
    }

    #[test]
    fn reads_as_far_as_the_kernel_answers() {
        let mut info = [0u8; 216];
        for (at, value) in [(32, 3u32), (68, 500), (72, 40), (100, 7), (144, 9), (148, u32::MAX)] {
            info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        for (at, value) in [(160, 1_000u64), (168, 60), (176, 20), (184, 10), (208, 4_000)] {
            info[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        let counts = Counts { retransmits: 7, retransmitted_bytes: 4_000, busy_us: 60, receiver_us: 20, sender_us: 10 };
        let sample = Sample { rtt_us: 500, rtt_variation_us: 40, min_rtt_us: 0, lost: 3, delivery_rate: 1_000, not_sent: 9, counts };
        assert_eq!(Sample::parse(&info), sample);
        assert_eq!(Sample::parse(&info[..208]).counts, Counts { retransmitted_bytes: 0, ..counts });
        assert_eq!(Sample::parse(&info[..104]).counts, Counts { retransmits: 7, ..Counts::default() });
        assert_eq!(Sample::parse(&[]), Sample::default());
    }

    #[test]
    fn asks_only_for_what_a_kernel_has() {
        let full = Some(Layout::Full);
        for (release, expected) in [("6.18.44-fc", full), ("4.19.0", full), ("4.18.0-513.el8", Some(Layout::Limits)), ("4.4.0", None), ("", None), ("x", None)]
        {
            assert_eq!(layout(release), expected, "{release}");
        }
    }

    #[test]
    fn a_receiver_that_does_not_read_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let before = Sample::of(&sender).unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = sender.write(&[7; 64 * 1024]) {
            written += count;
        }
        // The kernel counts in ticks: wait until it has counted enough of them.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let change = loop {
            let change = Sample::of(&sender).unwrap().counts.since(&before.counts);
            if change.receiver_us >= 200_000 {
                break change;
            }
            assert!(std::time::Instant::now() < until, "{change:?}");
            std::thread::yield_now();
        };
        assert_eq!(change.limit(1, 300_000), Limit::Receiver, "{change:?}");
        let mut left = written;
        let mut buffer = vec![0; 1024 * 1024];
        while left > 0 {
            left -= receiver.read(&mut buffer).unwrap();
        }
        drop(receiver);
    }

    #[test]
    fn a_connection_that_is_over_still_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(&[7; 4096]).unwrap();
        client.shutdown(std::net::Shutdown::Both).unwrap();
        drop(server);
        assert!(Sample::of(&client).unwrap().rtt_us > 0);
    }

    proptest! {
        #[test]
        fn never_panics(info in proptest::collection::vec(any::<u8>(), 0..300), release in ".{0,20}", connections: u32, window: u64) {
            let sample = Sample::parse(&info);
            let split = sample.counts.split();
            prop_assert_eq!(split.network_us + split.receiver_us + split.sender_us, sample.counts.busy_us);
            let _ = (layout(&release), sample.counts.limit(connections, window));
        }
    }
}
