//! What a connection's first bytes are: a TLS ClientHello, and for whom, or anything else.
//!
//! The bytes are parsed by rustls and then replayed to whoever serves the connection. A hello is bounded; what is not one
//! passes as it is, so this never refuses anything itself.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::transport;

/// The post-quantum key shares make a hello a few kilobytes long; nothing honest is longer than this.
const MAX_HELLO: usize = 16 * 1024;
/// For the whole rest of a hello once it has begun, however often a byte of it comes.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// No TLS, or none that we understand.
    Other,
    Tls {
        server_name: Option<String>,
        transport: bool,
    },
}

/// Reads until it is clear what the connection is; returns the bytes taken from it.
pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(Hello, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(2048);
    let mut deadline = None;
    loop {
        let more = io.read_buf(&mut bytes);
        let read = match deadline {
            None => more.await?,
            Some(deadline) => tokio::time::timeout_at(deadline, more).await.unwrap_or(Ok(0))?,
        };
        deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        match parse(&bytes) {
            Some(hello) => return Ok((hello, bytes)),
            None if read == 0 || bytes.len() > MAX_HELLO => return Ok((Hello::Other, bytes)),
            None => {}
        }
    }
}

/// None when more bytes are needed.
fn parse(bytes: &[u8]) -> Option<Hello> {
    // A handshake record of any version; two bytes tell it from text protocols at once.
    match bytes {
        [] | [0x16] => return None,
        [0x16, 0x03, ..] => {}
        _ => return Some(Hello::Other),
    }
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest.len();
        if acceptor.read_tls(&mut rest).is_err() || rest.len() == before {
            return Some(Hello::Other);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let transport = hello.alpn().is_some_and(|mut names| names.any(|name| name == transport::ALPN));
                return Some(Hello::Tls { server_name: hello.server_name().map(str::to_owned), transport });
            }
            Ok(None) => {}
            Err(_) => return Some(Hello::Other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls_pki_types::ServerName;

    use super::*;

    fn client_hello(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let mut client = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn tells_name_and_protocol_at_any_split() {
        let bytes = client_hello("web.shop.example", &[b"h2", transport::ALPN]);
        let expected = Hello::Tls { server_name: Some("web.shop.example".into()), transport: true };
        assert_eq!(parse(&bytes), Some(expected));
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None, "after {length} bytes");
        }
        let other = Hello::Tls { server_name: Some("a.b".into()), transport: false };
        assert_eq!(parse(&client_hello("a.b", &[])), Some(other));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_back_every_byte_it_read() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16", b"\x16\x03\x01\x00\x05hello", b""] {
            let (near, mut far) = tokio::io::duplex(1024);
            tokio::io::AsyncWriteExt::write_all(&mut far, bytes).await.unwrap();
            if bytes.is_empty() {
                drop(far);
            }
            let (hello, read) = super::read(&mut { near }).await.unwrap();
            assert_eq!((hello, read.as_slice()), (Hello::Other, bytes));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hello_that_drips_is_not_waited_for() {
        let bytes = client_hello("web.shop.example", &[]);
        let (near, mut far) = tokio::io::duplex(1024);
        let (start, expected) = (Instant::now(), bytes.clone());
        let dripping = tokio::spawn(async move {
            for byte in bytes {
                if tokio::io::AsyncWriteExt::write_all(&mut far, &[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(PATIENCE / 10).await;
            }
        });
        let (hello, read) = super::read(&mut { near }).await.unwrap();
        dripping.await.unwrap();
        assert_eq!((hello, Some(read.as_slice())), (Hello::Other, expected.get(..read.len())));
        assert!(read.len() > 5 && start.elapsed() < PATIENCE * 2, "{} bytes", read.len());
    }

    proptest! {
        #[test]
        fn never_panics(tls in any::<bool>(), tail in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut bytes = if tls { vec![0x16, 0x03, 0x01] } else { Vec::new() };
            bytes.extend_from_slice(&tail);
            let _ = parse(&bytes);
        }
    }
}
