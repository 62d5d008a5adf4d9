//! What a proxied connection tells: requests, exchanges and bytes, seen on a copy of the stream.
//!
//! Observers get each chunk after the first attempt to forward it, so they never change or hold back a byte; whatever they
//! do not understand turns the connection opaque for good. They keep no payload: a method, a count of path segments, a
//! status and times leave this module, and nothing else.

pub(crate) mod exchange;
pub(crate) mod flows;
pub(crate) mod histogram;
pub(crate) mod http1;

use std::sync::Arc;
use std::time::Instant;

use exchange::Exchanges;
use flows::{Connection, Flows};
use http1::Http1;

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
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
}

#[derive(Debug)]
enum Protocol {
    Http(Http1),
    Database(Exchanges),
}

/// The database system spoken on a well-known port.
pub(crate) fn database(port: u16) -> Option<&'static str> {
    match port {
        5432 => Some("postgresql"),
        6379 => Some("redis"),
        3306 => Some("mysql"),
        _ => None,
    }
}

// === impl Tap ===

impl Tap {
    /// An observer chosen by the application's `port`.
    pub(crate) fn new(flows: Arc<Flows>, connection: Connection, port: u16) -> Self {
        let protocol = match database(port) {
            Some(_) => Protocol::Database(Exchanges::default()),
            None => Protocol::Http(Http1::default()),
        };
        Self { flows, connection, protocol }
    }

    /// Sees `bytes` that `from` sent and that were read at `at`.
    pub(crate) fn bytes(&mut self, from: Side, bytes: &[u8], at: Instant) {
        self.connection.count(from, bytes.len());
        let (flows, connection) = (&self.flows, &self.connection);
        match &mut self.protocol {
            Protocol::Http(http) => http.bytes(from, bytes, at, &mut |event| flows.http(connection, event)),
            Protocol::Database(exchanges) => {
                if let Some(event) = exchanges.bytes(from, at) {
                    flows.database(connection, event);
                }
            }
        }
    }

    /// The connection is over at `at`.
    pub(crate) fn end(mut self, end: End, at: Instant) {
        let (flows, connection) = (&self.flows, &self.connection);
        match &mut self.protocol {
            Protocol::Http(http) => http.end(at, &mut |event| flows.http(connection, event)),
            Protocol::Database(exchanges) => {
                if let Some(event) = exchanges.end() {
                    flows.database(connection, event);
                }
                if end == End::Reset {
                    flows.database(connection, exchange::Event::Reset);
                }
            }
        }
    }
}
