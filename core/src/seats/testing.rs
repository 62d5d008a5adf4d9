//! A small shop for the cases of all seats: storefront calls orders and redis, orders calls postgres.

use super::histogram::Histogram;
use super::{Asked, Put, Seat, compute, database, network};
use crate::ballot::{Ballot, CastBallot, Opinion, Proposal, Round};
use crate::canonical::Digest;
use crate::consensus::{Roster, Seat as RosterSeat, TallyConfiguration};
use crate::ids::{IncidentUid, UnixMillis};
use crate::incident::{Context, Symptom, Workload};
use crate::target::{Service, Target};

/// A whole number of windows.
pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(super) const GRID: i64 = 2_000;
/// The 15 windows before it are as usual.
pub(super) const ONSET: i64 = 15;

pub(super) fn service(name: &str) -> Service {
    Service { namespace: "shop".into(), name: name.into() }
}

pub(super) fn target(name: &str) -> Target {
    let stateful = name == "postgres";
    Target {
        api_version: "apps/v1".into(),
        kind: if stateful { "StatefulSet" } else { "Deployment" }.into(),
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 2,
        spec: Digest::of_bytes(name.as_bytes()),
    }
}

pub(super) fn at(window: i64) -> UnixMillis {
    START.plus(window * GRID)
}

pub(super) fn context(alert: &str, since: UnixMillis) -> Context {
    let workload = |name: &str| Workload { target: target(name), revisions: vec![], configurations: vec![], replicas: 1, ready: 1 };
    Context {
        incident: IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap(),
        cluster: "c".into(),
        service: service(alert),
        symptom: Symptom::Unspecified,
        since,
        gathered_at: since,
        alerts: vec![],
        workloads: ["storefront", "orders", "redis", "postgres"].map(workload).into(),
        events: vec![],
    }
}

pub(super) fn roster() -> Roster {
    Roster {
        seats: super::SEATS
            .iter()
            .map(|s| RosterSeat {
                name: s.name.into(),
                domain: s.domain,
                account: format!("assent-seat-{}", s.name),
                principals: crate::consensus::shipped_principals(s.domain),
            })
            .collect(),
        quorum: 3,
        supporters: 2,
        tally: TallyConfiguration::shipped(),
        trust_roots: String::new(),
        gate: Digest::of_bytes(b"gate"),
        ledger: None,
    }
}

pub(super) fn cast(seat: &str, opinion: Opinion) -> CastBallot {
    let ballot = Ballot {
        cluster: "c".into(),
        incident: context("orders", START).incident,
        seat: seat.into(),
        epoch: 1,
        issued_at: START,
        expires_after_ms: 600_000,
        context: Digest::of_bytes(b"context"),
        roster: roster().digest().unwrap(),
        rules: "test/1".into(),
        opinion,
    };
    ballot.check_bounds().unwrap();
    CastBallot { digest: Digest::of(&ballot).unwrap(), created_at: START, ballot }
}

/// The seat's ballot of the first round.
pub(super) fn first(seat: &dyn Seat, context: &Context, now: UnixMillis) -> CastBallot {
    cast(seat.entry().name, seat.cause(&Asked { context, epoch: 1, now }))
}

/// The seat's ballot of the second round.
pub(super) fn second(seat: &dyn Seat, context: &Context, now: UnixMillis, causes: &[CastBallot]) -> CastBallot {
    let opinion = seat.remedy(&Asked { context, epoch: 1, now }, causes);
    assert!(matches!(&opinion, Opinion::Remedy(_) | Opinion::Abstain { round: Round::Remedy, .. }));
    cast(seat.entry().name, opinion)
}

/// The position without the rule that a supporter must hold the cause.
pub(super) fn bare_position(seat: &dyn Seat, context: &Context, now: UnixMillis, proposal: &Proposal) -> super::Position {
    seat.stance(&Asked { context, epoch: 1, now }, &Put { proposal, grounds: vec![], held: None })
}

/// The hypotheses as `service domain fault percent`.
pub(super) fn said(opinion: &Opinion) -> Vec<String> {
    match opinion {
        Opinion::Abstain { reason, .. } => vec![format!("abstains: {reason}")],
        Opinion::Cause(vote) if vote.hypotheses.is_empty() => vec!["healthy".into()],
        Opinion::Cause(vote) => {
            let line = |h: &crate::ballot::Hypothesis| format!("{} {} {} {}", h.service.name, h.domain, h.fault, h.probability.get() / 10_000);
            vote.hypotheses.iter().map(line).collect()
        }
        Opinion::Remedy(_) => vec!["remedy".into()],
    }
}

pub(super) fn latency(count: u64, mean_us: u64) -> Histogram {
    let mut buckets = [0_u64; 32];
    buckets[mean_us.max(1).ilog2() as usize] = count;
    Histogram::new(&buckets, count * mean_us)
}

// --- network ---

/// A pod named like its workload, or like something else.
pub(super) fn pod(name: &str) -> Option<network::Pod> {
    Some(network::Pod { uid: name.into(), name: name.into() })
}

/// One service in one window.
#[derive(Clone, Copy)]
pub(super) struct Beat {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) unanswered: u64,
    pub(super) mean_us: u64,
}

pub(super) const USUAL: Beat = Beat { requests: 40, errors: 0, unanswered: 0, mean_us: 8_000 };

