//! A set on a request: which policies and bindings are concerned, each of them with each of its params, and what follows.
//!
//! Nothing here fails: what cannot be judged follows the policy's failurePolicy.

use serde_json::Value;

use super::index::Offered;
use super::{Group, Loaded, Set};
use crate::cel::library::authorizer;
use crate::policy::audit::{Annotation, Collector};
use crate::policy::compile::{Binding, Policy};
use crate::policy::evaluate::{Case, Failure, Judged, judge};
use crate::policy::outcome::{Asked, Decision, Evaluation, Outcome};
use crate::policy::request::{Form, Kind, Namespace, Objects, Request, Resource, namespace_variable};
use crate::policy::spec::{FailurePolicy, ValidationAction};

/// Most failed validations of one request that are explained.
const MAX_EXPLANATIONS: usize = 8;
/// Policies and bindings themselves are never judged, so that a bad one can be repaired.
const EXEMPT: [&str; 4] = ["validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];
/// Where nothing is judged.
const NO_OBJECTS: Objects<'static> = Objects { object: &Value::Null, old_object: &Value::Null };
/// What is said where time is up.
const TOO_LATE: &str = "the deadline passed before it could be judged";

/// What is to be done with one policy.
pub(super) enum Task<'a> {
    /// It cannot be judged.
    Fault(String),
    /// Judge it in this form for these bindings.
    Judge(Form<'a>, Vec<u32>),
}

/// The parts of a request that all policies share.
pub(super) struct Shared<'a, 'r> {
    request: &'r Request<'a>,
    variables: &'r [((Resource<'a>, Kind<'a>), Value)],
    namespace: &'r Value,
    checked: &'r authorizer::Resource,
}

// === impl Set ===

impl Set {
    /// What the set says of `request`.
    #[must_use]
    pub fn evaluate(&self, request: &Request<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut collector = Collector::default();
        self.each_task(request, &mut |shared, loaded, task| follow_task(&mut outcome, &mut collector, shared, loaded, &task));
        outcome.annotations = collector.finish();
        outcome
    }

    /// Calls `then` for every policy that could be concerned, in order, with what all of them share.
    pub(super) fn each_task<'a>(&self, request: &Request<'a>, then: &mut dyn FnMut(&Shared<'a, '_>, &Loaded, Task<'a>)) {
        let tasks = self.tasks(request);
        if tasks.is_empty() {
            return;
        }
        let mut variables: Vec<((Resource<'_>, Kind<'_>), Value)> = Vec::new();
        for (_, task) in &tasks {
            let Task::Judge(form, _) = task else { continue };
            for resource in [request.own().resource, form.resource] {
                if !variables.iter().any(|(key, _)| *key == (resource, form.kind)) {
                    variables.push(((resource, form.kind), request.variable(resource, form.kind)));
                }
            }
        }
        let namespace = match request.namespace_object {
            Namespace::Known(namespace) if in_namespace(request) => namespace_variable(namespace),
            _ => Value::Null,
        };
        let checked = request.checked();
        let shared = Shared { request, variables: &variables, namespace: &namespace, checked: &checked };
        for (number, task) in tasks {
            if let Some(loaded) = usize::try_from(number).ok().and_then(|number| self.policies.get(number)) {
                then(&shared, loaded, task);
            }
        }
    }

    /// Policies and bindings that could be concerned, matched as far as that needs no more than the request.
    pub(super) fn concerned<'s>(&'s self, request: &Request<'_>) -> Vec<(&'s Policy, Vec<&'s Binding>)> {
        let mut concerned = Vec::new();
        for (number, task) in self.tasks(request) {
            let Some(loaded) = usize::try_from(number).ok().and_then(|number| self.policies.get(number)) else { continue };
            let bindings: Vec<&Binding> = match task {
                Task::Fault(_) => loaded.bindings.iter().map(AsRef::as_ref).collect(),
                Task::Judge(_, bindings) => at(loaded, &bindings).collect(),
            };
            concerned.push((loaded.policy.as_ref(), bindings));
        }
        concerned
    }

    fn tasks<'a>(&self, request: &Request<'a>) -> Vec<(u32, Task<'a>)> {
        let resource = request.own().resource;
        if resource.group == "admissionregistration.k8s.io" && EXEMPT.contains(&resource.resource) {
            return Vec::new();
        }
        let offered = Offered::of(request);
        let mut tasks = Vec::new();
        for number in self.index.candidates(request, &offered) {
            let Some(group) = usize::try_from(number).ok().and_then(|number| self.groups.get(number)) else { continue };
            match group.constraints.as_ref().map_or_else(|| Ok(Some(request.own())), |constraints| constraints.matches(request)) {
                Ok(None) => {}
                Ok(Some(form)) => self.of_group(group, request, &offered, form, &mut tasks),
                Err(reason) => tasks.extend(group.policies.iter().map(|policy| (*policy, Task::Fault(reason.clone())))),
            }
        }
        tasks.sort_by_key(|(policy, _)| *policy);
        tasks
    }

    fn of_group<'a>(&self, group: &Group, request: &Request<'a>, offered: &Offered<'_>, form: Form<'a>, tasks: &mut Vec<(u32, Task<'a>)>) {
        let mut faulty: Vec<u32> = group.unusable.clone();
        for policy in &group.unusable {
            let reason = usize::try_from(*policy).ok().and_then(|at| self.policies.get(at)?.policy.unusable.clone());
            tasks.push((*policy, Task::Fault(reason.unwrap_or_default())));
        }
        for (kind, users) in &group.param_kinds {
            if let Err(reason) = request.params.scope(kind) {
                for policy in users.iter().filter(|policy| !group.unusable.contains(policy)) {
                    faulty.push(*policy);
                    tasks.push((*policy, Task::Fault(reason.clone())));
                }
            }
        }
        let pairs = group.index.candidates(request, offered);
        let pairs = pairs.into_iter().filter_map(|pair| group.pairs.get(usize::try_from(pair).ok()?));
        let mut bindings: Vec<(u32, Vec<u32>)> = Vec::new();
        for (policy, binding) in pairs.filter(|(policy, _)| !faulty.contains(policy)) {
            match bindings.last_mut().filter(|(last, _)| last == policy) {
                Some((_, of)) => of.push(*binding),
                None => bindings.push((*policy, vec![*binding])),
            }
        }
        tasks.extend(bindings.into_iter().map(|(policy, bindings)| (policy, Task::Judge(form, bindings))));
    }
}

