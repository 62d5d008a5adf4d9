//! The network seat over a recording: the way between services, the client's time without the server's. A service most of whose
//! ways have become long is to blame for them. And, by the requests alone, who makes what users suffer.

use std::collections::{BTreeMap, BTreeSet};

use crate::ballot::{EvidenceClass, Principal};
use crate::diagnosis::recording::Side;
use crate::diagnosis::robust::{Split, Usual, reached, split};
use crate::diagnosis::vocabulary::{Kind, figure, is_store, kind};
use crate::diagnosis::{CallSeries, Recording, Series, Suspicion, flow, graded, inflow, operations};
use crate::ids::{Domain, Millionths};

/// Time on the way, in milliseconds, that nobody notices.
const UNNOTICED_MS: f64 = 15.0;
/// Multiple of the usual time from which on a way has become long.
const LONG: f64 = 4.0;

/// How a way between two services is.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Sources that find it long.
    long: u32,
    /// Sources that find it as usual.
    usual: u32,
    /// The largest multiple of the usual time.
    multiple: f64,
    /// Milliseconds now.
    now_ms: f64,
}

// === impl State ===

impl State {
    fn is_long(&self) -> bool {
        self.long > 0 && self.long >= self.usual
    }
}

/// Who it suspects. Nothing: no figures of its classes that can be judged.
#[must_use]
pub fn suspect(recording: &Recording) -> Option<Vec<Suspicion>> {
    let ways = ways(recording);
    let sources = flow::sources(recording);
    if ways.is_empty() && sources.is_none() {
        return None;
    }
    let mut suspicions = blamed(&ways);
    suspicions.extend(stopped_short(recording));
    for source in sources.unwrap_or_default() {
        // Whoever keeps data is the database seat's to judge.
        if is_store(&source.service) {
            continue;
        }
        suspicions.push(made(recording, &source, Domain::Application));
    }
    suspicions.extend(slow(recording));
    Some(suspicions)
}

/// What users suffer is made here.
pub(in crate::seats) fn made(recording: &Recording, source: &flow::Source, domain: Domain) -> Suspicion {
    let what = match source.objective {
        crate::diagnosis::Objective::Latency => "slow",
        crate::diagnosis::Objective::Availability => "errors",
    };
    // What nobody below carries is left with the entry, for want of a better one.
    let most = if recording.alert.entry.as_ref() == Some(&source.service) {
        550
    } else if source.clear {
        980
    } else {
        850
    };
    Suspicion {
        service: source.service.clone(),
        domain,
        fault: what.into(),
        probability: graded(source.score(), (0.1, 0.75), (300, most)),
        source: (EvidenceClass::Requests, Principal::MetricStore),
        grounds: vec![format!("carries {:.2} of what users suffer, alike in time by {:.2}, {:.2} of it its own", source.share, source.likeness, source.own)],
    }
}

fn ways(recording: &Recording) -> BTreeMap<(String, String), State> {
    let mut ways: BTreeMap<(String, String), State> = BTreeMap::new();
    let mut note = |caller: &str, callee: &str, long: bool, multiple: f64, now_ms: f64| {
        let state = ways.entry((caller.to_owned(), callee.to_owned())).or_default();
        if long {
            state.long += 1;
            state.multiple = state.multiple.max(multiple);
            state.now_ms = state.now_ms.max(now_ms);
        } else {
            state.usual += 1;
        }
    };
    for client in recording.calls.iter().filter(|call| call.side == Side::Client) {
        let server = recording.calls.iter().find(|call| call.side == Side::Server && call.caller == client.caller && call.callee == client.callee);
        let Some((usual_ms, now_ms, of_the_way)) = gap(recording, client, server) else { continue };
        let long = now_ms - usual_ms >= UNNOTICED_MS && now_ms >= usual_ms * LONG && of_the_way >= 0.6;
        note(&client.caller, &client.callee, long, now_ms / usual_ms.max(1.0), now_ms);
    }
    for way in operations::ways(recording) {
        let long = way.now_ms - way.usual_ms >= UNNOTICED_MS && way.now_ms >= way.usual_ms * LONG;
        note(&way.caller, &way.callee, long, way.now_ms / way.usual_ms.max(1.0), way.now_ms);
    }
    ways
}

/// The client's usual time and its time now, in milliseconds, and how much of the growth the server does not see.
fn gap(recording: &Recording, client: &CallSeries, server: Option<&CallSeries>) -> Option<(f64, f64, f64)> {
    let side = |call: &CallSeries, level: fn(&Split, &Usual) -> Option<f64>| {
        let halves = split(&recording.alert, &call.points);
        let usual = Usual::learn(&halves.before, 0.0)?;
        (halves.during.len() >= 2).then_some(())?;
        Some((usual.median * 1_000.0, level(&halves, &usual)? * 1_000.0))
    };
    let (usual, now) = side(client, |halves, usual| halves.risen(usual.median))?;
    let (server_usual, server_now) = side(server?, |halves, _| reached(&halves.during))?;
    let grown = now - usual;
    let server_grown = (server_now - server_usual).max(0.0);
    Some((usual, now, if grown > 0.0 { 1.0 - server_grown / grown } else { 0.0 }))
}

