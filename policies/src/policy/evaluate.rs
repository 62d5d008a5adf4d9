//! One policy with one param on one request, in the API server's order: match conditions, validations, messages, audit
//! annotations. Each of the four is a run of its own with its own budget and its own lazily evaluated variables.

use std::collections::BTreeSet;

use serde_json::Value;

use super::audit::{self, Annotation};
use super::compile::Policy;
use super::explain::{Explanation, explain};
use super::language::{Activation, Answer, Expression, Inputs, PER_CALL};
use super::message;
use super::outcome::Evaluation;
use super::request::{Objects, Request};
use super::spec::FailurePolicy;
use crate::cel::library::authorizer;

/// Budget of a binding with one param.
const BUDGET: u64 = 10_000_000;
/// Budget of its match conditions.
const BUDGET_CONDITIONS: u64 = 2_500_000;
const OUT_OF_BUDGET: &str = "validation failed due to running out of cost budget, no further validation rules will be run";

/// What a policy is judged with.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a, 'r> {
    pub(crate) request: &'r Request<'a>,
    pub(crate) objects: Objects<'a>,
    /// The variable `request` for match conditions, which name the resource that was asked for.
    pub(crate) request_as_asked: &'r Value,
    /// The variable `request` for everything else, which names the resource that was matched.
    pub(crate) request_as_matched: &'r Value,
    pub(crate) namespace: &'r Value,
    /// What `authorizer.requestResource` asks about.
    pub(crate) checked: &'r authorizer::Resource,
    pub(crate) param: Option<&'r Value>,
    /// How many failed validations are still to be explained.
    pub(crate) explanations: usize,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) failures: Vec<Failure>,
    /// By audit annotation.
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) spent: u64,
    /// Whether a match condition left the request out.
    pub(crate) skipped: bool,
}

/// A validation that is not true, or could not be judged.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Which validation; `None` for the policy as a whole.
    pub(crate) index: Option<usize>,
    pub(crate) evaluation: Evaluation,
    pub(crate) message: String,
    pub(crate) reason: String,
    pub(crate) explanation: Option<Explanation>,
}

/// Results by expression; `None` where there is none.
type Results = Vec<Option<Result<Answer, String>>>;

pub(crate) fn judge(policy: &Policy, case: &Case<'_, '_>) -> Judged {
    let mut judged = Judged::default();
    let on_error = policy.spec.on_error();
    let matched = conditions(policy, case, &mut judged.spent);
    match matched {
        Ok(true) => {}
        Ok(false) => return Judged { skipped: true, ..judged },
        Err(reason) => return whole(judged, on_error, reason),
    }
    let inputs = inputs(policy, case, true);
    let mut left = BUDGET;
    let validations = run(&mut policy.validations.iter().map(Some), &Activation::new(&policy.variables, inputs), &mut left, &mut judged.spent);
    let results = match validations {
        Ok(results) => results,
        Err(reason) => return whole(judged, on_error, reason),
    };
    // Messages are not declared the authorizer; audit annotations are, and are given none: asking it is an error.
    let unauthorized = self::inputs(policy, case, false);
    let messages = run(&mut policy.messages.iter().map(Option::as_ref), &Activation::new(&policy.variables, unauthorized), &mut left, &mut judged.spent);
    let mut explanations = case.explanations;
    for (index, result) in results.into_iter().enumerate() {
        let Some(failure) = failure(policy, index, result, &messages) else { continue };
        if failure.evaluation != Evaluation::Deny && on_error == FailurePolicy::Ignore {
            continue;
        }
        let explained = policy.validations.get(index).filter(|_| explanations > 0);
        explanations = explanations.saturating_sub(1);
        let explanation = explained.and_then(|expression| explain(expression, policy, inputs));
        judged.failures.push(Failure { explanation, ..failure });
    }
    let mut left = BUDGET;
    let annotations = run(&mut policy.annotations.iter().map(Some), &Activation::new(&policy.variables, unauthorized), &mut left, &mut judged.spent);
    match annotations {
        // As upstream: what the validations said is then replaced.
        Err(reason) => {
            judged.failures.clear();
            whole(judged, on_error, reason)
        }
        Ok(results) => {
            judged.annotations = results.iter().zip(&policy.spec.audit_annotations).map(|(result, one)| annotation(result.as_ref(), one, on_error)).collect();
            judged
        }
    }
}

/// A failure that stands for the whole policy.
fn whole(mut judged: Judged, on_error: FailurePolicy, message: String) -> Judged {
    if on_error == FailurePolicy::Fail {
        judged.failures.push(Failure { index: None, evaluation: Evaluation::Error, message, reason: String::new(), explanation: None });
    }
    judged
}