/// A Namespace is in none, although it has one.
fn in_namespace(request: &Request<'_>) -> bool {
    !request.namespace.is_empty() && !request.is_of_namespace()
}

fn at<'l>(loaded: &'l Loaded, bindings: &[u32]) -> impl Iterator<Item = &'l Binding> {
    bindings.iter().filter_map(|binding| loaded.bindings.get(usize::try_from(*binding).ok()?)).map(AsRef::as_ref)
}

/// What one policy says, into `outcome`.
pub(super) fn follow_task(outcome: &mut Outcome, collector: &mut Collector, shared: &Shared<'_, '_>, loaded: &Loaded, task: &Task<'_>) {
    match task {
        Task::Fault(reason) => fault(outcome, &loaded.policy, None, reason),
        Task::Judge(form, bindings) => one(outcome, collector, shared, loaded, form, bindings),
    }
}

fn one(outcome: &mut Outcome, collector: &mut Collector, shared: &Shared<'_, '_>, loaded: &Loaded, form: &Form<'_>, bindings: &[u32]) {
    let request = shared.request;
    let policy = &loaded.policy;
    let mut spent = None;
    for binding in at(loaded, bindings) {
        if let Some(reason) = &binding.unusable {
            fault(outcome, policy, Some(binding), reason);
            continue;
        }
        match binding.constraints.as_ref().map_or(Ok(true), |constraints| constraints.matches(request).map(|form| form.is_some())) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(reason) => {
                fault(outcome, policy, Some(binding), &reason);
                continue;
            }
        }
        let params = match (&policy.spec.param_kind, &binding.reference) {
            (Some(kind), Some(reference)) => {
                let scope = request.params.scope(kind);
                scope.and_then(|scope| reference.collect(kind, scope, request.namespace, request.params)).map(|found| found.into_iter().map(Some).collect())
            }
            _ => Ok(vec![None]),
        };
        let params: Vec<_> = match params {
            Ok(params) => params,
            Err(reason) => {
                fault(outcome, policy, Some(binding), &reason);
                continue;
            }
        };
        let Some(objects) = form.objects.or((params.is_empty()).then_some(NO_OBJECTS)) else {
            let reason =
                format!("failed to convert object version: the request is for {}, and its objects are not given as {}", request.own().resource, form.kind);
            fault(outcome, policy, Some(binding), &reason);
            continue;
        };
        match namespace_fault(request, policy) {
            None => {}
            Some(Ok(_)) if params.is_empty() => continue,
            Some(Ok(reason)) => {
                fault(outcome, policy, Some(binding), &reason);
                continue;
            }
            Some(Err(reason)) => {
                deny(outcome, policy, Some(binding), Evaluation::Configuration, &reason);
                continue;
            }
        }
        for param in &params {
            if (request.deadline)() {
                fault(outcome, policy, Some(binding), TOO_LATE);
                break;
            }
            let variable = |resource| shared.variables.iter().find(|(key, _)| *key == (resource, form.kind)).map_or(&Value::Null, |(_, value)| value);
            let judged = judge(
                policy,
                &Case {
                    request,
                    objects,
                    request_as_asked: variable(request.own().resource),
                    request_as_matched: variable(form.resource),
                    namespace: shared.namespace,
                    checked: shared.checked,
                    param: param.as_deref(),
                    explanations: MAX_EXPLANATIONS.saturating_sub(outcome.decisions.len()),
                },
            );
            *spent.get_or_insert(0_u64) += judged.spent;
            if !judged.skipped {
                outcome.ask(|| Asked { policy: policy.name.clone(), binding: binding.name.clone(), param: param.as_deref().map(name_of) });
            }
            follow(outcome, collector, policy, binding, param.as_deref(), judged);
        }
    }
    outcome.costs.extend(spent.map(|spent| (policy.name.clone(), spent)));
}

