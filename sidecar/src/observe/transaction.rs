//! How long a transaction is open, and how much of that its server waits for its client.

use std::time::{Duration, Instant};

use super::statement::Event;

/// A transaction that is open.
#[derive(Debug)]
pub(crate) struct Transaction {
    began: Instant,
    idle: Duration,
    /// Since when nothing is asked.
    waiting: Option<Instant>,
}

// === impl Transaction ===

impl Transaction {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, idle: Duration::ZERO, waiting: None }
    }

    /// All is answered at `at`: it is the client's turn.
    pub(crate) fn waits(&mut self, at: Instant) {
        self.waiting.get_or_insert(at);
    }

    /// The client asks for something at `at`.
    pub(crate) fn asked(&mut self, at: Instant) {
        if let Some(since) = self.waiting.take() {
            self.idle += at.saturating_duration_since(since);
        }
    }

    pub(crate) fn ended(mut self, at: Instant, committed: bool) -> Event {
        self.asked(at);
        Event::Transaction { length: at.saturating_duration_since(self.began), idle: self.idle, committed }
    }
}