/// Any false condition skips, even when another could not be evaluated; otherwise an error skips under Ignore and is one
/// under Fail. They see no Namespace.
fn conditions(policy: &Policy, case: &Case<'_, '_>, spent: &mut u64) -> Result<bool, String> {
    if policy.conditions.is_empty() {
        return Ok(true);
    }
    let inputs = Inputs { request: case.request_as_asked, namespace: &Value::Null, ..inputs(policy, case, true) };
    let mut left = BUDGET_CONDITIONS;
    let ignore = policy.spec.on_error() == FailurePolicy::Ignore;
    let results = match run(&mut policy.conditions.iter().map(Some), &Activation::new(&policy.variables, inputs), &mut left, spent) {
        Ok(results) => results,
        Err(_) if ignore => return Ok(false),
        Err(reason) => return Err(reason),
    };
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for result in results.into_iter().flatten() {
        match result {
            Ok(Answer::Bool(false)) => return Ok(false),
            Ok(_) => {}
            Err(error) => {
                if seen.insert(error.clone()) {
                    errors.push(error);
                }
            }
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        _ if ignore => Ok(false),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

fn failure(policy: &Policy, index: usize, result: Option<Result<Answer, String>>, messages: &Result<Results, String>) -> Option<Failure> {
    let error = |message: String| Some(Failure { index: Some(index), evaluation: Evaluation::Error, message, reason: String::new(), explanation: None });
    match (result?, messages) {
        (Err(reason), _) => error(reason),
        // As upstream, this befalls validations that hold as well.
        (Ok(_), Err(reason)) => error(format!("failed messageExpression: {reason}")),
        (Ok(Answer::Bool(true)), Ok(_)) => None,
        (Ok(_), Ok(messages)) => {
            let validation = policy.spec.validations.get(index)?;
            let evaluated = match messages.get(index) {
                Some(Some(Ok(Answer::String(text)))) => Some(text.as_str()),
                _ => None,
            };
            let reason = validation.reason.clone().unwrap_or_else(|| "Invalid".to_owned());
            Some(Failure { index: Some(index), evaluation: Evaluation::Deny, message: message::of(validation, evaluated), reason, explanation: None })
        }
    }
}

fn annotation(result: Option<&Result<Answer, String>>, one: &super::spec::AuditAnnotation, on_error: FailurePolicy) -> Annotation {
    let evaluated = match result {
        None | Some(Ok(Answer::Null)) => audit::Evaluated::Null,
        Some(Ok(Answer::String(text))) => audit::Evaluated::String(text),
        Some(Ok(Answer::Bool(_))) => audit::Evaluated::Other("bool"),
        Some(Ok(Answer::Other(kind))) => audit::Evaluated::Other(kind),
        Some(Err(reason)) => audit::Evaluated::Error(reason),
    };
    audit::annotation(one, &evaluated, on_error)
}

fn inputs<'r>(policy: &Policy, case: &Case<'r, 'r>, authorized: bool) -> Inputs<'r> {
    Inputs {
        object: case.objects.object,
        old_object: case.objects.old_object,
        params: policy.spec.param_kind.is_some().then(|| case.param.unwrap_or(&Value::Null)),
        request: case.request_as_matched,
        namespace: case.namespace,
        authorizer: case.request.authorizer.filter(|_| authorized).map(|authorizer| (authorizer, case.checked)),
        deadline: case.request.deadline,
    }
}

/// Evaluates expressions in order against one budget. Variables that an expression was the first to ask for are paid for
/// before it is.
fn run(expressions: &mut dyn Iterator<Item = Option<&Expression>>, activation: &Activation<'_>, left: &mut u64, spent: &mut u64) -> Result<Results, String> {
    let mut results = Results::new();
    for expression in expressions {
        let Some(expression) = expression else {
            results.push(None);
            continue;
        };
        if let Err(reason) = expression.compiled() {
            results.push(Some(Err(format!("compilation error: {reason}"))));
            continue;
        }
        let done = activation.evaluate(expression, PER_CALL);
        *spent = spent.saturating_add(done.of_variables).saturating_add(done.cost);
        for cost in [done.of_variables, done.cost] {
            *left = left.checked_sub(cost).ok_or_else(|| OUT_OF_BUDGET.to_owned())?;
        }
        results.push(Some(done.value.as_ref().map(Answer::of).map_err(|cause| format!("expression '{}' resulted in error: {cause}", expression.source()))));
    }
    Ok(results)
}
