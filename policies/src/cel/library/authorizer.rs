//! `authorizer`: whether somebody may do something, asked of the caller. Since Kubernetes 1.27, selectors since 1.31.
//!
//! Nothing is looked up here. Who implements [`Authorizer`] answers, remembers answers for the request, and keeps deadlines.

use std::sync::Arc;

use super::args::{inner, text};
use super::estimates::UNIT_ESTIMATE;
use super::format::{dns1123_label, dns1123_subdomain};
use super::{Call, Function, Overload};
use crate::cel::cost::{CostRule, TRAVERSAL, UNIT, scaled};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::{Opaque, Value};

/// The type of the variable `authorizer`.
pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
/// The type of the variable `authorizer.requestResource`.
pub const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
const DECISION: &str = "kubernetes.authorization.Decision";

/// Answers the checks of a request.
pub trait Authorizer: std::fmt::Debug + Send + Sync {
    /// Whether the subject may do it.
    fn authorize(&self, check: &Check) -> Decision;
}

/// Who is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Who made the request.
    Requester,
    /// A service account: user `system:serviceaccount:NAMESPACE:NAME`, groups `system:serviceaccounts` and
    /// `system:serviceaccounts:NAMESPACE`.
    ServiceAccount {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

/// One question to the authorizer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// Who would do it.
    pub subject: Subject,
    /// The verb: of HTTP for a path, of the API for a resource.
    pub verb: Arc<str>,
    /// To what.
    pub target: Target,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A path of the API server.
    Path(Arc<str>),
    /// A resource, in any version.
    Resource(Resource),
}

/// A resource; what is not said is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Its API group.
    pub group: Arc<str>,
    /// Its plural name.
    pub resource: Arc<str>,
    /// Of it, this part.
    pub subresource: Arc<str>,
    /// Only in this namespace.
    pub namespace: Arc<str>,
    /// Only this object.
    pub name: Arc<str>,
    /// Only objects with such fields, as written: the text may be no selector.
    pub field_selector: Arc<str>,
    /// Only objects with such labels, likewise.
    pub label_selector: Arc<str>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Allowed; neither a denial nor having no opinion is.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong while asking.
    pub error: Option<String>,
}

/// The value of the variable `authorizer`.
pub fn authorizer_value(authorizer: Arc<dyn Authorizer>) -> Value<'static> {
    Value::opaque(Asking { authorizer, subject: Subject::Requester })
}

/// The value of the variable `authorizer.requestResource`.
pub fn request_resource_value(authorizer: Arc<dyn Authorizer>, resource: Resource) -> Value<'static> {
    Value::opaque(ResourceCheck { asking: Asking { authorizer, subject: Subject::Requester }, resource })
}

#[derive(Clone, Debug)]
struct Asking {
    authorizer: Arc<dyn Authorizer>,
    subject: Subject,
}

#[derive(Clone, Debug)]
struct PathCheck {
    asking: Asking,
    path: Arc<str>,
}

#[derive(Clone, Debug)]
struct GroupCheck {
    asking: Asking,
    group: Arc<str>,
}

#[derive(Clone, Debug)]
struct ResourceCheck {
    asking: Asking,
    resource: Resource,
}

/// Upstream finds no overload to compare any of these, not even to itself.
macro_rules! opaque {
    ($($kind:ty => $name:expr),* $(,)?) => {$(
        impl Opaque for $kind {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn equals(&self, _: &dyn Opaque) -> Option<bool> {
                None
            }

            fn as_any(&self) -> &dyn std::any::Any {
                self
            }
        }
    )*};
}

opaque!(Asking => AUTHORIZER, PathCheck => PATH_CHECK, GroupCheck => GROUP_CHECK, ResourceCheck => RESOURCE_CHECK, Decision => DECISION);

/// Allows two checks an expression.
const CHECK_COST: u64 = 350_000;
/// A list of requirements, and for each of them (two characters at least) a structure and a list.
const SELECTOR: CostRule = CostRule::Before(|call| {
    let length = call.size(1);
    10 + scaled(length, TRAVERSAL) + scaled(length, 0.5) * 50
});

fn estimate_selector(call: &Estimation) -> Option<Estimate> {
    let length = call.size(0);
    Some(Estimate::cost(Range::exactly(10).plus(length.scaled(TRAVERSAL)).plus(length.scaled(0.5).scaled(50.0))))
}

pub(crate) fn functions() -> Vec<Function> {
    let builder = |name, id, from, to, call| member(name, id, [Type::opaque(from), Type::String], Type::opaque(to), call);
    let reader = |name, id, result, call| member(name, id, [Type::opaque(DECISION)], result, call);
    let account = [Type::opaque(AUTHORIZER), Type::String, Type::String];
    let check = |id, from, call| Overload::member(id, [Type::opaque(from), Type::String], Type::opaque(DECISION), Call::Values(call));
    vec![
        builder("path", "authorizer_path", AUTHORIZER, PATH_CHECK, path),
        builder("group", "authorizer_group", AUTHORIZER, GROUP_CHECK, group),
        member("serviceAccount", "authorizer_serviceaccount", account, Type::opaque(AUTHORIZER), service_account),
        builder("resource", "groupcheck_resource", GROUP_CHECK, RESOURCE_CHECK, resource),
        builder("subresource", "resourcecheck_subresource", RESOURCE_CHECK, RESOURCE_CHECK, subresource),
        builder("namespace", "resourcecheck_namespace", RESOURCE_CHECK, RESOURCE_CHECK, namespace),
        builder("name", "resourcecheck_name", RESOURCE_CHECK, RESOURCE_CHECK, name),
        Function::new("check", [check("pathcheck_check", PATH_CHECK, check_path), check("resourcecheck_check", RESOURCE_CHECK, check_resource)])
            .costs(CostRule::Before(|_| CHECK_COST))
            .estimates(|_| Some(Estimate::cost(Range::exactly(CHECK_COST)))),
        reader("errored", "decision_errored", Type::Bool, errored),
        reader("error", "decision_error", Type::String, error),
        reader("allowed", "decision_allowed", Type::Bool, allowed),
        reader("reason", "decision_reason", Type::String, reason),
    ]
}

