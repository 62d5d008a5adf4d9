//! Seats that say what a test wants, and are real in everything else: mutual TLS, their own key, signed ballots.

use std::net::SocketAddr;
use std::time::Duration;

use assent_api::names;
use assent_api::proto::anomalies_client::AnomaliesClient;
use assent_api::proto::seat_server::{Seat, SeatServer};
use assent_api::proto::{AnomalyReport, CastReply, CauseRequest, IndicatorReply, IndicatorRequest, RemedyRequest};
use assent_api::resources;
use assent_api::signed::Signed;
use assent_core::action::{Action, Restart};
use assent_core::ballot::{
    self, Ballot, CauseVote, Evidence, EvidenceClass, Hypothesis, Opinion, PAYLOAD_TYPE, Principal, Proposal, RemedyVote, Stance, StanceVerdict, Statement,
};
use assent_core::canonical::{self, Digest};
use assent_core::ids::{Domain, Millionths, UnixMillis};
use assent_core::incident::{Anomaly, Context, Symptom};
use assent_core::target::Service;
use assent_runtime::mtls::{self, PeerIdentity};
use assent_runtime::workload::testing::Authority;
use assent_runtime::workload::{ClientAuth, Workload};
use assent_runtime::{CancellationToken, Limits};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What a seat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The service that alerted is bad, and a restart helps: on evidence of this principal.
    Blames(Principal),
    /// Healthy in my domain, and I had data.
    Healthy,
    /// As `Blames`, but vetoes every remedy.
    Vetoes(Principal),
    /// No data.
    Abstains,
    /// Nothing, until it is let go; then as `Abstains`.
    Waits,
}

/// Longest that a call takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fake {
    name: &'static str,
    says: Says,
    client: Client,
    workload: Workload,
    roster: Digest,
    go: watch::Receiver<bool>,
}

/// Running seats.
#[derive(Debug)]
pub struct Seats {
    /// Name and address of each.
    pub addresses: Vec<(String, SocketAddr)>,
    /// Lets those go that wait.
    pub go: watch::Sender<bool>,
    _stop: tokio_util::sync::DropGuard,
}

