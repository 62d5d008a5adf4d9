//! gRPC over mutual TLS: seats report anomalies, the executor appends to the ledger. Who calls is known from the certificate
//! of the connection alone; what a seat reports is also signed by it, so that the report stands on record by itself.

use assent_api::names::{self, accounts};
use assent_api::proto::anomalies_server::{Anomalies, AnomaliesServer};
use assent_api::proto::ledger_server::{Ledger, LedgerServer};
use assent_api::proto::{AnomalyReply, AnomalyReport, AppendReply, AppendRequest};
use assent_api::signed::Signed;
use assent_core::canonical;
use assent_core::consensus::{Roster, Seat};
use assent_core::ids::{IncidentUid, UnixMillis};
use assent_core::incident::{Alert, AlertSource, Anomaly, Event, RemediationResult};
use assent_core::refusal::Rule;
use assent_runtime::mtls::PeerIdentity;
use assent_runtime::telemetry::chain;
use assent_runtime::workload::Name;
use serde_json::{Value, json};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::director::{Director, Error};
use crate::intake::{is_name, line};
use crate::security;
use crate::store::{self, Advance, Arrival, Delivery, Draft, Received};

/// Largest body of an appended entry.
const BODY: usize = 64 * 1024;
/// A report older than this, or from further in the future, is a replay or a wrong clock.
const FRESH_MS: i64 = 5 * 60 * 1000;
/// Longest idempotency key and kind.
const KEY: usize = 256;
const KIND: usize = 64;
/// The executor's word for a plan that will not be carried out.
const REFUSED: &str = "refused";

/// The services of the director's gRPC port.
pub(crate) fn routes(director: Director) -> Routes {
    Routes::new(AnomaliesServer::new(Rpc(director.clone()))).add_service(LedgerServer::new(Rpc(director)))
}

struct Rpc(Director);

#[tonic::async_trait]
impl Anomalies for Rpc {
    async fn report(&self, request: Request<AnomalyReport>) -> Result<Response<AnomalyReply>, Status> {
        let peer = PeerIdentity::of(&request)?.name()?.clone();
        let roster = self.0.roster().await.map_err(unavailable)?.ok_or_else(|| Status::failed_precondition("there is no Roster `default`"))?;
        let seat = self.seat(&roster, &peer)?;
        let anomaly = anomaly(&request.get_ref().envelope, &roster, seat, &self.0.cluster, store::now()).map_err(Status::invalid_argument)?;
        let arrival = Arrival { alert: alert(anomaly), subject: String::new() };
        let delivery = Delivery { arrivals: vec![arrival], notices: Vec::new() };
        let received = self.0.inbox.keep(delivery).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let what = received.first().ok_or_else(|| Status::internal("the report was not stored"))?;
        let incident_uid = match what {
            Received::Opened(uid) | Received::Joined(uid) | Received::Known(Some(uid)) => uid.to_string(),
            Received::Known(None) | Received::Kept => String::new(),
        };
        Ok(Response::new(AnomalyReply { incident_uid }))
    }
}

#[tonic::async_trait]
impl Ledger for Rpc {
    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendReply>, Status> {
        let peer = PeerIdentity::of(&request)?.name()?.clone();
        if !peer.is(names::SYSTEM_NAMESPACE, accounts::EXECUTOR, self.0.workload.own_name()) {
            return Err(Status::permission_denied(format!("`{peer}` may not append to the ledger")));
        }
        let request = request.into_inner();
        let draft = draft(&peer, &request).map_err(Status::invalid_argument)?;
        let (incident, refused, forbidden) = (draft.incident.clone(), refusal(&draft), forbidden(&draft));
        let appended = self.0.store.append(draft, request.since).await.map_err(stored)?;
        if let Some((name, body)) = forbidden {
            security::raise(&self.0, &incident, &name, &body).await.map_err(unavailable)?;
        }
        if let Some(reason) = refused {
            let event = Event::Finished(RemediationResult::Refused(reason));
            self.0.advance(&incident, Advance::by(event)).await.map_err(unavailable)?;
        }
        let proof = appended.proof.digests().iter().map(ToString::to_string).collect();
        Ok(Response::new(AppendReply { sequence: appended.head.sequence, head: appended.head.hash.to_string(), proof }))
    }
}

// === impl Rpc ===

impl Rpc {
    fn seat<'a>(&self, roster: &'a Roster, peer: &Name) -> Result<&'a Seat, Status> {
        let own = self.0.workload.own_name();
        let seat = roster.seats.iter().find(|seat| peer.is(names::SYSTEM_NAMESPACE, &seat.account, own));
        seat.ok_or_else(|| Status::permission_denied(format!("`{peer}` is no seat of the roster")))
    }
}

