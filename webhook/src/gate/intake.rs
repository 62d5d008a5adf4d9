//! What is taken on: so many bytes, so many reviews at once, a short queue, and beyond that an answer at once. Nothing waits
//! without an end. It judges nothing; its answer to whatever it does not take on is a denial that may be sent again.
//!
//! The executor has a lane of its own, so that nobody who writes to our kinds can keep an owed revert waiting. A permit is
//! held while a review is in memory. When the API server stops answering the gate, reviews that wait for it would hold all
//! of them: then only a few probe it, and the rest is answered at once until one of them comes to an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assent_api::names::{self, accounts};
use assent_core::refusal::{Refusal, Rule};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::review::MAX_BYTES;

/// Reviews of one lane that are judged at the same time, if they are small.
const AT_ONCE: u32 = 16;
/// Reviews of one lane that wait for that.
const QUEUE: usize = 64;
/// How long they wait.
const QUEUE_WAIT: Duration = Duration::from_secs(1);
/// Reviews of one lane that go on asking an API server that does not answer.
const PROBES: usize = 4;
/// How long a review may take before the API server counts as not answering, unless another one ends.
pub(super) const STALL: Duration = Duration::from_secs(1);
/// A body of this size or less takes one permit; larger ones take one for each such part, the largest all of a lane, so that
/// what a lane has in memory is bounded by what one review may become.
const PART: usize = 64 * 1024;
/// Kibibytes of bodies that are held at the same time.
const BODIES: usize = 4 * (MAX_BYTES >> 10);
/// After this many seconds the same request may be sent again.
pub(super) const RETRY_AFTER: u32 = 1;

/// Why a review is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shed {
    /// Too many bytes are in flight.
    Bytes,
    /// The queue is full.
    Queue,
    /// It waited for too long.
    Wait,
    /// The API server does not answer the gate.
    Stalled,
}

/// What is taken on. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    bytes: Arc<Semaphore>,
    executor: Arc<Lane>,
    others: Arc<Lane>,
}

/// Reviews of one kind of sender.
#[derive(Debug)]
pub(super) struct Lane {
    permits: Arc<Semaphore>,
    queue: Semaphore,
    probes: Arc<Semaphore>,
    stalled: AtomicBool,
}

/// A review that was taken on; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    lane: Arc<Lane>,
    _permit: OwnedSemaphorePermit,
    _probe: Option<OwnedSemaphorePermit>,
}

// === impl Shed ===

impl Shed {
    /// Label of the metric.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Queue => "queue",
            Self::Wait => "wait",
            Self::Stalled => "stalled",
        }
    }

    /// In words.
    pub(super) fn refusal(self) -> Refusal {
        let reason = match self {
            Self::Bytes => "too many requests: the gate holds as many bytes of reviews as it may".to_owned(),
            Self::Queue => format!("too many requests: {AT_ONCE} are being judged and {QUEUE} wait"),
            Self::Wait => format!("too many requests: it waited {} s and {AT_ONCE} others are still being judged", QUEUE_WAIT.as_secs()),
            Self::Stalled => "too many requests: the API server does not answer the gate, which asks it for a few others first".to_owned(),
        };
        Refusal::new(Rule::Unavailable, reason, format!("the same request after {RETRY_AFTER} s"))
    }
}

// === impl Intake ===

impl Intake {
    pub(super) fn new() -> Self {
        Self { bytes: Arc::new(Semaphore::new(BODIES)), executor: Arc::new(Lane::new()), others: Arc::new(Lane::new()) }
    }

    /// Room for a body of so many bytes.
    pub(super) fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Shed> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).map_err(|_| Shed::Bytes)?;
        self.bytes.clone().try_acquire_many_owned(kibibytes).map_err(|_| Shed::Bytes)
    }

    /// The lane of a user. What does not say whose it is has no lane of its own.
    pub(super) fn lane(&self, username: &str) -> &Arc<Lane> {
        let executor = username == names::EXECUTOR_USER || username == names::account_user(accounts::EXECUTOR);
        if executor { &self.executor } else { &self.others }
    }
}

// === impl Lane ===

