//! Load that comes and goes, as kubelets tell it, and what the seat makes of it.

use serde_json::{Value, json};

use crate::action::Action;
use crate::ballot::{CastBallot, Opinion, StanceVerdict};
use crate::blueprint::{effective, read};
use crate::consensus::{Outcome, Verdict, tally};
use crate::demand::{Allocation, Autoscaler, Container};
use crate::ids::UnixMillis;
use crate::incident::{Context, Symptom};
use crate::seats::compute::{ContainerSample, Intent, Pod, Sample, View};
use crate::seats::testing::{
    ANSWERED, Beat, CHATTY, ONSET, USUAL, at, bare_position, context, database, first, network, roster, said, second, service, settings, target,
};
use crate::seats::{Finding, Seat, change};

mod sizing;

const STEP_MS: i64 = 5_000;

/// A service of some replicas whose load is followed.
struct Followed {
    view: View,
    now: UnixMillis,
    intent: Intent,
    spent: Vec<i64>,
    /// What each pod's one container holds.
    memory_bytes: u64,
}

fn intent(replicas: u32, more: Value) -> Intent {
    let mut spec = json!({
        "target": {"kind": "Deployment", "name": "orders"}, "mode": "autonomous",
        "limits": {"minReplicas": 1, "maxReplicas": 4}, "operations": {"allowed": ["ScaleWorkload"]}, "scaling": {"weights": {"cpu": 100}},
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    let container = Container { name: "app".into(), cpu: Allocation { request: 100, ..Allocation::default() }, ..Container::default() };
    let effective = effective(&[], &read(&spec).value);
    Intent { effective, replicas, ready: replicas, rolling_out: false, resizes: true, containers: vec![container], autoscalers: vec![] }
}

impl Followed {
    /// So that its clock comes to that of the other seats after so many seconds.
    fn beginning(seconds: i64, intent: Intent) -> Self {
        let mut view = View::new(crate::seats::Settings { stale_ms: 20_000, ..settings() });
        view.node("node", 4_000);
        let mut followed = Self { view, now: at(ONSET + 4).plus(1_000 - seconds * 1_000), intent: intent.clone(), spent: vec![], memory_bytes: 1 << 20 };
        followed.scaled(intent.replicas);
        followed
    }

    fn scaled(&mut self, replicas: u32) {
        for pod in 0..replicas {
            let facts = Pod {
                workload: Some(service("orders")),
                node: "node".into(),
                running: true,
                started_at: Some(self.now.plus(-60_000)),
                request_milli: 100,
                ..Pod::default()
            };
            self.view.pod(&format!("orders-{pod}"), facts);
        }
        for pod in replicas..u32::try_from(self.spent.len()).unwrap() {
            self.view.pod_gone(&format!("orders-{pod}"));
        }
        self.spent.resize(replicas as usize, 0);
        self.intent = Intent { replicas, ready: replicas, ..self.intent.clone() };
        self.view.intent(&service("orders"), Some(self.intent.clone()), self.now);
    }

    /// Each pod uses this for so long; those of `silent` are not told of.
    fn uses(&mut self, milli: i64, seconds: i64, silent: &[usize]) {
        for _ in 0..seconds * 1_000 / STEP_MS {
            self.now = self.now.plus(STEP_MS);
            for (pod, spent) in self.spent.iter_mut().enumerate() {
                *spent += milli * STEP_MS * 1_000;
                if !silent.contains(&pod) {
                    let cpu_ns = u64::try_from(*spent).unwrap();
                    let containers = vec![ContainerSample { name: "app".into(), cpu_ns, memory_bytes: Some(self.memory_bytes) }];
                    self.view.sample(Sample { pod: format!("orders-{pod}"), at: self.now, cpu_ns, memory_bytes: self.memory_bytes, containers }, self.now);
                }
            }
            self.view.tick(self.now);
        }
    }

    fn findings(&self) -> Vec<Finding> {
        self.view.findings(self.now)
    }

    /// The context of the incident that its finding opens.
    fn context(&self) -> Context {
        let since = self.findings().first().map_or(self.now, |finding| finding.since);
        let mut context = Context { symptom: Symptom::Demand, ..context("orders", since) };
        context.workloads.iter_mut().for_each(|workload| workload.replicas = self.intent.replicas);
        context
    }

    fn vote(&self) -> Opinion {
        first(&self.view, &self.context(), self.now).ballot.opinion
    }
}

fn replicas(opinion: &Opinion) -> Vec<u32> {
    let Opinion::Cause(vote) = opinion else { return vec![] };
    let actions = vote.hypotheses.iter().flat_map(|hypothesis| &hypothesis.remedies).map(|remedy| &remedy.action);
    actions.map(|action| if let Action::ScaleWorkload(scale) = action { scale.replicas } else { panic!("{action:?}") }).collect()
}

#[test]
fn use_above_the_threshold_is_reported_once_it_lasts_and_voted_for() {
    let mut orders = Followed::beginning(400, intent(2, json!({})));
    orders.uses(60, 120, &[]);
    assert_eq!(orders.findings(), vec![], "between the thresholds nothing is done");
    assert_eq!(said(&orders.vote()), ["healthy"]);
    orders.uses(95, 20, &[]);
    assert_eq!(orders.findings(), vec![], "not because of a moment");
    orders.uses(95, 60, &[]);
    let [finding] = orders.findings().try_into().unwrap();
    assert_eq!((finding.service.clone(), finding.symptom), (service("orders"), Symptom::Demand));
    assert!(finding.summary.starts_with("2 → 3 replicas: CPU is above 80.0 %"), "{}", finding.summary);
    orders.uses(95, 30, &[]);
    assert_eq!(orders.findings()[0].since, finding.since, "the same need is one");
    assert_eq!(said(&orders.vote()), ["orders compute demand-rose 90"]);
    assert_eq!(replicas(&orders.vote()), [3]);
    // Done: the figures before and after are of different numbers, and it is not turned round at once.
    orders.scaled(3);
    orders.uses(60, 300, &[]);
    assert_eq!(orders.findings(), vec![]);
}

#[test]
fn little_use_is_reported_when_it_was_little_all_through() {
    let mut orders = Followed::beginning(1_000, intent(3, json!({})));
    orders.uses(15, 240, &[]);
    assert_eq!(orders.findings(), vec![], "five minutes are looked at");
    orders.uses(15, 90, &[]);
    assert_eq!(said(&orders.vote()), ["orders compute demand-fell 90"]);
    assert_eq!(replicas(&orders.vote()), [2]);
    let fewer = |replicas| crate::ballot::Proposal { action: Action::ScaleWorkload(crate::action::Scale { replicas }), target: target("orders") };
    let stance = |replicas| bare_position(&orders.view, &orders.context(), orders.now, &fewer(replicas)).verdict;
    assert_eq!((stance(2), stance(1), stance(4)), (StanceVerdict::Support, StanceVerdict::Veto, StanceVerdict::NoObjection));
}

#[test]
fn what_is_not_measured_moves_nothing() {
    let mut orders = Followed::beginning(400, intent(2, json!({})));
    orders.uses(95, 120, &[]);
    assert_eq!(orders.findings().len(), 1);
    // One kubelet falls silent: the sum over the rest is none.
    orders.uses(95, 120, &[1]);
    assert_eq!(orders.findings(), vec![]);
    assert_eq!(replicas(&orders.vote()), Vec::<u32>::new());
}

#[test]
fn autoscalers_and_blueprints_without_a_word_on_it_are_let_be() {
    let autoscaler = Autoscaler { name: "orders".into(), min: 1, max: 4, active: true, by_cpu_request: true, by_memory_request: false };
    let mut owned = Followed::beginning(400, Intent { autoscalers: vec![autoscaler], ..intent(2, json!({})) });
    owned.uses(95, 120, &[]);
    assert_eq!(replicas(&owned.vote()), Vec::<u32>::new());
    let mut silent = Followed::beginning(400, intent(2, json!({"scaling": null})));
    silent.uses(95, 120, &[]);
    assert_eq!(silent.findings(), vec![]);
}

#[test]
fn beyond_the_limits_it_asks_where_somebody_is_named() {
    let named = json!({"limits": {"minReplicas": 1, "maxReplicas": 2}, "operations": {"allowed": ["ScaleWorkload"], "restricted": [
        {"operation": "scale_beyond_limits", "condition": "target_replicas > max_replicas", "approvers": ["devops-team"]}]}});
    let mut asking = Followed::beginning(400, intent(2, named));
    asking.uses(95, 120, &[]);
    assert_eq!(replicas(&asking.vote()), [3]);
    let mut silent = Followed::beginning(400, intent(2, json!({"limits": {"minReplicas": 1, "maxReplicas": 2}})));
    silent.uses(95, 120, &[]);
    assert_eq!(replicas(&silent.vote()), Vec::<u32>::new());
}

/// All four seats and the count.
fn decided(orders: &Followed, beat: Beat) -> Outcome {
    let (mesh, mesh_now) = network(&vec![(USUAL, beat, CHATTY); 4]);
    let (database, database_now) = database(&[("orders", "postgres", ANSWERED), ("storefront", "redis", ANSWERED)]);
    let (change, rollout) = change::cases::rolled_out();
    let context = orders.context();
    // What was rolled out was so long before.
    let late = rollout.plus(3_600_000);
    let seats: [(&dyn Seat, UnixMillis, &Context); 4] = [
        (&mesh, mesh_now, &context),
        (&orders.view, orders.now, &context),
        (&database, database_now, &context),
        (&change, late, &Context { since: late, ..context.clone() }),
    ];
    let causes: Vec<CastBallot> = seats.iter().map(|(seat, now, context)| first(*seat, context, *now)).collect();
    let remedies = seats.iter().map(|(seat, now, context)| second(*seat, context, *now, &causes));
    let all: Vec<CastBallot> = causes.iter().cloned().chain(remedies).collect();
    tally(&roster(), &all)
}

#[test]
fn the_seats_agree_on_load_and_on_nothing_else() {
    let mut orders = Followed::beginning(300, intent(1, json!({})));
    orders.uses(60, 150, &[]);
    // As soon as it is reported: no figure is newer than that.
    while orders.findings().is_empty() {
        orders.uses(95, 5, &[]);
    }
    let outcome = decided(&orders, Beat { requests: 60, ..USUAL });
    match &outcome.verdict {
        Verdict::Act { proposal, supporters } => {
            assert_eq!(
                (proposal.action.act().describe(), supporters.as_slice()),
                ("scale to 2 replicas".into(), &["compute".to_owned(), "network".into()][..])
            );
        }
        Verdict::Hold { rule, reason } => panic!("{rule:?}: {reason}\n{:#?}", outcome.causes),
    }
    // The same use while hardly anybody asks is no load, and while answers fail it is trouble.
    for beat in [Beat { requests: 10, ..USUAL }, Beat { requests: 40, errors: 24, ..USUAL }] {
        let outcome = decided(&orders, beat);
        assert!(matches!(outcome.verdict, Verdict::Hold { .. }), "{:?}", outcome.verdict);
    }
}

#[test]
fn fewer_are_agreed_on_only_while_nobody_would_feel_it() {
    let mut orders = Followed::beginning(400, intent(2, json!({})));
    orders.uses(15, 400, &[]);
    let outcome = decided(&orders, USUAL);
    assert!(matches!(&outcome.verdict, Verdict::Act { proposal, .. } if proposal.action.act().describe() == "scale to 1 replicas"), "{:?}", outcome.verdict);
    for beat in [Beat { requests: 80, ..USUAL }, Beat { mean_us: 200_000, ..USUAL }] {
        let outcome = decided(&orders, beat);
        assert!(matches!(outcome.verdict, Verdict::Hold { .. }), "{:?}", outcome.verdict);
    }
}
