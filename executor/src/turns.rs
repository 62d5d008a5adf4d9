//! Who plans next. Plans extend one ledger, one after the other; of those that wait, the more critical service goes first, then the
//! one of higher priority, then whoever came first. Who was overtaken is told by whom. While as many plans are open as may be, the
//! others wait for one to end; now and then they ask all the same, and hear from guardrail `one-writer` which ones those are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assent_core::blueprint::{Criticality, Effective, Priority};
use tokio::sync::Notify;

/// Most that are named as having gone first.
const MOST_NAMED: usize = 8;
/// Plans that are open at the same time, as guardrail `one-writer` says.
const MOST_OPEN: usize = 3;
/// How long it is waited for one of them to end before it is asked all the same: votes and people's word may be over, and who is open
/// may be another executor's.
const PATIENCE: Duration = Duration::from_secs(30);

/// What decides between two that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    criticality: Criticality,
    priority: Priority,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// Plans that this process carries out.
    open: usize,
    arrivals: u64,
    /// The first is next.
    waiting: BTreeMap<(Reverse<Rank>, Arrival), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    name: String,
    overtaken_by: Vec<String>,
}

/// When somebody came. Who tries again keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(u64);

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    /// Who came later and went first, with why.
    pub(crate) overtaken_by: Vec<String>,
}

/// A plan that is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Turns>);

/// A place in the queue, given up when it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    at: (Reverse<Rank>, Arrival),
}

// === impl Rank ===

impl Rank {
    pub(crate) fn of(effective: &Effective) -> Self {
        Self { criticality: effective.service.criticality, priority: effective.service.priority }
    }
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "criticality {}, priority {}", self.criticality.as_str(), self.priority.as_str())
    }
}

// === impl Turns ===

impl Turns {
    /// Somebody comes.
    pub(crate) fn arrive(&self) -> Arrival {
        let mut state = self.lock();
        state.arrivals = state.arrivals.wrapping_add(1);
        Arrival(state.arrivals)
    }

    /// Waits for the turn of `name`, who came at `arrival`.
    pub(crate) async fn take(&self, rank: Rank, arrival: Arrival, name: &str) -> Turn<'_> {
        let place = self.queue((Reverse(rank), arrival), name);
        let patience = tokio::time::sleep(PATIENCE);
        let mut patience = std::pin::pin!(patience);
        loop {
            let changed = self.changed.notified();
            if let Some(overtaken_by) = place.reached(patience.is_elapsed()) {
                return Turn { turns: self, overtaken_by };
            }
            tokio::select! {
                () = changed => {}
                () = &mut patience, if !patience.is_elapsed() => {}
            }
        }
    }

    /// One more plan is open.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        let mut state = self.lock();
        state.open = state.open.saturating_add(1);
        Open(Arc::clone(self))
    }

    fn queue(&self, at: (Reverse<Rank>, Arrival), name: &str) -> Place<'_> {
        let mut state = self.lock();
        state.waiting.insert(at, Waiting { name: name.to_owned(), overtaken_by: Vec::new() });
        Place { turns: self, at }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Place<'_> {
    /// Takes the turn if it is this one's, and there is room or it was waited for long enough.
    fn reached(&self, impatient: bool) -> Option<Vec<String>> {
        let mut state = self.turns.lock();
        let full = state.open >= MOST_OPEN && !impatient;
        if full || state.taken || state.waiting.first_key_value().is_none_or(|(first, _)| *first != self.at) {
            return None;
        }
        let mine = state.waiting.remove(&self.at)?;
        state.taken = true;
        let (Reverse(rank), arrived) = self.at;
        let why = format!("{} ({rank})", mine.name);
        let earlier = state.waiting.iter_mut().filter(|((_, arrival), other)| *arrival < arrived && other.overtaken_by.len() < MOST_NAMED);
        earlier.for_each(|(_, other)| other.overtaken_by.push(why.clone()));
        Some(mine.overtaken_by)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Taken, it is no longer there; given up, whoever is next may go.
        if self.turns.lock().waiting.remove(&self.at).is_some() {
            self.turns.changed.notify_waiters();
        }
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = state.open.saturating_sub(1);
        drop(state);
        self.0.changed.notify_waiters();
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().taken = false;
        self.turns.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Rank = Rank { criticality: Criticality::Standard, priority: Priority::Low };
    const HIGH: Rank = Rank { criticality: Criticality::Standard, priority: Priority::High };
    const CRITICAL: Rank = Rank { criticality: Criticality::Critical, priority: Priority::Low };

    async fn take<'a>(turns: &'a Turns, rank: Rank, name: &str) -> Turn<'a> {
        turns.take(rank, turns.arrive(), name).await
    }

    #[tokio::test]
    async fn of_those_that_wait_the_more_critical_goes_first_and_the_others_hear_of_it() {
        let turns = Arc::new(Turns::default());
        let first = take(&turns, Rank::default(), "first").await;
        let (told, mut went) = tokio::sync::mpsc::unbounded_channel();
        for (rank, name) in [(LOW, "low"), (HIGH, "high"), (HIGH, "second high"), (CRITICAL, "critical")] {
            let (waiting, told) = (turns.clone(), told.clone());
            tokio::spawn(async move {
                let turn = take(&waiting, rank, name).await;
                told.send((name, turn.overtaken_by.clone())).unwrap();
            });
            while !turns.lock().waiting.values().any(|waiting| waiting.name == name) {
                tokio::task::yield_now().await;
            }
        }
        drop(first);
        let (critical, high) = ("critical (criticality critical, priority low)", "high (criticality standard, priority high)");
        let expected = [
            ("critical", vec![]),
            ("high", vec![critical.to_owned()]),
            ("second high", vec![critical.to_owned()]),
            ("low", vec![critical.to_owned(), high.to_owned(), format!("second {high}")]),
        ];
        for one in expected {
            assert_eq!(went.recv().await.unwrap(), one);
        }
    }

    #[tokio::test]
    async fn who_gives_up_holds_nobody_up() {
        let turns = Turns::default();
        let first = take(&turns, LOW, "first").await;
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(10), take(&turns, CRITICAL, "given up")).await;
        assert!(given_up.is_err());
        drop(first);
        assert_eq!(take(&turns, LOW, "next").await.overtaken_by, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn while_as_many_are_open_as_may_be_the_others_wait_for_one_to_end_and_not_for_ever() {
        let turns = Arc::new(Turns::default());
        let mut open: Vec<Open> = (0..MOST_OPEN).map(|_| turns.open()).collect();
        let waited = tokio::time::Instant::now();
        let first = turns.arrive();
        drop(turns.take(LOW, first, "first").await);
        assert!(waited.elapsed() >= PATIENCE, "nobody ended");
        // Who tries again is not behind those who came meanwhile.
        let (told, mut went) = tokio::sync::mpsc::unbounded_channel();
        for (arrival, name) in [(turns.arrive(), "second"), (first, "first")] {
            let (turns, told) = (turns.clone(), told.clone());
            let waiting = turns.clone();
            tokio::spawn(async move {
                let turn = waiting.take(LOW, arrival, name).await;
                told.send((name, turn.overtaken_by.clone())).unwrap();
            });
            while !turns.lock().waiting.contains_key(&(Reverse(LOW), arrival)) {
                tokio::task::yield_now().await;
            }
        }
        let waited = tokio::time::Instant::now();
        open.pop();
        for name in ["first", "second"] {
            assert_eq!(went.recv().await.unwrap(), (name, Vec::new()));
        }
        assert!(waited.elapsed() < PATIENCE);
    }
}
