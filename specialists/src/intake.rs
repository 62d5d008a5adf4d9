//! Streams of observations from sidecars: each speaks of the one pod that it was proven to come from, or is refused.
//!
//! Windows may be repeated after a reconnect; what was taken once is acknowledged and left out. Peers are turned from
//! identities and addresses into workloads here; nothing is judged.

mod wire;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use assent_api::proto;
use assent_core::ids::UnixMillis;
use assent_core::seats::{compute, database, network};
use assent_runtime::mtls::PeerIdentity;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::held::{Held, now};
use crate::metrics::Metrics;
use crate::pods::{Pods, Refused, Speaking};

type Acknowledgements = Pin<Box<dyn Stream<Item = Result<proto::Acknowledgement, Status>> + Send>>;

/// Pods whose last window is remembered.
const MAX_SPEAKERS: usize = 20_000;

/// The intake of one seat.
#[derive(Debug)]
pub(crate) struct Intake<V> {
    held: Arc<Held<V>>,
    pods: Pods,
    metrics: Metrics,
    /// Start of the newest window taken, by pod.
    taken: Arc<Mutex<HashMap<String, i64>>>,
}

/// What a message says of its window, and how it enters a view.
trait Observation<V>: Send + 'static {
    fn window(&self) -> Option<proto::Window>;
    fn enter(self, view: &mut V, speaker: &Speaking, window: &proto::Window, pods: &Pods, now: UnixMillis);
}

// === impl Intake ===

impl<V> Clone for Intake<V> {
    fn clone(&self) -> Self {
        Self { held: self.held.clone(), pods: self.pods.clone(), metrics: self.metrics.clone(), taken: self.taken.clone() }
    }
}

impl<V: Send + 'static> Intake<V> {
    pub(crate) fn new(held: Arc<Held<V>>, pods: Pods, metrics: Metrics) -> Self {
        Self { held, pods, metrics, taken: Arc::default() }
    }

    fn observe<O: Observation<V>>(&self, request: Request<Streaming<O>>) -> Result<Response<Acknowledgements>, Status> {
        let peer = PeerIdentity::of(&request)?;
        let speaker = self.pods.speaker(peer.name()?, peer.address.ip()).map_err(|refused| {
            self.metrics.stream_refused();
            match refused {
                // It may be so young that the watch has not told of it yet; it will ask again.
                Refused::Unknown => Status::unavailable(refused.to_string()),
                Refused::Account => Status::permission_denied(refused.to_string()),
            }
        })?;
        let intake = self.clone();
        let acknowledgements = request.into_inner().map(move |message| {
            let observation = message?;
            let window = observation.window().ok_or_else(|| Status::invalid_argument("an observation has no window"))?;
            let sequence = window.sequence;
            intake.take(&speaker.uid, observation, &window, now());
            Ok(proto::Acknowledgement { sequence })
        });
        Ok(Response::new(Box::pin(acknowledgements)))
    }

    fn take<O: Observation<V>>(&self, uid: &str, observation: O, window: &proto::Window, now: UnixMillis) {
        if !self.first(uid, window, now) {
            return self.metrics.window_repeated();
        }
        // Read anew for each message: the pod may be gone, or its workload known only by now.
        match self.pods.speaking(uid) {
            Some(speaking) => {
                self.held.update(|view| observation.enter(view, &speaking, window, &self.pods, now));
                self.metrics.window_taken();
            }
            None => self.metrics.window_unowned(),
        }
    }

    /// Whether this window of the pod was not seen before. A window from the future tells nothing of later ones.
    fn first(&self, uid: &str, window: &proto::Window, now: UnixMillis) -> bool {
        if window.start_ms > now.0.saturating_add(60_000) {
            return false;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= MAX_SPEAKERS && !taken.contains_key(uid) {
            // Windows too old to be repeated are forgotten first.
            taken.retain(|_, start| now.0.saturating_sub(*start) < 600_000);
        }
        let last = taken.entry(uid.to_owned()).or_insert(i64::MIN);
        let first = window.start_ms > *last;
        *last = window.start_ms.max(*last);
        first
    }
}

#[tonic::async_trait]
impl proto::network_intake_server::NetworkIntake for Intake<network::View> {
    type ObserveStream = Acknowledgements;

    async fn observe(&self, request: Request<Streaming<proto::NetworkObservation>>) -> Result<Response<Acknowledgements>, Status> {
        self.observe(request)
    }
}

#[tonic::async_trait]
impl proto::database_intake_server::DatabaseIntake for Intake<database::View> {
    type ObserveStream = Acknowledgements;

    async fn observe(&self, request: Request<Streaming<proto::DatabaseObservation>>) -> Result<Response<Acknowledgements>, Status> {
        self.observe(request)
    }
}

#[tonic::async_trait]
impl proto::compute_intake_server::ComputeIntake for Intake<compute::View> {
    type ObserveStream = Acknowledgements;

    async fn observe(&self, request: Request<Streaming<proto::ComputeObservation>>) -> Result<Response<Acknowledgements>, Status> {
        self.observe(request)
    }
}