/// Who is to blame for long ways: the service whose own ways are long, while others' are not.
fn blamed(ways: &BTreeMap<(String, String), State>) -> Vec<Suspicion> {
    let services: BTreeSet<&String> = ways.keys().flat_map(|(caller, callee)| [caller, callee]).collect();
    let out = |service: &String| {
        let out = ways.iter().filter(|((caller, _), _)| caller == service);
        out.fold((0.0_f64, 0.0_f64), |(long, well), (_, state)| if state.is_long() { (long + 1.0, well) } else { (long, well + 1.0) })
    };
    let mut suspicions = Vec::new();
    for service in services {
        let (out_long, out_well) = out(service);
        let (mut into_long, mut into_well, mut witnesses, mut worst) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
        for ((caller, _), state) in ways.iter().filter(|((_, callee), _)| callee == service) {
            worst = worst.max(state.now_ms);
            if !state.is_long() {
                into_well += 1.0;
                continue;
            }
            // A caller most of whose ways are long explains this one.
            let (long, well) = out(caller);
            into_long += if long >= 3.0 && long > well { 0.2 } else { 1.0 };
            witnesses += if state.long > 1 { 1.0 } else { 0.0 };
        }
        let as_callee = into_long - 0.6 * into_well - (0.1_f64 * out_well).min(0.3);
        let as_caller = if out_long >= 2.0 && out_long > out_well { 0.5 * out_long - 0.4 * out_well } else { 0.0 };
        let score = as_callee.max(as_caller);
        if score <= 0.0 {
            continue;
        }
        suspicions.push(Suspicion {
            service: service.clone(),
            domain: Domain::Network,
            fault: "delay".into(),
            probability: graded(score + 0.5 * witnesses, (0.0, 1.4), (350, 970)),
            source: (EvidenceClass::Tcp, Principal::MetricStore),
            grounds: vec![format!(
                "{into_long:.1} ways to it and {out_long:.0} from it are long, up to {worst:.1} ms; {into_well:.0} and {out_well:.0} are as usual"
            )],
        });
    }
    suspicions
}

/// Callers that no longer ask whom they asked. One callee that nobody asks may be out of reach instead, so nobody acts on this alone.
fn stopped_short(recording: &Recording) -> Vec<Suspicion> {
    let suspicion = |(caller, callees): (&str, BTreeSet<&str>)| Suspicion {
        service: caller.to_owned(),
        domain: Domain::Application,
        fault: "stopped-short".into(),
        probability: Millionths::new(if callees.len() > 1 { 680_000 } else { 450_000 }),
        source: (EvidenceClass::Requests, Principal::MetricStore),
        grounds: callees.into_iter().map(|callee| format!("as busy as ever, and nothing arrives any more at {callee}")).collect(),
    };
    inflow::stopped_short(recording).into_iter().map(suspicion).collect()
}

/// Services whose own answers have become late or wrong, for want of better. Tails of few requests are wild: what is late is late in
/// the middle as well.
fn slow(recording: &Recording) -> Vec<Suspicion> {
    let edges = recording.edges();
    let known: BTreeSet<&str> = edges.iter().flat_map(|(caller, callee)| [*caller, *callee]).collect();
    let answers = |series: &&Series| matches!(kind(&series.metric), Kind::Latency | Kind::Errors) && known.contains(series.service.as_str());
    let mut least: BTreeMap<(&str, Vec<String>), (f64, String)> = BTreeMap::new();
    for series in recording.series.iter().filter(answers) {
        let halves = split(&recording.alert, &series.points);
        let Some(usual) = Usual::learn(&halves.before, 0.0) else { continue };
        let Some(value) = halves.risen(usual.median) else { continue };
        // How often the usual, if that is far beyond it.
        let ratio = if usual.above(value) >= 8.0 { usual.ratio(value, 0.0) } else { 0.0 };
        let ground = format!("{} reached {value:.4}, usual {:.4} ± {:.4}", series.metric, usual.median, usual.scale);
        let kept = least.entry((series.service.as_str(), figure(&series.metric))).or_insert((f64::INFINITY, String::new()));
        if ratio < kept.0 {
            *kept = (ratio, ground);
        }
    }
    let mut worst: BTreeMap<&str, (f64, String)> = BTreeMap::new();
    for ((service, _), (ratio, ground)) in least {
        if ratio >= 3.0 && worst.get(service).is_none_or(|(known, _)| ratio > *known) {
            worst.insert(service, (ratio, ground));
        }
    }
    let suspicion = |(service, (ratio, ground)): (&&str, &(f64, String))| {
        // A caller is late with its callee.
        let explained = edges.iter().any(|(caller, callee)| caller == service && worst.contains_key(callee));
        Suspicion {
            service: (*service).to_owned(),
            domain: Domain::Application,
            fault: "slow".into(),
            probability: graded(*ratio, (3.0, 20.0), if explained { (200, 260) } else { (250, 420) }),
            source: (EvidenceClass::Requests, Principal::MetricStore),
            grounds: vec![ground.clone()],
        }
    };
    worst.iter().map(suspicion).collect()
}