/// The anomaly in `envelope`, if this seat signed it for this cluster just now.
fn anomaly(envelope: &[u8], roster: &Roster, seat: &Seat, cluster: &str, now: UnixMillis) -> Result<Anomaly, String> {
    let signed: Signed = serde_json::from_slice(envelope).map_err(|error| format!("the envelope is no signed payload: {error}"))?;
    signed.verify(assent_api::signed::ANOMALY_PAYLOAD_TYPE, &roster.trust_roots, &names::own_identity(&seat.account), now.0).map_err(|error| chain(&error))?;
    let anomaly: Anomaly = serde_json::from_str(&signed.payload).map_err(|error| format!("the payload is no anomaly: {error}"))?;
    if canonical::text(&anomaly).map_err(|error| chain(&error))? != signed.payload {
        return Err("the payload is not in canonical form".into());
    }
    if anomaly.cluster != cluster || anomaly.seat != seat.name {
        return Err(format!("the anomaly is seat `{}`'s in cluster `{}`", anomaly.seat, anomaly.cluster));
    }
    if now.since(anomaly.at).abs() > FRESH_MS || anomaly.since > anomaly.at.plus(FRESH_MS) {
        return Err(format!("the anomaly was reported {} s ago, by the seat's clock", now.since(anomaly.at) / 1000));
    }
    if !is_name(&anomaly.service.namespace, 63) || !is_name(&anomaly.service.name, 253) {
        return Err("the anomaly names no workload that can exist".into());
    }
    Ok(anomaly)
}

fn alert(anomaly: Anomaly) -> Alert {
    Alert {
        source: AlertSource::Seat,
        key: format!("seat/{}/{}/{:?}/{}", anomaly.seat, anomaly.service, anomaly.symptom, anomaly.since.0),
        service: Some(anomaly.service),
        symptom: anomaly.symptom,
        resolved: false,
        since: anomaly.since,
        summary: line(&anomaly.summary),
    }
}

fn draft(peer: &Name, request: &AppendRequest) -> Result<Draft, String> {
    let incident = IncidentUid::try_from(request.incident_uid.clone())?;
    if request.body.len() > BODY {
        return Err(format!("the body has {} bytes, at most {BODY} are taken", request.body.len()));
    }
    if request.kind.is_empty() || request.kind.len() > KIND || !request.kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(format!("a kind is 1 to {KIND} of a-z, 0-9 and `-`"));
    }
    if request.idempotency_key.is_empty() || request.idempotency_key.len() > KEY || request.idempotency_key.contains(char::is_control) {
        return Err(format!("an idempotency key has 1 to {KEY} bytes and no control characters"));
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| format!("the body is not JSON: {error}"))?;
    if canonical::text(&body).map_err(|error| chain(&error))?.as_bytes() != request.body {
        return Err("the body is not in canonical form".into());
    }
    // Keys of different authors never meet.
    let key = format!("{}/{incident}/{}", peer.account(), request.idempotency_key);
    Ok(Draft { incident, author: peer.to_string(), kind: request.kind.clone(), key, body })
}

fn refusal(draft: &Draft) -> Option<String> {
    let reason = draft.body.get("reason").and_then(Value::as_str).unwrap_or("the executor gives no reason");
    (draft.kind == REFUSED).then(|| line(reason))
}

/// What whoever watches over security must hear of, if the executor was refused for that: a quorum decided for what is forbidden.
fn forbidden(draft: &Draft) -> Option<(String, Value)> {
    let text = |field: &str| draft.body.get(field).and_then(Value::as_str).unwrap_or_default();
    (draft.kind == REFUSED && text("rule") == Rule::Forbidden.code()).then(|| {
        let (namespace, service) = text("service").split_once('/').unwrap_or_default();
        let body = json!({"operation": text("operation"), "namespace": namespace, "service": service, "because": text("reason")});
        (format!("plan/{}", text("plan")), body)
    })
}

fn unavailable(error: Error) -> Status {
    tracing::error!(error = chain(&error), "call failed");
    Status::unavailable(error.to_string())
}

fn stored(error: store::Error) -> Status {
    tracing::error!(error = chain(&error), "call failed");
    match error {
        store::Error::Unknown(_) => Status::not_found(error.to_string()),
        store::Error::Ahead { .. } => Status::failed_precondition(error.to_string()),
        store::Error::Broken(_) => Status::data_loss(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    }
}