/// What follows from one judgement.
fn follow(outcome: &mut Outcome, collector: &mut Collector, policy: &Policy, binding: &Binding, param: Option<&Value>, judged: Judged) {
    for (position, failure) in judged.failures.into_iter().enumerate() {
        let Failure { index, evaluation, message, reason, explanation } = failure;
        for action in &binding.actions {
            match action {
                ValidationAction::Deny => {}
                ValidationAction::Warn => {
                    outcome.warn(format!("Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}", policy.name, binding.name))
                }
                ValidationAction::Audit => collector.fail(&policy.name, &binding.name, index.unwrap_or(position), &message, &binding.actions),
            }
        }
        outcome.push(Decision {
            policy: policy.name.clone(),
            binding: Some(binding.name.clone()),
            param: param.map(name_of),
            actions: binding.actions.clone(),
            evaluation,
            index,
            reason: if reason.is_empty() { "Invalid".to_owned() } else { reason },
            message,
            explanation,
        });
    }
    for (annotation, declared) in judged.annotations.into_iter().zip(&policy.spec.audit_annotations) {
        match annotation {
            Annotation::Publish(value) => collector.publish(&policy.name, &declared.key, &value),
            Annotation::Exclude => {}
            // As upstream, this refuses whatever the binding's actions say.
            Annotation::Error(reason) => deny(outcome, policy, Some(binding), Evaluation::Error, &reason),
        }
    }
}

/// What the Namespace keeps from being judged: `Ok` follows failurePolicy, `Err` refuses whatever it says, as upstream.
fn namespace_fault(request: &Request<'_>, policy: &Policy) -> Option<Result<String, String>> {
    if !in_namespace(request) {
        return None;
    }
    match request.namespace_object {
        Namespace::Known(_) => None,
        Namespace::Missing => Some(Err(format!("namespaces \"{:.253}\" not found", request.namespace))),
        Namespace::Unreadable(reason) => Some(Err(format!("namespace \"{:.253}\" cannot be read: {reason:.500}", request.namespace))),
        Namespace::NotGiven => policy.looks_at_namespace().then(|| Ok(format!("namespace \"{:.253}\" is not known here", request.namespace))),
    }
}

/// Something that cannot be judged: failurePolicy decides, and a binding's actions do not.
fn fault(outcome: &mut Outcome, policy: &Policy, binding: Option<&Binding>, reason: &str) {
    if policy.spec.on_error() == FailurePolicy::Ignore {
        return;
    }
    let part = if binding.is_some() { "binding" } else { "policy" };
    deny(outcome, policy, binding, Evaluation::Configuration, &format!("failed to configure {part}: {reason}"));
}

fn deny(outcome: &mut Outcome, policy: &Policy, binding: Option<&Binding>, evaluation: Evaluation, message: &str) {
    outcome.push(Decision {
        policy: policy.name.clone(),
        binding: binding.map(|binding| binding.name.clone()),
        param: None,
        actions: vec![ValidationAction::Deny],
        evaluation,
        index: None,
        reason: "Invalid".to_owned(),
        message: message.to_owned(),
        explanation: None,
    });
}

fn name_of(param: &Value) -> String {
    let part = |name: &str| param.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default();
    match part("namespace") {
        "" => format!("{:.253}", part("name")),
        namespace => format!("{namespace:.253}/{:.253}", part("name")),
    }
}
