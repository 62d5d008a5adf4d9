//! What is known of destinations, as text that a later process can read.
//!
//! ```text
//!   assent-discovery 1
//!   service 10.96.0.77:80 1764240000
//!   endpoint 10.0.0.1:8080 4143 cart.shop.serviceaccount.identity.assent-system.cluster.local
//!   endpoint 10.0.0.2:8080
//!   pod 10.0.0.9:6379 1764240007
//!   endpoint 10.0.0.9:6379
//!   end 5c0e3a8f4b1d9e27
//! ```
//! The number behind a destination is when discovery was last there, in seconds of the Unix epoch. Text is bounded when
//! written and when read, and one that is not exactly as written is refused as a whole. Files are not touched here.

use std::fmt::Write as _;
use std::net::SocketAddr;

use assent_runtime::workload::Name;

use super::MAX_DESTINATIONS;
use super::pool::{MAX_ENDPOINTS, Peer};
use crate::kept::sum;

/// Two of these and a key with its certificate fit a volume of a mebibyte.
pub(super) const MAX_BYTES: usize = 256 * 1024;
const HEADER: &str = "assent-discovery 1\n";
/// Room for the last line.
const TRAILER: usize = "end ".len() + 16 + 1;

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) address: SocketAddr,
    pub(super) kind: Kind,
    pub(super) endpoints: Vec<(SocketAddr, Option<Peer>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pod,
    Service,
}

/// Why a text cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it is longer than {MAX_BYTES} bytes")]
    Length,
    #[error("it has another format")]
    Header,
    #[error("its sum is wrong")]
    Sum,
    #[error("its line {0} makes no sense")]
    Line(usize),
}

/// Destinations with the time of each, in the order given, as many as fit.
pub(super) fn encode(destinations: &[(Saved, u64)]) -> String {
    let mut text = HEADER.to_owned();
    for (saved, heard) in destinations.iter().filter(|(saved, _)| !saved.endpoints.is_empty()).take(MAX_DESTINATIONS) {
        let before = text.len();
        let written = describe(&mut text, saved, *heard);
        // One that does not fit leaves room for smaller ones behind it.
        if written.is_err() || text.len() + TRAILER > MAX_BYTES {
            text.truncate(before);
        }
    }
    let sum = sum(text.as_bytes());
    text.push_str(&format!("end {sum:016x}\n"));
    text
}

fn describe(text: &mut String, saved: &Saved, heard: u64) -> std::fmt::Result {
    let kind = match saved.kind {
        Kind::Pod => "pod",
        Kind::Service => "service",
    };
    writeln!(text, "{kind} {} {heard}", saved.address)?;
    for (address, peer) in &saved.endpoints {
        match peer {
            Some(peer) => writeln!(text, "endpoint {address} {} {}", peer.inbound_port, peer.identity)?,
            None => writeln!(text, "endpoint {address}")?,
        }
    }
    Ok(())
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// If it is anything else.
pub(super) fn parse(text: &[u8]) -> Result<Vec<(Saved, u64)>, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::Length);
    }
    if !text.starts_with(HEADER.as_bytes()) {
        return Err(Error::Header);
    }
    let (body, trailer) = text.split_at_checked(text.len().saturating_sub(TRAILER)).ok_or(Error::Sum)?;
    if *trailer != *format!("end {:016x}\n", sum(body)).as_bytes() {
        return Err(Error::Sum);
    }
    let body = std::str::from_utf8(body).map_err(|_| Error::Sum)?;
    let mut destinations: Vec<(Saved, u64)> = Vec::new();
    for (number, line) in body.lines().enumerate().skip(1) {
        let wrong = Error::Line(number + 1);
        let mut words = line.split(' ');
        let known = match (words.next(), words.next().and_then(|word| word.parse().ok())) {
            (Some(word @ ("pod" | "service")), Some(address)) if destinations.len() < MAX_DESTINATIONS => {
                let kind = if word == "pod" { Kind::Pod } else { Kind::Service };
                let heard = words.next().and_then(|word| word.parse().ok());
                heard.map(|heard| destinations.push((Saved { address, kind, endpoints: Vec::new() }, heard)))
            }
            (Some("endpoint"), Some(address)) => match (destinations.last_mut(), peer(&mut words)) {
                (Some((saved, _)), Some(peer)) if saved.endpoints.len() < limit(saved.kind) => {
                    saved.endpoints.push((address, peer));
                    Some(())
                }
                _ => None,
            },
            _ => None,
        };
        if known.is_none() || words.next().is_some() {
            return Err(wrong);
        }
    }
    Ok(destinations)
}

fn limit(kind: Kind) -> usize {
    match kind {
        Kind::Pod => 1,
        Kind::Service => MAX_ENDPOINTS,
    }
}

