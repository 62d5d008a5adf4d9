//! The Linkerd transport header: how a client sidecar names the port it wants, over mTLS, on a peer's inbound port.
//!
//! After the handshake the client sends an ASCII preface, a big-endian length and a protobuf `Header`. Reading is bounded
//! before it allocates. What to do with a header is `inbound`'s business, not decided here.

use std::io;

use prost::Message;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// ALPN of a connection that starts with a transport header.
pub(crate) const ALPN: &[u8] = b"transport.l5d.io/v1";
const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";
/// A DNS name of 253 bytes and two small numbers fit well.
const MAX_HEADER: u32 = 1024;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    /// Port of the application behind the peer.
    #[prost(int32, tag = "1")]
    pub(crate) port: i32,
    /// Set only when the peer is to act as a gateway.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) session_protocol: Option<SessionProtocol>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionProtocol {
    #[prost(oneof = "Kind", tags = "1, 2")]
    pub(crate) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Kind {
    #[prost(message, tag = "1")]
    Http1(Empty),
    #[prost(message, tag = "2")]
    Http2(Empty),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("could not read the transport header")]
    Read(#[source] io::Error),
    #[error("the connection does not start with a transport header")]
    Preface,
    #[error("the transport header of {0} bytes is too long")]
    Length(u32),
    #[error("could not decode the transport header")]
    Decode(#[source] prost::DecodeError),
}

// === impl Header ===

impl Header {
    /// A header asking for opaque bytes to `port`.
    pub(crate) fn opaque(port: u16) -> Self {
        Self { port: i32::from(port), ..Self::default() }
    }

    /// Whether what follows is HTTP/2, in which the peer's proxy may have wrapped HTTP/1.
    pub(crate) fn http2(&self) -> bool {
        matches!(self.session_protocol, Some(SessionProtocol { kind: Some(Kind::Http2(_)) }))
    }

    /// Preface, length and message, ready to be written before the first byte of data.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = self.encode_to_vec();
        let mut out = Vec::with_capacity(PREFACE.len() + 4 + body.len());
        out.extend_from_slice(PREFACE);
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads exactly one header and not a byte more.
    pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Self, Error> {
        let mut preface = [0u8; PREFACE.len()];
        io.read_exact(&mut preface).await.map_err(Error::Read)?;
        if preface != PREFACE {
            return Err(Error::Preface);
        }
        let length = io.read_u32().await.map_err(Error::Read)?;
        if length > MAX_HEADER {
            return Err(Error::Length(length));
        }
        let mut body = vec![0u8; length as usize];
        io.read_exact(&mut body).await.map_err(Error::Read)?;
        Self::decode(body.as_slice()).map_err(Error::Decode)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> (Result<Header, Error>, usize) {
        let mut rest = bytes;
        let read = futures::executor::block_on(Header::read(&mut rest));
        (read, rest.len())
    }

    #[test]
    fn encodes_as_the_field_does() {
        // Port 8080 as field 1 varint: 08 90 3f.
        let mut expected = b"transport.l5d.io/v1\r\n\r\n\x00\x00\x00\x03".to_vec();
        expected.extend_from_slice(&[0x08, 0x90, 0x3f]);
        assert_eq!(Header::opaque(8080).encode(), expected);
    }

    #[test]
    fn leaves_the_data_behind_it_alone() {
        let mut bytes = Header { name: "web".into(), ..Header::opaque(80) }.encode();
        bytes.extend_from_slice(b"GET /");
        let (header, rest) = read(&bytes);
        assert_eq!(header.unwrap().name, "web");
        assert_eq!(rest, 5);
    }

    #[test]
    fn refuses_what_is_too_long_before_allocating() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(read(&bytes).0, Err(Error::Length(u32::MAX))));
    }

    #[test]
    fn knows_the_session_protocols() {
        // Field 3, length 2, inner field 2 (http2), length 0.
        let mut bytes = PREFACE.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 6, 0x08, 0x50, 0x1a, 0x02, 0x12, 0x00]);
        let header = read(&bytes).0.unwrap();
        assert_eq!(header.port, 80);
        assert!(matches!(header.session_protocol.unwrap().kind, Some(Kind::Http2(_))));
    }

    proptest! {
        #[test]
        fn round_trips(port in any::<u16>(), name in "[a-z.]{0,200}") {
            let header = Header { name, ..Header::opaque(port) };
            prop_assert_eq!(read(&header.encode()).0.unwrap(), header);
        }

        #[test]
        fn never_panics(tail in proptest::collection::vec(any::<u8>(), 0..64), valid in any::<bool>()) {
            let mut bytes = if valid { PREFACE.to_vec() } else { Vec::new() };
            bytes.extend_from_slice(&tail);
            drop(read(&bytes));
        }
    }
}
