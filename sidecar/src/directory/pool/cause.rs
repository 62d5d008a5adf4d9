//! Why an endpoint could not be reached, as a word for metrics and logs: told apart by what an operator would do next.

use std::io::{Error, ErrorKind};

/// What kept a connection from an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody listens there.
    Refused,
    /// No answer in time, before there was a connection.
    ConnectTimeout,
    /// The network knows no way.
    Unreachable,
    /// Any other failure to connect.
    Connect,
    /// Connected, but no handshake in time.
    HandshakeTimeout,
    /// The peer ended the connection during the handshake.
    Closed,
    /// The peer's certificate is not that of the expected identity.
    Identity,
    /// Any other failure of the handshake.
    Handshake,
}

// === impl Cause ===

impl Cause {
    pub(crate) const ALL: [Self; 8] =
        [Self::Refused, Self::ConnectTimeout, Self::Unreachable, Self::Connect, Self::HandshakeTimeout, Self::Closed, Self::Identity, Self::Handshake];

    /// The cause of a failure to connect.
    pub(crate) fn of_connect(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::ConnectTimeout,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            _ => Self::Connect,
        }
    }

    /// The cause of a failure between connection and transport header.
    pub(crate) fn of_handshake(error: &Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (error.kind(), tls) {
            (_, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => Self::Identity,
            (ErrorKind::TimedOut, _) => Self::HandshakeTimeout,
            (ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe, _) => Self::Closed,
            _ => Self::Handshake,
        }
    }

    /// There was a connection, which the handshake then broke.
    pub(crate) fn after_connect(self) -> bool {
        matches!(self, Self::HandshakeTimeout | Self::Closed | Self::Identity | Self::Handshake)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Unreachable => "unreachable",
            Self::Connect => "connect",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Closed => "closed",
            Self::Identity => "identity",
            Self::Handshake => "handshake",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_wrong_certificate_from_a_broken_handshake() {
        let wrong = Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName));
        assert_eq!(Cause::of_handshake(&wrong), Cause::Identity);
        assert_eq!(Cause::of_handshake(&Error::other(rustls::Error::DecryptError)), Cause::Handshake);
        assert_eq!(Cause::of_handshake(&ErrorKind::TimedOut.into()), Cause::HandshakeTimeout);
        assert_eq!(Cause::of_handshake(&ErrorKind::UnexpectedEof.into()), Cause::Closed);
        assert_eq!(Cause::of_connect(&ErrorKind::TimedOut.into()), Cause::ConnectTimeout);
        assert_eq!(Cause::of_connect(&ErrorKind::ConnectionRefused.into()), Cause::Refused);
    }

    #[test]
    fn every_word_is_its_own() {
        let words: std::collections::HashSet<_> = Cause::ALL.into_iter().map(Cause::as_str).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        assert!(Cause::ALL.into_iter().enumerate().all(|(place, cause)| cause as usize == place));
    }
}
