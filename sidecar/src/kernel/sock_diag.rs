//! The kernel's own view of every TCP connection in the pod, by one netlink dump.
//!
//! `NETLINK_SOCK_DIAG` gives `TCP_INFO` without privileges and without touching the sockets' owners, and no safe wrapper of
//! the socket option exists. Requests and answers are encoded here by their fixed layout; fields are read by the length the
//! kernel returned, so that older and newer kernels both work.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::observe::flows::Sample;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
const ESTABLISHED: u32 = 1 << 1;
const HEADER: usize = 16;
const MESSAGE: usize = 72;
/// Connections beyond this in one dump are not matched; a pod has far fewer.
const MAX_SOCKETS: usize = 16 * 1024;

/// Established connections of the network namespace by local and remote address. It blocks for one exchange with the kernel.
pub(crate) fn dump() -> io::Result<HashMap<(SocketAddr, SocketAddr), Sample>> {
    let mut samples = HashMap::new();
    for family in [AF_INET, AF_INET6] {
        let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
        // The kernel answers at once; the limit only keeps a fault there from becoming one here.
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.send(&request(family))?;
        let mut buffer = vec![0u8; 32 * 1024];
        loop {
            let length = socket.read(&mut buffer)?;
            if parse(buffer.get(..length).unwrap_or_default(), &mut samples)? == Dump::Done || samples.len() > MAX_SOCKETS {
                break;
            }
        }
    }
    Ok(samples)
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dump {
    More,
    Done,
}

/// A `nlmsghdr` and an `inet_diag_req_v2` for all established connections of `family`.
fn request(family: u8) -> [u8; 72] {
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
    put(16, &[family, 6, 1 << (INET_DIAG_INFO - 1), 0]);
    put(20, &ESTABLISHED.to_ne_bytes());
    out
}

/// Takes the messages of one datagram.
pub(super) fn parse(mut bytes: &[u8], samples: &mut HashMap<(SocketAddr, SocketAddr), Sample>) -> io::Result<Dump> {
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0).unwrap_or(0) as usize;
        let Some(message) = bytes.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match u16_at(bytes, 4) {
            Some(NLMSG_DONE) => return Ok(Dump::Done),
            Some(NLMSG_ERROR) => {
                let code = u32_at(message, 0).unwrap_or(0) as i32;
                return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
            }
            Some(SOCK_DIAG_BY_FAMILY) => {
                if let Some((addresses, sample)) = connection(message) {
                    samples.insert(addresses, sample);
                }
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Dump::More)
}

fn connection(message: &[u8]) -> Option<((SocketAddr, SocketAddr), Sample)> {
    let family = *message.first()?;
    let port = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let local = SocketAddr::new(address(family, message.get(8..24)?)?, port(4)?);
    let remote = SocketAddr::new(address(family, message.get(24..40)?)?, port(6)?);
    let mut attributes = message.get(MESSAGE..)?;
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let value = attributes.get(4..usize::from(length))?;
        if kind == INET_DIAG_INFO {
            return Some(((local, remote), sample(value)));
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// An IPv4 address in an IPv6 socket is given as IPv4, as `getpeername` on our listeners does.
fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).into()),
        AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

/// Fields of `struct tcp_info` by offset; those that the kernel does not know are 0.
fn sample(info: &[u8]) -> Sample {
    let word = |at| u32_at(info, at).unwrap_or(0);
    let long = |at: usize| info.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
    Sample {
        lost: word(32),
        rtt_us: word(68),
        retransmits: u64::from(word(100)),
        // A connection without a measurement has the maximum.
        min_rtt_us: Some(word(148)).filter(|rtt| *rtt != u32::MAX).unwrap_or(0),
        receiver_limited_us: long(176),
        sender_limited_us: long(184),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_both_ends_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 4096]).unwrap();
        server.read_exact(&mut [0; 4096]).unwrap();
        server.write_all(&[7; 4096]).unwrap();
        client.read_exact(&mut [0; 4096]).unwrap();
        let samples = dump().unwrap();
        let here = samples[&(client.local_addr().unwrap(), client.peer_addr().unwrap())];
        assert!((1..1_000_000).contains(&here.rtt_us), "{here:?}");
        assert!((1..1_000_000).contains(&here.min_rtt_us), "{here:?}");
        assert!(samples.contains_key(&(server.local_addr().unwrap(), server.peer_addr().unwrap())));
    }

    #[test]
    fn reports_the_kernels_error() {
        let mut bytes = vec![0u8; 20];
        bytes[..4].copy_from_slice(&20u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes[16..].copy_from_slice(&(-13i32).to_ne_bytes());
        assert_eq!(parse(&bytes, &mut HashMap::new()).unwrap_err().raw_os_error(), Some(13));
    }

    proptest! {
        #[test]
        fn never_panics(length in 0u32..200, kind in 0u16..24, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = [length.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &[0; 10]].concat();
            bytes.extend_from_slice(&rest);
            drop(parse(&bytes, &mut HashMap::new()));
            let _ = (connection(&rest), sample(&rest));
        }
    }
}
