//! What a proxied connection tells: requests, exchanges and bytes, seen on a copy of the stream.
//!
//! Observers get each chunk after the first attempt to forward it, so they never change or hold back a byte; whatever they
//! do not understand turns the connection opaque for good. They keep no payload: a method, a count of path segments, a
//! status and times leave this module, and nothing else.

pub(crate) mod exchange;
pub(crate) mod flows;
pub(crate) mod histogram;
mod http;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod sql;
pub(crate) mod statement;
mod transaction;
#[cfg(test)]
mod watched;

use std::sync::Arc;
use std::time::Instant;

use assent_runtime::CancellationToken;
use exchange::Exchanges;
use flows::{Connection, Flows};
use http::Http;
use statement::Decoder;

use crate::otlp::spans::Spans;
use crate::sampled::Sampled;

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

// === impl Side ===

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

/// The observer of one connection, with the flow that it reports to.
#[derive(Debug)]
pub(crate) struct Tap {
    flows: Arc<Flows>,
    connection: Connection,
    protocol: Protocol,
    stop: CancellationToken,
    spans: Option<Arc<Spans>>,
}

#[derive(Debug)]
enum Protocol {
    Http(Http),
    Database(Exchanges, Box<dyn Decoder>),
    #[cfg(test)]
    Watched(watched::Watched),
}

/// A database system that is decoded.
struct System {
    /// Its well-known port.
    port: u16,
    /// `db.system.name`.
    name: &'static str,
    decoder: fn() -> Box<dyn Decoder>,
}

/// The systems that are decoded. MariaDB speaks MySQL's protocol on its port.
const SYSTEMS: [System; 3] = [
    System { port: 5432, name: "postgresql", decoder: || Box::<postgres::Postgres>::default() },
    System { port: 6379, name: "redis", decoder: || Box::<redis::Redis>::default() },
    System { port: 3306, name: "mysql", decoder: || Box::<mysql::Mysql>::default() },
];

fn system(port: u16) -> Option<&'static System> {
    SYSTEMS.iter().find(|system| system.port == port)
}

/// The database system spoken on a well-known port.
pub(crate) fn database(port: u16) -> Option<&'static str> {
    system(port).map(|system| system.name)
}

// === impl Tap ===

impl Tap {
    /// An observer chosen by the application's `port`.
    pub(crate) fn new(flows: Arc<Flows>, connection: Connection, port: u16) -> Self {
        let protocol = match system(port) {
            Some(system) => Protocol::Database(Exchanges::default(), (system.decoder)()),
            None => Protocol::Http(Http::default()),
        };
        Self { flows, connection, protocol, stop: CancellationToken::new(), spans: None }
    }

    /// The same, for a connection that should end soon after `stop` is cancelled.
    pub(crate) fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// The same, with spans of traced requests.
    pub(crate) fn traced(self, spans: Option<Arc<Spans>>) -> Self {
        Self { spans, ..self }
    }

    /// Comes true when the connection should end.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.clone().cancelled_owned()
    }

    /// Nothing is asked or answered, and nothing is lost if the connection ends now. A database session is more than its
    /// statements, and of what is not understood nobody knows.
    pub(crate) fn idle(&self) -> bool {
        matches!(&self.protocol, Protocol::Http(http) if http.idle())
    }

    /// The connection broke.
    pub(crate) fn broke(&mut self, error: &std::io::Error) {
        self.connection.broke(error);
    }

    /// Sees `bytes` that `from` sent and that were read at `at`.
    pub(crate) fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant) {
        self.connection.count(from, bytes.len());
        let (flows, connection, spans) = (&self.flows, &self.connection, self.spans.as_deref());
        match &mut self.protocol {
            Protocol::Http(http) => http.bytes(from, bytes, at, &mut |event| tell(flows, connection, spans, event)),
            Protocol::Database(exchanges, decoder) => {
                if let Some(event) = exchanges.bytes(from, at) {
                    flows.database(connection, event);
                }
                decoder.bytes(from, bytes, at, &mut |event| flows.session(connection, event));
            }
            #[cfg(test)]
            Protocol::Watched(watched) => watched.bytes(from, bytes, at),
        }
    }

    /// The connection is about to close: the kernel's last word on its network side.
    pub(crate) fn last(&self, client: &impl Sampled, server: &impl Sampled) {
        self.connection.last(|from| match from {
            Side::Client => client.sample(),
            Side::Server => server.sample(),
        });
    }

    /// The connection is over at `at`.
    pub(crate) fn end(mut self, end: End, at: Instant) {
        let (flows, connection, spans) = (&self.flows, &self.connection, self.spans.as_deref());
        match &mut self.protocol {
            Protocol::Http(http) => http.end(at, &mut |event| tell(flows, connection, spans, event)),
            Protocol::Database(exchanges, decoder) => {
                decoder.end(end, at, &mut |event| flows.session(connection, event));
                if let Some(event) = exchanges.end() {
                    flows.database(connection, event);
                }
                if end == End::Reset {
                    flows.database(connection, exchange::Event::Reset);
                }
            }
            #[cfg(test)]
            Protocol::Watched(watched) => watched.end(end, at),
        }
    }
}

fn tell(flows: &Flows, connection: &Connection, spans: Option<&Spans>, event: http1::Event) {
    match (event, spans) {
        (http1::Event::Traced(traced), Some(spans)) => spans.add(connection.key(), &traced),
        (event, _) => flows.http(connection, event),
    }
}
