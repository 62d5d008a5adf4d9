//! What guardrails say of a request. What they ask for beside it is read now: Namespace, params, `Facts`, access reviews.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_policies::{Authorizer, Namespace, Outcome, ParamTable, Request, Set};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::authority::Authority;
use crate::authorizer::Answers;
use crate::change::Change;
use crate::reader::Live;

/// How long the guardrails of one request may compute. The gate answers within four seconds and reads before it judges.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a request is judged again with access reviews that were asked for the time before.
const MAX_ROUNDS: usize = 4;

/// What a request is about, for `Facts`.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The incident.
    pub(crate) incident: &'a IncidentUid,
    /// What is done to what.
    pub(crate) proposal: &'a Proposal,
    /// The objects of the very write.
    pub(crate) change: &'a Change,
    /// The target as it is now.
    pub(crate) workload: &'a Value,
    /// Name of the plan under judgement, which is no other plan to itself.
    pub(crate) plan: &'a str,
    /// Its `Facts`, or why there are none, once a guardrail has wanted them: all requests about it are judged by the same.
    pub(crate) facts: OnceCell<Result<Value, String>>,
}

/// What was said of a request.
#[derive(Debug)]
pub struct Said {
    /// By the guardrails.
    pub outcome: Outcome,
    /// How long they computed.
    pub took: Duration,
    /// The `Facts` that they were given, where one of them wanted any.
    pub facts: Option<Value>,
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// `change` of `workload`, as it is now, by `proposal` in `incident`, for the plan of this name.
    #[must_use]
    pub fn new(incident: &'a IncidentUid, proposal: &'a Proposal, change: &'a Change, workload: &'a Value, plan: &'a str) -> Self {
        Self { incident, proposal, change, workload, plan, facts: OnceCell::new() }
    }
}

// === impl Live ===

impl Live {
    /// What the guardrails in force say of a request. `subject`: what it is about, or why that is not known; it is asked for
    /// only where a guardrail wants `Facts`.
    pub async fn said(&self, authority: &Authority, request: &Request<'_>, subject: Result<&Subject<'_>, &str>) -> Said {
        let set = authority.guardrails.as_ref();
        let (reads_namespace, asks_authorizer, wanted) = {
            let needs = set.needs(request);
            let wanted: Vec<_> = needs.params.iter().map(crate::params::Wanted::from).collect();
            (needs.namespace, needs.authorizer, wanted)
        };
        let namespace = async {
            match request.namespace {
                name if !name.is_empty() && reads_namespace => Some(self.object(&format!("/api/v1/namespaces/{name}")).await),
                _ => None,
            }
        };
        let (namespace, (params, facts)) = tokio::join!(namespace, self.params(authority, request.namespace, &wanted, subject));
        let unreadable = namespace.as_ref().and_then(|read| read.as_ref().err()).map(|refusal| refusal.reason.clone());
        let namespace = match (&namespace, &unreadable) {
            (None, _) => Namespace::NotGiven,
            (Some(_), Some(reason)) => Namespace::Unreadable(reason),
            (Some(Ok(Some(found))), None) => Namespace::Known(found),
            (Some(_), None) => Namespace::Missing,
        };
        let answers = Arc::new(Answers::default());
        let mut took = Duration::ZERO;
        for round in 1.. {
            let started = Instant::now();
            let outcome = in_place(|| evaluate(set, request, namespace, &params, asks_authorizer.then(|| Arc::clone(&answers))));
            took += started.elapsed();
            let open = answers.open();
            if open.is_empty() || round >= MAX_ROUNDS {
                return Said { outcome, took, facts };
            }
            for check in open {
                let decision = self.review(&request.user, &check).await;
                answers.give(check, decision);
            }
        }
        Said { outcome: Outcome::default(), took, facts }
    }
}

fn evaluate(set: &Set, request: &Request<'_>, namespace: Namespace<'_>, params: &ParamTable, answers: Option<Arc<Answers>>) -> Outcome {
    let authorizer = answers.map(|answers| -> Arc<dyn Authorizer> { answers });
    let started = Instant::now();
    let late = || started.elapsed() > PATIENCE;
    set.evaluate(&Request { namespace_object: namespace, params, authorizer: authorizer.as_ref(), deadline: &late, ..*request })
}

/// Computes without keeping others waiting, where the runtime has other threads.
fn in_place<T>(compute: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(compute),
        _ => compute(),
    }
}