/// The rest of an endpoint's line; none if it is wrong.
fn peer<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Option<Peer>> {
    let Some(port) = words.next() else { return Some(None) };
    let inbound_port = port.parse().ok().filter(|port| *port != 0)?;
    let identity = words.next()?.parse::<Name>().ok()?;
    Some(Some(Peer { identity, inbound_port }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        let four = (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from);
        let six = (any::<[u8; 16]>(), any::<u16>()).prop_map(SocketAddr::from);
        prop_oneof![four, six]
    }

    fn identity() -> impl Strategy<Value = Name> {
        let name = |(account, namespace): (String, String)| Name::new(&namespace, &account, "assent-system", "cluster.local").unwrap();
        ("[a-z]{1,63}", "[a-z]{1,63}").prop_map(name)
    }

    fn saved() -> impl Strategy<Value = (Saved, u64)> {
        let peer = proptest::option::of((identity(), 1u16..).prop_map(|(identity, inbound_port)| Peer { identity, inbound_port }));
        let endpoints = proptest::collection::vec((address(), peer), 1..4);
        (address(), any::<bool>(), endpoints, any::<u64>()).prop_map(|(address, service, mut endpoints, heard)| {
            let kind = if service { Kind::Service } else { Kind::Pod };
            endpoints.truncate(limit(kind));
            (Saved { address, kind, endpoints }, heard)
        })
    }

    /// A text with a right sum.
    fn summed(body: &str) -> Vec<u8> {
        format!("{body}end {:016x}\n", sum(body.as_bytes())).into_bytes()
    }

    #[test]
    fn lines_that_make_no_sense_are_named() {
        for (line, rest) in [
            (2, "endpoint 10.0.0.1:80\n"),
            (2, "service 10.0.0.1 7\n"),
            (2, "service 10.0.0.1:80\n"),
            (2, "service 10.0.0.1:80 7 x\n"),
            (2, "cluster 10.0.0.1:80 7\n"),
            (2, "\n"),
            (3, "pod 10.0.0.1:80 7\nendpoint 10.0.0.1:80 0 cart.shop.serviceaccount.identity.assent-system.cluster.local\n"),
            (3, "pod 10.0.0.1:80 7\nendpoint 10.0.0.1:80 4143 cart\n"),
            (3, "pod 10.0.0.1:80 7\nendpoint 10.0.0.1:80 4143\n"),
            (4, "pod 10.0.0.1:80 7\nendpoint 10.0.0.1:80\nendpoint 10.0.0.2:80\n"),
        ] {
            assert_eq!(parse(&summed(&format!("{HEADER}{rest}"))), Err(Error::Line(line)), "{rest}");
        }
        assert_eq!(parse(&summed("assent-discovery 2\n")), Err(Error::Header));
        assert_eq!(parse(&summed(HEADER)), Ok(Vec::new()));
        assert_eq!(parse(&vec![b'a'; MAX_BYTES + 1]), Err(Error::Length));
        assert_eq!(parse(b""), Err(Error::Header));
        assert_eq!(parse(HEADER.as_bytes()), Err(Error::Sum));
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let peer = Some(Peer { identity: Name::new("shop", "cart", "assent-system", "cluster.local").unwrap(), inbound_port: 4143 });
        let endpoints = |count: u16| (0..count).map(|n| (SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80)), peer.clone())).collect();
        let saved = |n, count| (Saved { address: SocketAddr::from(([10, 96, 0, n], 80)), kind: Kind::Service, endpoints: endpoints(count) }, 7);
        let many: Vec<_> = (0..10).map(|n| saved(n, 1024)).chain([saved(10, 1)]).collect();
        let text = encode(&many);
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        let read = parse(text.as_bytes()).unwrap();
        assert!(read.len() >= 3 && read.len() < 11, "{}", read.len());
        assert_eq!(read[0], many[0]);
        assert_eq!(read.last(), many.last(), "a small one behind the large");
        assert!(read.iter().all(|(saved, _)| many.iter().any(|(known, _)| known == saved)));
    }

    proptest! {
        #[test]
        fn round_trips(saved in proptest::collection::vec(saved(), 0..6)) {
            prop_assert_eq!(parse(encode(&saved).as_bytes()).unwrap(), saved);
        }

        #[test]
        fn one_wrong_byte_is_noticed(saved in proptest::collection::vec(saved(), 1..4), place in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut text = encode(&saved).into_bytes();
            let place = place.index(text.len());
            text[place] ^= flip;
            prop_assert!(parse(&text).is_err());
            text[place] ^= flip;
            text.truncate(place);
            prop_assert!(parse(&text).is_err());
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), words in "((pod|service|endpoint|end) [0-9.:a-z]{0,20} ?[0-9]{0,21}\n){0,6}") {
            drop(parse(&bytes));
            drop(parse(&summed(&format!("{HEADER}{words}"))));
            drop(parse(&[HEADER.as_bytes(), &bytes].concat()));
        }
    }
}