pub(super) fn counts(beat: Beat) -> network::Counts {
    let answered = beat.requests.saturating_sub(beat.unanswered);
    network::Counts {
        requests: beat.requests,
        success: answered - beat.errors,
        server_error: beat.errors,
        no_response: 0,
        stalled: beat.unanswered,
        latency: latency(answered, beat.mean_us),
    }
}

pub(super) fn link(peer: &str, port: u16, counts: network::Link) -> network::Connections {
    network::Connections { inbound: false, peer: Some(service(peer)), port, counts }
}

pub(super) const CHATTY: network::Link = network::Link { port: 0, opened: 0, connect_failed: 0, sent: 4_000, received: 9_000, retransmits: 0, rtt_us: 300 };

/// One window of the shop as its sidecars tell it; `postgres` is the leg from orders to postgres.
pub(super) fn mesh(view: &mut network::View, window: i64, storefront: Beat, orders: Beat, postgres: network::Link) {
    let requests = |inbound, peer: &str, beat| network::Requests { identified: true, inbound, peer: Some(service(peer)), counts: counts(beat) };
    let tell = |view: &mut network::View, speaker: &str, requests, connections| {
        let observation = network::Observation { speaker: service(speaker), pod: pod(speaker), start: at(window), length_ms: 2_000, requests, connections };
        view.observe(&observation, at(window + 1));
    };
    tell(
        view,
        "storefront",
        vec![requests(true, "load", storefront), requests(false, "orders", orders)],
        vec![link("orders", 8080, CHATTY), link("redis", 6379, CHATTY)],
    );
    tell(view, "orders", vec![requests(true, "storefront", orders)], vec![link("postgres", 5432, postgres)]);
    tell(view, "postgres", vec![], vec![]);
}

pub(super) fn settings() -> super::Settings {
    super::Settings::default()
}

/// A view of the shop: usual until the onset, then as told for as many windows as `bad` has.
pub(super) fn network(bad: &[(Beat, Beat, network::Link)]) -> (network::View, UnixMillis) {
    let mut view = network::View::new(settings());
    for window in 0..ONSET {
        mesh(&mut view, window, USUAL, USUAL, CHATTY);
    }
    for ((storefront, orders, postgres), window) in bad.iter().zip(ONSET..) {
        mesh(&mut view, window, *storefront, *orders, postgres.clone());
    }
    let end = ONSET + i64::try_from(bad.len()).unwrap();
    // Just after the last window is closed.
    (view, at(end).plus(1_000))
}

// --- compute ---

/// A view in which each pod used `usual` thousandths until the onset and `now` since, of a limit of 150.
pub(super) fn compute(pods: &[(&str, i64, i64)]) -> (compute::View, UnixMillis) {
    let mut view = compute::View::new(super::Settings { learn: 3, stale_ms: 40_000, ..settings() });
    view.node("node", 2_000);
    let onset = at(ONSET);
    let mut spent = vec![0_i64; pods.len()];
    for (name, ..) in pods {
        let facts = compute::Pod {
            name: (*name).into(),
            workload: Some(service(name.split('/').next().unwrap())),
            node: "node".into(),
            running: true,
            started_at: Some(START.plus(-60_000)),
            request_milli: 100,
            limit_milli: Some(150),
            ..compute::Pod::default()
        };
        view.pod(name, facts);
    }
    let end = onset.plus(15_000);
    let mut time = START;
    while time <= end {
        for ((name, usual, now), spent) in pods.iter().zip(&mut spent) {
            let milli = if time.plus(-2_500) >= onset { now } else { usual };
            *spent += milli * 5_000 * 1_000;
            let sample = compute::Sample { pod: (*name).into(), at: time, cpu_ns: u64::try_from(*spent).unwrap(), memory_bytes: 1 << 20, containers: vec![] };
            view.sample(sample, time);
        }
        time = time.plus(5_000);
    }
    (view, end)
}

// --- database ---

/// What a client saw of a database in a window: answered, waiting, mean turnaround.
#[derive(Clone, Copy)]
pub(super) struct Asks {
    pub(super) exchanges: u64,
    pub(super) stalled: u64,
    pub(super) mean_us: u64,
}

pub(super) const ANSWERED: Asks = Asks { exchanges: 60, stalled: 0, mean_us: 1_500 };

pub(super) fn ask(view: &mut database::View, window: i64, client: &str, server: &str, asks: Asks) {
    let counts = database::Exchanges {
        exchanges: asks.exchanges,
        stalled: asks.stalled,
        turnaround: latency(asks.exchanges, asks.mean_us),
        ..database::Exchanges::default()
    };
    let flow = database::Flow { inbound: false, peer: Some(service(server)), counts };
    let observation = database::Observation { speaker: service(client), start: at(window), length_ms: 2_000, flows: vec![flow] };
    view.observe(&observation, at(window + 1));
}

/// Calls (client, server) that are usual until the onset and then as told for four windows.
pub(super) fn database(calls: &[(&str, &str, Asks)]) -> (database::View, UnixMillis) {
    let mut view = database::View::new(settings());
    for window in 0..ONSET + 4 {
        for (client, server, then) in calls {
            ask(&mut view, window, client, server, if window < ONSET { ANSWERED } else { *then });
        }
    }
    (view, at(ONSET + 4).plus(1_000))
}
