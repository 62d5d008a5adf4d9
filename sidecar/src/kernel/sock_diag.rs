//! The kernel's own view of every TCP socket in the pod, by one netlink dump for each family.
//!
//! `NETLINK_SOCK_DIAG` answers without privileges, also about other users' sockets. Requests and answers are encoded here by
//! their fixed layout. Sockets that no process holds any more are not asked for: nothing tells whose they were.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::bytes::{array_at, half_at, word_at};
use super::tcp_info::Sample;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
const TIME_WAIT: u32 = 1 << 6;
const CLOSE: u32 = 1 << 7;
const HEADER: usize = 16;
const MESSAGE: usize = 72;
/// The kernel fills what it is given, at most 32 KiB and at least a page.
const BUFFER: usize = 16 * 1024;
/// Sockets beyond this in one dump are not looked at; a pod has far fewer.
pub(crate) const MAX_SOCKETS: usize = 16 * 1024;

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) state: State,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Of a listener: connections that wait to be accepted, and how many may. Else bytes not read, and not acknowledged.
    pub(crate) receive_queue: u32,
    pub(crate) send_queue: u32,
    pub(crate) user: u32,
    /// 0 for a socket that no process holds: not accepted yet, or closed already.
    pub(crate) inode: u32,
}

/// As far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Established,
    Listen,
    Other,
}

/// Gets one socket after the other, with what TCP says of it where it says something.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(Entry, Option<Sample>);

/// Tells `tell` of every socket of the network namespace, at most [`MAX_SOCKETS`]. It blocks for one exchange with the kernel
/// per family. Returns whether that was all.
pub(crate) fn dump(tell: Tell<'_>) -> io::Result<bool> {
    ask(1 << (INET_DIAG_INFO - 1), tell)
}

/// As [`dump`], without what TCP says, which is most of the work.
pub(crate) fn list(tell: Tell<'_>) -> io::Result<bool> {
    ask(0, tell)
}

fn ask(extensions: u8, tell: Tell<'_>) -> io::Result<bool> {
    let mut buffer = vec![0u8; BUFFER];
    let mut left = MAX_SOCKETS;
    for family in [AF_INET, AF_INET6] {
        let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
        // The kernel answers at once; the limit only keeps a fault there from becoming one here.
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.send(&request(family, extensions))?;
        loop {
            let length = socket.read(&mut buffer)?;
            if parse(buffer.get(..length).unwrap_or_default(), &mut left, tell)? == Dump::Done {
                break;
            }
            if left == 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dump {
    More,
    Done,
}

/// A `nlmsghdr` and an `inet_diag_req_v2` for all sockets of `family` that a process holds or will accept.
fn request(family: u8, extensions: u8) -> [u8; 72] {
    let mut out = [0u8; 72];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(slot) = out.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
    };
    put(0, &72u32.to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    put(8, &1u32.to_ne_bytes());
    put(16, &[family, 6, extensions, 0]);
    put(20, &(0xfff & !TIME_WAIT & !CLOSE).to_ne_bytes());
    out
}

/// Takes the messages of one datagram.
pub(super) fn parse(mut bytes: &[u8], left: &mut usize, tell: Tell<'_>) -> io::Result<Dump> {
    while bytes.len() >= HEADER {
        let length = word_at(bytes, 0).unwrap_or(0) as usize;
        let Some(message) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match half_at(bytes, 4) {
            Some(NLMSG_DONE) => return Ok(Dump::Done),
            Some(NLMSG_ERROR) => {
                let code = word_at(message, 0).unwrap_or(0) as i32;
                return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
            }
            Some(SOCK_DIAG_BY_FAMILY) => {
                if *left == 0 {
                    return Ok(Dump::More);
                }
                *left -= 1;
                if let Some((entry, sample)) = entry(message) {
                    tell(entry, sample);
                }
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Dump::More)
}

fn entry(message: &[u8]) -> Option<(Entry, Option<Sample>)> {
    let family = *message.first()?;
    let port = |at| array_at(message, at).map(u16::from_be_bytes);
    let entry = Entry {
        state: match message.get(1)? {
            1 => State::Established,
            10 => State::Listen,
            _ => State::Other,
        },
        local: SocketAddr::new(address(family, message.get(8..24)?)?, port(4)?),
        remote: SocketAddr::new(address(family, message.get(24..40)?)?, port(6)?),
        receive_queue: word_at(message, 56)?,
        send_queue: word_at(message, 60)?,
        user: word_at(message, 64)?,
        inode: word_at(message, 68)?,
    };
    let mut attributes = message.get(MESSAGE..)?;
    while let (Some(length), Some(kind)) = (half_at(attributes, 0), half_at(attributes, 2)) {
        let Some(value) = attributes.get(4..usize::from(length)) else { break };
        if kind == INET_DIAG_INFO {
            return Some((entry, Some(Sample::parse(value))));
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    Some((entry, None))
}

/// An IPv4 address in an IPv6 socket is given as IPv4, as `getpeername` on our listeners does.
fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(array_at::<4>(bytes, 0)?).into()),
        AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(array_at::<16>(bytes, 0)?)).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<(Entry, Option<Sample>)> {
        let mut entries = Vec::new();
        assert!(dump(&mut |entry, sample| entries.push((entry, sample))).unwrap());
        entries
    }

    #[test]
    fn finds_listeners_and_both_ends_of_connections_of_either_family() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&[7; 4096]).unwrap();
            server.read_exact(&mut [0; 4096]).unwrap();
            server.write_all(&[7; 4096]).unwrap();
            client.read_exact(&mut [0; 4096]).unwrap();
            let entries = all();
            for socket in [&client, &server] {
                let addresses = (socket.local_addr().unwrap(), socket.peer_addr().unwrap());
                let (entry, sample) = entries.iter().find(|(entry, _)| (entry.local, entry.remote) == addresses).unwrap();
                let sample = sample.unwrap();
                assert!((1..1_000_000).contains(&sample.rtt_us) && (1..1_000_000).contains(&sample.min_rtt_us), "{entry:?}");
                assert_eq!((entry.state, entry.user), (State::Established, nix::unistd::geteuid().as_raw()));
                assert_ne!(entry.inode, 0);
            }
            let address = listener.local_addr().unwrap();
            let (entry, _) = entries.iter().find(|(entry, _)| entry.local == address && entry.state == State::Listen).unwrap();
            assert!(entry.receive_queue == 0 && entry.send_queue > 0, "{entry:?}");
        }
    }

    #[test]
    fn reports_the_kernels_error() {
        let mut bytes = vec![0u8; 20];
        bytes[..4].copy_from_slice(&20u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes[16..].copy_from_slice(&(-13i32).to_ne_bytes());
        assert_eq!(parse(&bytes, &mut 10, &mut |_, _| {}).unwrap_err().raw_os_error(), Some(13));
    }

    #[test]
    fn stops_at_the_bound() {
        let mut message = [0u8; HEADER + MESSAGE];
        message[..4].copy_from_slice(&((HEADER + MESSAGE) as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message[HEADER] = AF_INET;
        let (mut left, mut told) = (3, 0);
        assert_eq!(parse(&message.repeat(5), &mut left, &mut |_, _| told += 1).unwrap(), Dump::More);
        assert_eq!((left, told), (0, 3));
    }

    proptest! {
        #[test]
        fn never_panics(length in 0u32..200, kind in 0u16..24, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = [length.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &[0; 10]].concat();
            bytes.extend_from_slice(&rest);
            drop(parse(&bytes, &mut 10, &mut |_, _| {}));
            let _ = entry(&rest);
        }
    }
}
