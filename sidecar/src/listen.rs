//! The listeners of redirected connections.
//!
//! The redirect keeps the family of a connection, so a port that is open on all IPv4 addresses is opened on all IPv6 ones
//! too, by a socket of its own: addresses keep the family that they have on the wire.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

/// As many as the kernel's default lets wait at most.
const BACKLOG: i32 = 4096;

/// Binds `address`, and its IPv6 sibling where it means all addresses and the kernel has IPv6. The first one is `address`.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Vec<TcpListener>> {
    let first = open(address)?;
    let mut listeners = vec![first];
    if address.is_ipv4() && address.ip().is_unspecified() {
        let port = listeners.first().map(TcpListener::local_addr).transpose()?.map_or(0, |bound| bound.port());
        match open((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_without_ipv6(&error) => tracing::debug!(%error, "there is no IPv6 here"),
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EPROTONOSUPPORT))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let listeners = bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let [v4, v6] = &listeners[..] else { panic!("{listeners:?}") };
        let port = v4.local_addr().unwrap().port();
        assert_eq!(v6.local_addr().unwrap(), (Ipv6Addr::UNSPECIFIED, port).into());
        for (listener, host) in [(v4, "127.0.0.1"), (v6, "::1")] {
            let client = TcpStream::connect((host, port)).unwrap();
            listener.set_nonblocking(false).unwrap();
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        }
    }

    #[test]
    fn a_named_address_is_only_itself() {
        assert_eq!(bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().len(), 1);
    }
}
