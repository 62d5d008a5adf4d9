//! Where a redirected connection was really going.
//!
//! netfilter rewrites the destination and remembers the old one; a connection that was not redirected is its own answer.
//! Nothing here decides what to do with the address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use socket2::SockRef;
use tokio::net::TcpStream;

/// How a listener learns the original destination.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// From netfilter, as in a pod.
    Kernel,
    /// Always this one: an explicit proxy in front of one server.
    Fixed(SocketAddr),
}

// === impl Origin ===

impl Origin {
    /// The destination that the peer of `stream` dialled.
    pub(crate) fn of(self, stream: &TcpStream) -> io::Result<SocketAddr> {
        match self {
            Self::Fixed(address) => Ok(address),
            Self::Kernel => {
                let local = canonical(stream.local_addr()?);
                let socket = SockRef::from(stream);
                let original = match local.ip() {
                    IpAddr::V4(_) => socket.original_dst_v4(),
                    IpAddr::V6(_) => socket.original_dst_v6(),
                };
                match original {
                    Ok(address) => Ok(address.as_socket().map_or(local, canonical)),
                    // Without any address translation in the namespace there is no record of it.
                    Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                        Some(Errno::ENOENT | Errno::ENOPROTOOPT) => Ok(local),
                        _ => Err(error),
                    },
                }
            }
        }
    }
}

/// An IPv4 address that arrived through an IPv6 socket, as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