/// Starts seats of the roster with this digest, each with the client by which it stores its ballots.
pub async fn start(authority: &Authority, roster: &Digest, seats: Vec<(&'static str, Says, Client)>) -> Seats {
    let token = CancellationToken::new();
    let go = watch::Sender::new(false);
    let mut addresses = Vec::new();
    for (name, says, client) in seats {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push((name.to_owned(), listener.local_addr().unwrap()));
        let workload = authority.workload(names::SYSTEM_NAMESPACE, &names::accounts::seat(name));
        let fake = Fake { name, says, client, workload: workload.clone(), roster: roster.clone(), go: go.subscribe() };
        let (routes, token) = (Routes::new(SeatServer::new(fake)), token.clone());
        tokio::spawn(async move { mtls::serve(listener, &workload, ClientAuth::Required, Limits::default(), routes, token).await });
    }
    Seats { addresses, go, _stop: token.drop_guard() }
}

/// Reports an anomaly as `seat`, signed by `signer`.
pub async fn report(authority: &Authority, director: SocketAddr, caller: &str, anomaly: &Anomaly) -> Result<String, Status> {
    let workload = authority.workload(names::SYSTEM_NAMESPACE, caller);
    let envelope = sign(&workload, "application/vnd.assent.anomaly+json", canonical::text(anomaly).unwrap());
    let expected = workload.own_name().sibling(names::SYSTEM_NAMESPACE, names::accounts::DIRECTOR).unwrap();
    let channel = mtls::channel(&workload, &director.to_string(), &expected).unwrap();
    let envelope = serde_json::to_vec(&envelope).unwrap();
    let answer = tokio::time::timeout(PATIENCE, AnomaliesClient::new(channel).report(AnomalyReport { envelope })).await;
    answer.unwrap_or_else(|_| panic!("no answer to a report for {PATIENCE:?}")).map(|reply| reply.into_inner().incident_uid)
}

/// An anomaly at `shop/orders` that began four seconds ago.
pub async fn anomaly(client: &Client, seat: &str) -> Anomaly {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
    Anomaly {
        cluster: namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap(),
        seat: seat.into(),
        service: Service { namespace: "shop".into(), name: "orders".into() },
        symptom: Symptom::Errors,
        since: now.plus(-4000),
        at: now,
        summary: "38 of 40 requests failed".into(),
    }
}

fn sign(workload: &Workload, payload_type: &str, payload: String) -> Signed {
    let certified = workload.current().unwrap();
    let chain: Vec<Vec<u8>> = certified.chain().iter().map(|der| der.to_vec()).collect();
    Signed::new(payload_type, payload, &chain, |bytes| certified.sign(bytes)).unwrap()
}

fn evidence(principal: Principal) -> Evidence {
    let window = (UnixMillis(1), UnixMillis(2));
    Evidence {
        class: EvidenceClass::Change,
        principal,
        digest: Digest::of_bytes(b"figures"),
        from: window.0,
        to: window.1,
        summary: "revision 1 is new".into(),
    }
}

#[tonic::async_trait]
impl Seat for Fake {
    async fn cast_cause(&self, request: Request<CauseRequest>) -> Result<Response<CastReply>, Status> {
        only_the_director(&request);
        let request = request.into_inner();
        let context = context(&request.context);
        let opinion = match self.says {
            Says::Blames(principal) | Says::Vetoes(principal) => Opinion::Cause(blame(&context, request.epoch, principal)),
            Says::Healthy => Opinion::Cause(CauseVote { healthy: vec![evidence(Principal::Sidecar)], ..CauseVote::default() }),
            Says::Abstains | Says::Waits => self.abstain(ballot::Round::Cause).await,
        };
        self.cast(&context, &request.context, request.epoch, opinion).await
    }

    async fn cast_remedy(&self, request: Request<RemedyRequest>) -> Result<Response<CastReply>, Status> {
        only_the_director(&request);
        let request = request.into_inner();
        let context = context(&request.context);
        let opinion = match self.says {
            Says::Abstains | Says::Waits => self.abstain(ballot::Round::Remedy).await,
            says => Opinion::Remedy(judge(&request.cause_ballots, says)),
        };
        self.cast(&context, &request.context, request.epoch, opinion).await
    }

    async fn indicator(&self, _: Request<IndicatorRequest>) -> Result<Response<IndicatorReply>, Status> {
        Ok(Response::new(IndicatorReply { live: true, healthy: true, summary: "errors 0 of 100".into(), ..IndicatorReply::default() }))
    }
}

// === impl Fake ===

impl Fake {
    async fn abstain(&self, round: ballot::Round) -> Opinion {
        if self.says == Says::Waits {
            // The sender lives as long as the test.
            let _ = self.go.clone().wait_for(|go| *go).await;
        }
        Opinion::Abstain { round, reason: "no data since 40 s".into() }
    }

    async fn cast(&self, context: &Context, text: &[u8], epoch: u32, opinion: Opinion) -> Result<Response<CastReply>, Status> {
        let vote = Ballot {
            cluster: context.cluster.clone(),
            incident: context.incident.clone(),
            seat: self.name.into(),
            epoch,
            issued_at: UnixMillis(jiff::Timestamp::now().as_millisecond()),
            expires_after_ms: 600_000,
            context: Digest::of_bytes(text),
            roster: self.roster.clone(),
            rules: "fake/1".into(),
            opinion,
        };
        let payload = canonical::text(&vote.clone().statement()).unwrap();
        let object = resources::Ballot::of(&vote, "fake".into(), sign(&self.workload, PAYLOAD_TYPE, payload));
        let api: Api<resources::Ballot> = Api::namespaced(self.client.clone(), names::SYSTEM_NAMESPACE);
        let mut tries = 0;
        loop {
            match api.create(&PostParams::default(), &object).await {
                // Asked again, a seat stands by what it said.
                Err(kube::Error::Api(status)) if status.is_already_exists() => break,
                // Writers come again while the gate is away.
                Err(kube::Error::Api(status)) if status.code >= 500 && tries < 50 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                created => {
                    created.unwrap();
                    break;
                }
            }
        }
        Ok(Response::new(CastReply { ballot: vote.name() }))
    }
}

fn only_the_director<T>(request: &Request<T>) {
    let peer = PeerIdentity::of(request).unwrap().name().unwrap();
    assert_eq!(peer.account(), names::accounts::DIRECTOR);
}

fn context(bytes: &[u8]) -> Context {
    let context: Context = serde_json::from_slice(bytes).unwrap();
    assert_eq!(canonical::text(&context).unwrap().as_bytes(), bytes, "the context is canonical");
    context
}

fn blame(context: &Context, epoch: u32, principal: Principal) -> CauseVote {
    let target = context.workloads.iter().find(|workload| workload.target.service() == context.service).unwrap().target.clone();
    let action = Action::RestartWorkload(Restart { marker: format!("{}.{epoch}", context.incident) });
    let hypothesis = Hypothesis {
        service: context.service.clone(),
        domain: Domain::Application,
        fault: "stalled".into(),
        probability: Millionths::new(900_000),
        evidence: vec![evidence(principal)],
        path: vec![context.service.clone()],
        remedies: vec![Proposal { action, target }],
    };
    CauseVote { hypotheses: vec![hypothesis], ..CauseVote::default() }
}

fn judge(cause_ballots: &[Vec<u8>], says: Says) -> RemedyVote {
    let signed: Vec<Signed> = cause_ballots.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect();
    let mut causes: Vec<Digest> = signed.iter().map(|signed| Digest::of_bytes(signed.payload.as_bytes())).collect();
    causes.sort_unstable();
    let (verdict, principal) = match says {
        Says::Blames(principal) => (StanceVerdict::Support, principal),
        Says::Vetoes(principal) => (StanceVerdict::Veto, principal),
        _ => (StanceVerdict::NoObjection, Principal::Sidecar),
    };
    let mut proposals: Vec<Digest> = signed.iter().flat_map(|signed| proposals(&signed.payload)).map(|proposal| proposal.digest().unwrap()).collect();
    proposals.sort_unstable();
    proposals.dedup();
    let stance = |proposal| Stance { proposal, verdict, reason: "as told".into(), evidence: vec![evidence(principal)] };
    RemedyVote { causes, stances: proposals.into_iter().map(stance).collect() }
}

fn proposals(payload: &str) -> Vec<Proposal> {
    match Statement::parse(payload).unwrap().predicate.opinion {
        Opinion::Cause(vote) => vote.hypotheses.into_iter().flat_map(|hypothesis| hypothesis.remedies).collect(),
        _ => Vec::new(),
    }
}
