//! What guardrails say of a request. What they ask for beside it is read now: Namespace, params, `Facts`, access reviews.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use assent_policies::spec::Operation;
use assent_policies::{Authorizer, Kind, Namespace, NoParams, Outcome, ParamTable, Request, Resource, User};
use serde_json::Value;

use crate::authority::Authority;
use crate::authorizer::Answers;
use crate::change::Change;
use crate::reader::Live;

/// How long the guardrails of one request may compute. The gate answers within four seconds and reads before it judges.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a request is judged again with access reviews that were asked for the time before.
const MAX_ROUNDS: usize = 4;

static NULL: Value = Value::Null;

/// A request as guardrails see it. Other versions of a resource are not converted: a guardrail that names one refuses.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Kind of the objects.
    pub kind: Kind<'a>,
    /// Resource that they are served as.
    pub resource: Resource<'a>,
    /// Sub-resource or empty.
    pub subresource: &'a str,
    /// Kind and resource that the client asked for, where they are not the above.
    pub requested: Option<(Kind<'a>, Resource<'a>)>,
    /// What is done.
    pub operation: Operation,
    /// Name; empty where the server is to make one.
    pub name: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Who asks.
    pub user: User<'a>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The operation's options.
    pub options: &'a Value,
    /// The object after; null for a deletion.
    pub object: &'a Value,
    /// The object before; null for a creation.
    pub old_object: &'a Value,
}

/// What a request is about, for `Facts`.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The incident.
    pub incident: &'a IncidentUid,
    /// What is done to what.
    pub proposal: &'a Proposal,
    /// The objects of the very write.
    pub change: &'a Change,
    /// The target as it is now.
    pub workload: &'a Value,
    /// Name of the plan under judgement, which is no other plan to itself.
    pub plan: &'a str,
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

// === impl Asked ===

impl<'a> Asked<'a> {
    /// The request with nothing beside it.
    #[must_use]
    pub fn request(&self) -> Request<'a> {
        let Self { kind, resource, subresource, requested, operation, name, namespace, user, dry_run, options, object, old_object } = *self;
        Request {
            kind,
            resource,
            subresource,
            requested,
            operation,
            name,
            namespace,
            user,
            dry_run,
            options,
            object,
            old_object,
            namespace_object: Namespace::NotGiven,
            equivalents: None,
            params: &NoParams,
            authorizer: None,
            deadline: &|| false,
        }
    }
}

impl Default for Asked<'_> {
    fn default() -> Self {
        let Request { kind, resource, subresource, requested, operation, name, namespace, user, dry_run, .. } = Request::default();
        Self { kind, resource, subresource, requested, operation, name, namespace, user, dry_run, options: &NULL, object: &NULL, old_object: &NULL }
    }
}

// === impl Live ===

impl Live {
    /// What the guardrails in force say of a request. `subject`: what it is about, or why that is not known; it is asked for
    /// only where a guardrail wants `Facts`.
    pub async fn said(&self, authority: &Authority, asked: &Asked<'_>, subject: Result<Subject<'_>, &str>) -> Said {
        let set = authority.guardrails.as_ref();
        let (reads_namespace, asks_authorizer, wanted) = {
            let needs = set.needs(&asked.request());
            let wanted: Vec<_> = needs.params.iter().map(crate::params::Wanted::from).collect();
            (needs.namespace, needs.authorizer, wanted)
        };
        let namespace = async {
            match asked.namespace {
                name if !name.is_empty() && reads_namespace => Some(self.object(&format!("/api/v1/namespaces/{name}")).await),
                _ => None,
            }
        };
        let (namespace, (params, facts)) = tokio::join!(namespace, self.params(authority, asked, &wanted, subject));
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
            let outcome = in_place(|| evaluate(set, asked, namespace, &params, asks_authorizer.then(|| Arc::clone(&answers))));
            took += started.elapsed();
            let open = answers.open();
            if open.is_empty() || round >= MAX_ROUNDS {
                return Said { outcome, took, facts };
            }
            for check in open {
                let decision = self.review(asked, &check).await;
                answers.give(check, decision);
            }
        }
        Said { outcome: Outcome::default(), took, facts }
    }
}

fn evaluate(set: &assent_policies::Set, asked: &Asked<'_>, namespace: Namespace<'_>, params: &ParamTable, answers: Option<Arc<Answers>>) -> Outcome {
    let authorizer = answers.map(|answers| -> Arc<dyn Authorizer> { answers });
    let started = Instant::now();
    let late = || started.elapsed() > PATIENCE;
    set.evaluate(&Request { namespace_object: namespace, params, authorizer: authorizer.as_ref(), deadline: &late, ..asked.request() })
}

/// Computes without keeping others waiting, where the runtime has other threads.
fn in_place<T>(compute: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(compute),
        _ => compute(),
    }
}
