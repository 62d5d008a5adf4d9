//! Addresses that stay one's own: below the ports that the kernel gives out by itself, so that nobody takes one while whoever
//! listens there is restarted.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first of them, and how many there are.
const FIRST: u32 = 20_000;
const PORTS: u32 = 12_000;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A loopback address where nobody listens, another one each time.
#[must_use]
pub fn free() -> SocketAddr {
    for _ in 0..PORTS {
        // Test programs begin at different ones.
        let number = std::process::id().wrapping_mul(97).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(FIRST + number).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("somebody listens at every port from {FIRST} on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_one_and_outside_of_what_the_kernel_gives_out() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let lowest: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
        let all: std::collections::BTreeSet<SocketAddr> = (0..100).map(|_| free()).collect();
        assert!(all.len() == 100 && all.iter().all(|address| address.port() < lowest), "{all:?}");
    }
}