impl Lane {
    fn new() -> Self {
        let permits = usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            queue: Semaphore::new(QUEUE),
            probes: Arc::new(Semaphore::new(PROBES)),
            stalled: AtomicBool::new(false),
        }
    }

    /// A place for a body of so many bytes, after a short wait at most.
    pub(super) async fn enter(self: &Arc<Self>, bytes: usize) -> Result<Admission, Shed> {
        let probe = if self.stalled.load(Ordering::Relaxed) { Some(self.probes.clone().try_acquire_owned().map_err(|_| Shed::Stalled)?) } else { None };
        let weight = u32::try_from(bytes.div_ceil(PART)).unwrap_or(u32::MAX).clamp(1, AT_ONCE);
        if let Ok(permit) = self.permits.clone().try_acquire_many_owned(weight) {
            return Ok(self.admission(permit, probe));
        }
        let _place: SemaphorePermit<'_> = self.queue.try_acquire().map_err(|_| Shed::Queue)?;
        match tokio::time::timeout(QUEUE_WAIT, self.permits.clone().acquire_many_owned(weight)).await {
            Ok(Ok(permit)) => Ok(self.admission(permit, probe)),
            Ok(Err(_)) | Err(_) => Err(if self.stalled.load(Ordering::Relaxed) { Shed::Stalled } else { Shed::Wait }),
        }
    }

    fn admission(self: &Arc<Self>, permit: OwnedSemaphorePermit, probe: Option<OwnedSemaphorePermit>) -> Admission {
        Admission { lane: Arc::clone(self), _permit: permit, _probe: probe }
    }
}

// === impl Admission ===

impl Admission {
    /// It has taken for ever.
    pub(super) fn stalls(&self) {
        self.lane.stalled.store(true, Ordering::Relaxed);
    }

    /// It came to an end, whatever that is.
    pub(super) fn ends(&self) {
        self.lane.stalled.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 4096;

    async fn full(lane: &Arc<Lane>) -> Vec<Admission> {
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(lane.enter(SMALL).await.unwrap());
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_waits_a_little_and_what_cannot_wait_is_shed_at_once() {
        let intake = Intake::new();
        let lane = intake.lane("ann").clone();
        let mut held = full(&lane).await;
        let before = tokio::time::Instant::now();
        let waiting: Vec<_> = (0..QUEUE)
            .map(|_| {
                let lane = lane.clone();
                tokio::spawn(async move { lane.enter(SMALL).await })
            })
            .collect();
        while lane.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lane.enter(SMALL).await.unwrap_err(), Shed::Queue);
        assert_eq!(before.elapsed(), Duration::ZERO);
        held.truncate(15);
        for waited in waiting {
            // An admission that is dropped here makes room for the next one, as a verdict does.
            drop(waited.await.unwrap().unwrap());
        }
        held.push(lane.enter(SMALL).await.unwrap());
        assert_eq!(lane.enter(SMALL).await.unwrap_err(), Shed::Wait);
        assert_eq!(before.elapsed(), QUEUE_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn others_cannot_keep_the_executor_waiting() {
        let intake = Intake::new();
        let _held = full(intake.lane("ann")).await;
        for user in [names::EXECUTOR_USER, &names::account_user(accounts::EXECUTOR)] {
            drop(tokio::time::timeout(Duration::ZERO, intake.lane(user).enter(SMALL)).await.unwrap().unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_take_more_room() {
        let intake = Intake::new();
        let lane = intake.lane("ann");
        let half = lane.enter(PART * 8).await.unwrap();
        let _other_half = lane.enter(PART * 8).await.unwrap();
        assert_eq!(lane.enter(SMALL).await.unwrap_err(), Shed::Wait);
        drop(half);
        drop(lane.enter(SMALL).await.unwrap());
        assert_eq!(lane.enter(MAX_BYTES).await.unwrap_err(), Shed::Wait, "the largest waits for all others");
        drop(Intake::new().lane("ann").enter(MAX_BYTES).await.unwrap());
        let rooms: Vec<_> = (0..4).map(|_| intake.room(MAX_BYTES).unwrap()).collect();
        assert_eq!(intake.room(1).unwrap_err(), Shed::Bytes);
        drop(rooms);
        drop(intake.room(1).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_ends_only_a_few_go_on_asking() {
        let intake = Intake::new();
        let lane = intake.lane("ann");
        let first = lane.enter(SMALL).await.unwrap();
        first.stalls();
        let mut probes = Vec::new();
        for _ in 0..PROBES {
            probes.push(lane.enter(SMALL).await.unwrap());
        }
        assert_eq!(lane.enter(SMALL).await.unwrap_err(), Shed::Stalled);
        probes.first().unwrap().ends();
        drop(lane.enter(SMALL).await.unwrap());
    }
}
