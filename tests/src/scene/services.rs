//! What the executor talks to besides the API server: a ledger that keeps a true chain, and the live word of two seats.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::proto::ledger_server::{Ledger, LedgerServer};
use assent_api::proto::seat_server::{Seat, SeatServer};
use assent_api::proto::{AppendReply, AppendRequest, CastReply, CauseRequest, IndicatorReply, IndicatorRequest, RemedyRequest};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::ledger::{self, Entry, Head, Position, Proof, leaf};
use assent_core::plan::LedgerPin;
use assent_core::verification::Neighbour;
use assent_runtime::mtls::{self, PeerIdentity};
use assent_runtime::workload::ClientAuth;
use assent_runtime::workload::testing::Authority;
use assent_runtime::{CancellationToken, Limits};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The ledger's entries, and how it behaves.
#[derive(Clone, Debug)]
pub struct Record {
    entries: Arc<Mutex<(Vec<Entry>, HashSet<String>)>>,
    /// Kinds that are recorded without an answer, as if the answer were lost.
    mute: Arc<Mutex<HashSet<String>>>,
    /// Whether it refuses everything.
    pub down: Arc<AtomicBool>,
    /// Kinds that were asked for while it was down.
    denied: Arc<Mutex<HashSet<String>>>,
    appended: watch::Sender<()>,
}

impl Default for Record {
    fn default() -> Self {
        Self { entries: Arc::default(), mute: Arc::default(), down: Arc::default(), denied: Arc::default(), appended: watch::Sender::new(()) }
    }
}

impl Record {
    /// Kinds of the entries of `incident`, in order.
    #[must_use]
    pub fn kinds(&self, incident: &IncidentUid) -> Vec<String> {
        self.of(incident).into_iter().map(|entry| entry.kind).collect()
    }

    /// The entries of `incident`, in order.
    #[must_use]
    pub fn of(&self, incident: &IncidentUid) -> Vec<Entry> {
        self.entries.lock().unwrap().0.iter().filter(|entry| entry.incident == *incident).cloned().collect()
    }

    /// Waits until `incident` has an entry of `kind`.
    pub async fn until(&self, incident: &IncidentUid, kind: &str) -> Entry {
        let mut appended = self.appended.subscribe();
        // Of this entry: others are asked for in vain all the time.
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            if let Some(entry) = self.of(incident).into_iter().find(|entry| entry.kind == kind) {
                return entry;
            }
            let next = tokio::time::timeout_at(until, appended.changed()).await;
            next.unwrap_or_else(|_| panic!("no entry `{kind}` within a minute; there are {:?}", self.kinds(incident))).unwrap();
        }
    }

    /// The first entry of one of these kinds, however long it takes.
    pub async fn first(&self, incident: &IncidentUid, kinds: &[&str]) -> Entry {
        let mut appended = self.appended.subscribe();
        loop {
            if let Some(entry) = self.of(incident).into_iter().find(|entry| kinds.contains(&entry.kind.as_str())) {
                return entry;
            }
            appended.changed().await.unwrap();
        }
    }

    /// Waits until an entry of `kind` was asked for in vain.
    pub async fn until_denied(&self, kind: &str) {
        let mut appended = self.appended.subscribe();
        while !self.denied.lock().unwrap().contains(kind) {
            let next = tokio::time::timeout(std::time::Duration::from_secs(60), appended.changed()).await;
            next.unwrap_or_else(|_| panic!("nobody asked for `{kind}` within a minute")).unwrap();
        }
    }

    /// From now on entries of this kind are recorded without an answer.
    pub fn mute(&self, kind: &str) {
        self.mute.lock().unwrap().insert(kind.to_owned());
    }

    /// Every entry is answered again.
    pub fn unmute(&self) {
        self.mute.lock().unwrap().clear();
    }
}

// === impl Record ===

impl Record {
    /// Whether the ledger once ended in this head.
    #[must_use]
    pub fn had(&self, head: &Head) -> bool {
        let entries = &self.entries.lock().unwrap().0;
        let until = usize::try_from(head.sequence).ok().and_then(|count| entries.get(..count));
        until.is_some_and(|entries| ledger::verify(entries).unwrap() == *head)
    }

    /// One more entry, and the proof that the ledger goes on from `from`: what a director answers when an intent is recorded.
    #[must_use]
    pub fn pin(&self, from: &Position) -> LedgerPin {
        let (head, proof) = {
            let mut guard = self.entries.lock().unwrap();
            let entries = &mut guard.0;
            let sequence = entries.len() as u64 + 1;
            let incident = IncidentUid::try_from(uuid::Uuid::now_v7().to_string()).unwrap();
            let entry = Entry { sequence, at: UnixMillis(1), incident, author: "test".into(), kind: "noted".into(), body: serde_json::Value::Null };
            entries.push(entry);
            extended(entries, from.head.sequence.min(sequence)).unwrap()
        };
        self.appended.send_replace(());
        LedgerPin { era: from.era, head, proof }
    }
}

