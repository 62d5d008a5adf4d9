//! The shape of a database conversation, without reading it: client bytes, then the first server byte.
//!
//! The systems watched here are request and answer on one connection, so the time from the first byte of a client run to
//! the first server byte after it is the turnaround. No protocol is decoded, hence it works under the application's own TLS.

use std::time::{Duration, Instant};

/// What changed in a database connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The client asks; `.0` is when its first byte came.
    Asked(Instant),
    /// The server's first byte of an answer, with the time it took and when it had been asked.
    Answered { asked: Instant, turnaround: Duration },
    /// The connection ended before an answer to what was asked at `.0`.
    Unanswered(Instant),
    /// The connection was reset.
    Reset,
}

/// One connection's conversation.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    asked: Option<Instant>,
}

// === impl Exchanges ===

impl Exchanges {
    pub(crate) fn bytes(&mut self, from: super::Side, at: Instant) -> Option<Event> {
        match (from, self.asked) {
            (super::Side::Client, None) => {
                self.asked = Some(at);
                Some(Event::Asked(at))
            }
            (super::Side::Server, Some(asked)) => {
                self.asked = None;
                Some(Event::Answered { asked, turnaround: at.saturating_duration_since(asked) })
            }
            // More of the same run, or a server that speaks first (a greeting, a notification).
            (super::Side::Client, Some(_)) | (super::Side::Server, None) => None,
        }
    }

    pub(crate) fn end(&mut self) -> Option<Event> {
        self.asked.take().map(Event::Unanswered)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Side;
    use super::*;

    #[test]
    fn measures_from_the_first_client_byte_to_the_first_server_byte() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut exchanges = Exchanges::default();
        assert_eq!(exchanges.bytes(Side::Server, at(0)), None, "a greeting is no answer");
        assert_eq!(exchanges.bytes(Side::Client, at(1)), Some(Event::Asked(at(1))));
        assert_eq!(exchanges.bytes(Side::Client, at(2)), None);
        let answered = Event::Answered { asked: at(1), turnaround: Duration::from_millis(4) };
        assert_eq!(exchanges.bytes(Side::Server, at(5)), Some(answered));
        assert_eq!(exchanges.bytes(Side::Server, at(6)), None);
        assert_eq!(exchanges.end(), None);
        assert_eq!(exchanges.bytes(Side::Client, at(7)), Some(Event::Asked(at(7))));
        assert_eq!(exchanges.end(), Some(Event::Unanswered(at(7))));
    }
}
