//! The table of causes: what a failure is called, and whose it is.

use std::io;

use crate::directory::pool;
use crate::metrics::Failure;
use crate::observe::Side;
use crate::observe::flows::Direction;
use crate::relay;
use crate::vouched::Compromised;

/// On whose part of the way a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    /// Whoever connected to the pod.
    Client,
    /// Ourselves.
    Sidecar,
    Discovery,
    /// Where the application connects to.
    Peer,
    /// In this pod.
    Application,
}

/// A word for what happened, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause {
    pub(crate) code: &'static str,
    pub(crate) hop: Hop,
}

// === impl Hop ===

impl Hop {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Sidecar => "sidecar",
            Self::Discovery => "discovery",
            Self::Peer => "peer",
            Self::Application => "application",
        }
    }

    /// Who is on that side of a connection.
    fn at(direction: Direction, side: Side) -> Self {
        match (direction, side) {
            (Direction::Inbound, Side::Client) => Self::Client,
            (Direction::Outbound, Side::Server) => Self::Peer,
            (Direction::Inbound, Side::Server) | (Direction::Outbound, Side::Client) => Self::Application,
        }
    }
}

// === impl Cause ===

impl Cause {
    /// Discovery did not answer in time, so that a connection went the plain way.
    pub(crate) const UNRESOLVED: Self = Self { code: "unresolved", hop: Hop::Discovery };
    /// Nobody knows where a connection was going.
    pub(crate) const NO_DESTINATION: Self = Self { code: "no_destination", hop: Hop::Sidecar };

    /// The cause of a `failure` with that `error`, if there is one.
    pub(crate) fn of(failure: Failure, direction: Direction, error: Option<&io::Error>) -> Self {
        // Both legs of a handshake are with the network's end of the connection.
        let remote = match direction {
            Direction::Inbound => Hop::Client,
            Direction::Outbound => Hop::Peer,
        };
        let word = |of: fn(&io::Error) -> pool::Cause, other: pool::Cause| error.map_or(other, of).as_str();
        match failure {
            Failure::Connect => Self { code: word(pool::Cause::of_connect, pool::Cause::Connect), hop: Hop::at(direction, Side::Server) },
            Failure::Handshake if error.is_some_and(ours) => Self { code: "own_identity", hop: Hop::Sidecar },
            Failure::Handshake => Self { code: word(pool::Cause::of_handshake, pool::Cause::Handshake), hop: remote },
            Failure::Refused => Self { code: "protocol", hop: remote },
            Failure::Loop => Self { code: "loop", hop: Hop::Application },
            Failure::Broken => Self { code: error.map_or("broken", broken), hop: error.and_then(relay::side).map_or(remote, |side| Hop::at(direction, side)) },
        }
    }
}

/// TLS could not even be set up: there is nothing to show or nobody to trust.
fn ours(error: &io::Error) -> bool {
    use assent_runtime::workload::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::Uncertified | Error::Tls(_) | Error::Key(_) | Error::Crypto(_) | Error::Trust(_)))
}

fn broken(error: &io::Error) -> &'static str {
    if error.get_ref().is_some_and(|inner| inner.is::<Compromised>()) {
        return "compromised_root";
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "reset",
        io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected | io::ErrorKind::WriteZero => "gone",
        // Without the end that TLS has for it.
        io::ErrorKind::UnexpectedEof => "cut",
        io::ErrorKind::TimedOut => "timeout",
        _ => "broken",
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn every_failure_has_a_word_and_somebody() {
        use Direction::{Inbound, Outbound};
        let broken = |side, kind: ErrorKind| relay::broken(side)(kind.into());
        for (failure, direction, error, expected) in [
            (Failure::Connect, Outbound, Some(ErrorKind::ConnectionRefused.into()), "refused peer"),
            (Failure::Connect, Inbound, Some(ErrorKind::ConnectionRefused.into()), "refused application"),
            (Failure::Connect, Inbound, Some(ErrorKind::TimedOut.into()), "connect_timeout application"),
            (Failure::Connect, Outbound, None, "connect peer"),
            (Failure::Handshake, Outbound, Some(ErrorKind::TimedOut.into()), "handshake_timeout peer"),
            (Failure::Handshake, Inbound, Some(ErrorKind::UnexpectedEof.into()), "closed client"),
            (Failure::Handshake, Outbound, Some(own()), "own_identity sidecar"),
            (Failure::Refused, Inbound, None, "protocol client"),
            (Failure::Loop, Outbound, None, "loop application"),
            (Failure::Broken, Inbound, Some(broken(Side::Server, ErrorKind::ConnectionReset)), "reset application"),
            (Failure::Broken, Inbound, Some(broken(Side::Client, ErrorKind::UnexpectedEof)), "cut client"),
            (Failure::Broken, Outbound, Some(broken(Side::Client, ErrorKind::BrokenPipe)), "gone application"),
            (Failure::Broken, Outbound, Some(broken(Side::Server, ErrorKind::TimedOut)), "timeout peer"),
            (Failure::Broken, Inbound, Some(ErrorKind::Other.into()), "broken client"),
            (Failure::Broken, Outbound, Some(std::io::Error::other(Compromised)), "compromised_root peer"),
        ] {
            let cause = Cause::of(failure, direction, error.as_ref());
            assert_eq!(format!("{} {}", cause.code, cause.hop.as_str()), expected, "{failure:?} {direction:?} {error:?}");
        }
    }

    fn own() -> io::Error {
        io::Error::other(assent_runtime::workload::Error::Tls(rustls::Error::General("no certificate".into())))
    }
}