/// The newest head, and the proof that it extends the one at `since`, if there was that one.
fn extended(entries: &[Entry], since: u64) -> Option<(Head, Proof)> {
    let head = ledger::verify(entries).unwrap();
    let leaves: Vec<_> = entries.iter().map(|entry| leaf(entry).unwrap()).collect();
    let proof = ledger::prove(since, head.sequence, |subtree| ledger::of_leaves(&leaves, subtree))?;
    Some((head, proof))
}

#[tonic::async_trait]
impl Ledger for Record {
    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendReply>, Status> {
        let caller = PeerIdentity::of(&request)?.name()?.clone();
        if caller.account() != "assent-executor" {
            return Err(Status::permission_denied("not the executor"));
        }
        if self.down.load(Ordering::Relaxed) {
            self.denied.lock().unwrap().insert(request.get_ref().kind.clone());
            self.appended.send_replace(());
            return Err(Status::unavailable("no disk"));
        }
        let request = request.into_inner();
        let reply = {
            let mut guard = self.entries.lock().unwrap();
            let (entries, keys) = &mut *guard;
            if keys.insert(request.idempotency_key.clone()) {
                let sequence = entries.len() as u64 + 1;
                entries.push(Entry {
                    sequence,
                    at: UnixMillis(jiff::Timestamp::now().as_millisecond()),
                    incident: IncidentUid::try_from(request.incident_uid).unwrap(),
                    author: caller.to_string(),
                    kind: request.kind.clone(),
                    body: serde_json::from_slice(&request.body).unwrap(),
                });
            }
            let (head, proof) = extended(entries, request.since).ok_or_else(|| Status::failed_precondition("ahead"))?;
            AppendReply { sequence: head.sequence, head: head.hash.to_string(), proof: proof.digests().iter().map(ToString::to_string).collect() }
        };
        self.appended.send_replace(());
        let muted = self.mute.lock().unwrap().contains(&request.kind);
        if muted {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(reply))
    }
}

/// One seat's live word.
#[derive(Clone, Debug, Default)]
pub struct Word {
    /// Whether everything is ill.
    pub ill: Arc<AtomicBool>,
    /// Workloads that are ill, whatever the others are.
    pub ill_of: Arc<Mutex<HashSet<String>>>,
    /// Whether it has no data.
    pub silent: Arc<AtomicBool>,
    /// What it says of the neighbours of a workload.
    pub near: Arc<Mutex<HashMap<String, Vec<Neighbour>>>>,
}

#[tonic::async_trait]
impl Seat for Word {
    async fn cast_cause(&self, _: Request<CauseRequest>) -> Result<Response<CastReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn cast_remedy(&self, _: Request<RemedyRequest>) -> Result<Response<CastReply>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn indicator(&self, request: Request<IndicatorRequest>) -> Result<Response<IndicatorReply>, Status> {
        assert_eq!(PeerIdentity::of(&request)?.name()?.account(), "assent-executor");
        assert!(request.get_ref().since_ms > 0, "since the write");
        let healthy = !self.ill.load(Ordering::Relaxed) && !self.ill_of.lock().unwrap().contains(&request.get_ref().name);
        let near = self.near.lock().unwrap().get(&request.get_ref().name).cloned().unwrap_or_default();
        let neighbours = near.into_iter().map(Into::into).collect();
        let summary = if healthy { "errors 0 of 100" } else { "errors 40 of 100" };
        Ok(Response::new(IndicatorReply {
            live: !self.silent.load(Ordering::Relaxed),
            healthy,
            summary: summary.into(),
            neighbours,
            ..IndicatorReply::default()
        }))
    }
}

/// Serves `routes` as `account` of the control plane.
pub async fn serve(authority: &Authority, account: &str, routes: Routes, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let workload = authority.workload(SYSTEM_NAMESPACE, account);
    let stop = stop.clone();
    tokio::spawn(async move { mtls::serve(listener, &workload, ClientAuth::Required, Limits::default(), routes, stop).await });
    address
}

/// The ledger's routes.
#[must_use]
pub fn ledger(record: &Record) -> Routes {
    Routes::new(LedgerServer::new(record.clone()))
}

/// A seat's routes.
#[must_use]
pub fn seat(word: &Word) -> Routes {
    Routes::new(SeatServer::new(word.clone()))
}