/// Selectors: since Kubernetes 1.31.
pub(crate) fn selectors() -> Vec<Function> {
    let selector = |name, id, call| {
        let overload = Overload::member(id, [Type::opaque(RESOURCE_CHECK), Type::String], Type::opaque(RESOURCE_CHECK), Call::Values(call));
        Function::new(name, [overload]).costs(SELECTOR).estimates(estimate_selector)
    };
    vec![selector("fieldSelector", "authorizer_fieldselector", field_selector), selector("labelSelector", "authorizer_labelselector", label_selector)]
}

type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

fn member<const N: usize>(name: &'static str, id: &'static str, args: [Type; N], result: Type, call: Implementation) -> Function {
    Function::new(name, [Overload::member(id, args, result, Call::Values(call))]).costs(UNIT).estimates(UNIT_ESTIMATE)
}

fn path<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (asking, path): (&Asking, _) = (inner(args, 0, "path")?, text(args, 1, "path")?);
    if path.trim().is_empty() {
        return Err(EvalError::invalid("path must not be empty"));
    }
    Ok(Value::opaque(PathCheck { asking: asking.clone(), path: path.into() }))
}

fn group<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (asking, group): (&Asking, _) = (inner(args, 0, "group")?, text(args, 1, "group")?);
    Ok(Value::opaque(GroupCheck { asking: asking.clone(), group: group.into() }))
}

fn service_account<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let asking: &Asking = inner(args, 0, "serviceAccount")?;
    let (namespace, name) = (text(args, 1, "serviceAccount")?, text(args, 2, "serviceAccount")?);
    if !dns1123_subdomain(name).is_empty() {
        return Err(EvalError::invalid("Invalid service account name"));
    }
    if !dns1123_label(namespace).is_empty() {
        return Err(EvalError::invalid("Invalid service account namespace"));
    }
    let subject = Subject::ServiceAccount { namespace: namespace.into(), name: name.into() };
    Ok(Value::opaque(Asking { authorizer: Arc::clone(&asking.authorizer), subject }))
}

fn resource<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (check, resource): (&GroupCheck, _) = (inner(args, 0, "resource")?, text(args, 1, "resource")?);
    if resource.trim().is_empty() {
        return Err(EvalError::invalid("resource must not be empty"));
    }
    let resource = Resource { group: Arc::clone(&check.group), resource: resource.into(), ..Resource::default() };
    Ok(Value::opaque(ResourceCheck { asking: check.asking.clone(), resource }))
}

/// A resource check that says one thing more.
fn refine<'a>(args: &[Value<'a>], function: &str, set: fn(&mut Resource, Arc<str>)) -> Result<Value<'a>, EvalError> {
    let mut check = inner::<ResourceCheck>(args, 0, function)?.clone();
    set(&mut check.resource, text(args, 1, function)?.into());
    Ok(Value::opaque(check))
}

fn subresource<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    refine(args, "subresource", |resource, text| resource.subresource = text)
}

fn namespace<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    refine(args, "namespace", |resource, text| resource.namespace = text)
}

fn name<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    refine(args, "name", |resource, text| resource.name = text)
}

fn field_selector<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    refine(args, "fieldSelector", |resource, text| resource.field_selector = text)
}

fn label_selector<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    refine(args, "labelSelector", |resource, text| resource.label_selector = text)
}

fn ask<'a>(asking: &Asking, verb: &str, target: Target) -> Value<'a> {
    Value::opaque(asking.authorizer.authorize(&Check { subject: asking.subject.clone(), verb: verb.into(), target }))
}

fn check_path<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let check: &PathCheck = inner(args, 0, "check")?;
    Ok(ask(&check.asking, text(args, 1, "check")?, Target::Path(Arc::clone(&check.path))))
}

fn check_resource<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let check: &ResourceCheck = inner(args, 0, "check")?;
    Ok(ask(&check.asking, text(args, 1, "check")?, Target::Resource(check.resource.clone())))
}

fn errored<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Decision>(args, 0, "errored").map(|decision| Value::Bool(decision.error.is_some()))
}

fn error<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Decision>(args, 0, "error").map(|decision| Value::string(decision.error.as_deref().unwrap_or_default()))
}

fn allowed<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Decision>(args, 0, "allowed").map(|decision| Value::Bool(decision.allowed))
}

fn reason<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    inner::<Decision>(args, 0, "reason").map(|decision| Value::string(&decision.reason))
}

#[cfg(test)]
mod tests;
