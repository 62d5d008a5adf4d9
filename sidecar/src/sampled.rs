//! The socket below a stream, to ask the kernel about it while it is still there.
//!
//! A connection that has ended is no longer in the kernel's list, but its descriptor still answers: what it did since the
//! last look is read at its end.

use tokio::net::TcpStream;

use crate::kernel::tcp_info::Sample;
use crate::prefixed::Prefixed;

/// One side of a relayed connection.
pub(crate) trait Sampled {
    /// What the kernel says of it now, where there is a TCP socket.
    fn sample(&self) -> Option<Sample> {
        None
    }
}

impl Sampled for TcpStream {
    fn sample(&self) -> Option<Sample> {
        Sample::of(self)
    }
}

impl<T: Sampled> Sampled for &mut T {
    fn sample(&self) -> Option<Sample> {
        (**self).sample()
    }
}

impl<T: Sampled> Sampled for Box<T> {
    fn sample(&self) -> Option<Sample> {
        (**self).sample()
    }
}

impl<T: Sampled> Sampled for Prefixed<T> {
    fn sample(&self) -> Option<Sample> {
        self.get_ref().sample()
    }
}

impl<T: Sampled> Sampled for tokio_rustls::client::TlsStream<T> {
    fn sample(&self) -> Option<Sample> {
        self.get_ref().0.sample()
    }
}

impl<T: Sampled> Sampled for tokio_rustls::server::TlsStream<T> {
    fn sample(&self) -> Option<Sample> {
        self.get_ref().0.sample()
    }
}

#[cfg(test)]
impl Sampled for tokio::io::DuplexStream {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::observe::Tap;
    use crate::observe::flows::{Direction, Flows, Key};
    use crate::relay::relay;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_that_came_and_went_between_two_looks_is_told() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let flows = Arc::new(Flows::default());
        let connection = flows.open(Key::new(Direction::Outbound, "", "127.0.0.1:9"), crate::proxy::socket(&far));
        let relaying = tokio::spawn(relay(near, far, Tap::new(flows.clone(), connection, 9)));
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"questionanswer");
        relaying.await.unwrap().unwrap();
        let window = flows.drain(Instant::now(), &HashMap::new());
        let flow = &window.tcp[0];
        assert_eq!((flow.opened, flow.closed, flow.connections), (1, 1, 0));
        assert!(flow.rtt_us > 0 && flow.min_rtt_us > 0, "{flow:?}");
    }
}
