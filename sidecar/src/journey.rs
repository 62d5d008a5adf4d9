//! How far one connection has come, and how long each leg of its way took: what a failure is told with.
//!
//! A connection is in one leg at a time. Dialling interrupts the leg that it is part of, and that goes on after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::flows::Direction;

/// A part of a connection's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Until it is clear what the client wants, and from whom.
    Detect,
    /// Asking discovery.
    Discover,
    Connect,
    /// TLS and the transport header.
    Handshake,
    Relay,
}

/// The way of one connection.
#[derive(Debug)]
pub(crate) struct Journey {
    direction: Direction,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    leg: Leg,
    since: Instant,
    spent: [Duration; Leg::ALL.len()],
    peer: String,
}

// === impl Leg ===

impl Leg {
    pub(crate) const ALL: [Self; 5] = [Self::Detect, Self::Discover, Self::Connect, Self::Handshake, Self::Relay];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Discover => "discover",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Relay => "relay",
        }
    }
}

// === impl Journey ===

impl Journey {
    /// The way of a connection that was just accepted.
    pub(crate) fn begin(direction: Direction) -> Arc<Self> {
        let state = State { leg: Leg::Detect, since: Instant::now(), spent: Default::default(), peer: String::new() };
        Arc::new(Self { direction, state: Mutex::new(state) })
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// From now on it is in `leg`; tells in which it was.
    pub(crate) fn enter(&self, leg: Leg) -> Leg {
        self.enter_at(leg, Instant::now())
    }

    /// The peer's identity: proven by a client, expected of a server.
    pub(crate) fn with(&self, peer: &str) {
        peer.clone_into(&mut self.state().peer);
    }

    /// The peer's identity, or nothing, and the time spent in each leg until `now`.
    pub(crate) fn told(&self, now: Instant) -> (String, [Duration; Leg::ALL.len()]) {
        let state = self.state();
        let mut spent = state.spent;
        if let Some(leg) = spent.get_mut(state.leg as usize) {
            *leg += now.saturating_duration_since(state.since);
        }
        (state.peer.clone(), spent)
    }

    fn enter_at(&self, leg: Leg, now: Instant) -> Leg {
        let mut state = self.state();
        let (before, past) = (state.leg, now.saturating_duration_since(state.since));
        if let Some(spent) = state.spent.get_mut(before as usize) {
            *spent += past;
        }
        (state.leg, state.since) = (leg, now);
        before
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_the_leg_that_it_was_spent_in() {
        let journey = Journey::begin(Direction::Outbound);
        let start = journey.state().since;
        let at = |ms| start + Duration::from_millis(ms);
        journey.enter_at(Leg::Discover, at(2));
        let before = journey.enter_at(Leg::Connect, at(5));
        assert_eq!(before, Leg::Discover);
        journey.enter_at(before, at(15));
        journey.enter_at(Leg::Connect, at(16));
        journey.with("cart.shop");
        let (peer, spent) = journey.told(at(36));
        assert_eq!((peer.as_str(), spent.map(|leg| leg.as_millis())), ("cart.shop", [2, 4, 30, 0, 0]));
        assert!(Leg::ALL.into_iter().enumerate().all(|(place, leg)| leg as usize == place));
    }
}
