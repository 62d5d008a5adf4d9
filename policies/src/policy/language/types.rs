//! What is declared to an expression: objects without a schema, the request and its Namespace with one, and variables with
//! the types that their expressions have.

use super::Declared;
use crate::cel::library::authorizer::{AUTHORIZER, RESOURCE_CHECK};
use crate::cel::{Environment, Type};

/// The type of a composited variable, as the API server keeps it: what has no such form is left to the evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VariableType(Type);

/// The type of `variables`.
pub(crate) const VARIABLES: &str = "kubernetes.variables";

// === impl VariableType ===

impl VariableType {
    pub(super) fn of(known: &Type) -> Self {
        Self(kept(known))
    }
}

/// What the API server keeps of the type of a variable.
pub(crate) fn kept(known: &Type) -> Type {
    match known {
        Type::List(element) => Type::list(kept(element)),
        Type::Map(entry) => Type::map(kept(&entry.0), kept(&entry.1)),
        Type::Bool | Type::Bytes | Type::Double | Type::Duration | Type::Int | Type::Null | Type::String | Type::Timestamp | Type::Uint => known.clone(),
        _ => Type::Dyn,
    }
}

/// Declares the variables of admission policies.
pub(super) fn declare(environment: Environment, declared: &Declared) -> Environment {
    let mut variables = vec![
        ("object", Type::Dyn),
        ("oldObject", Type::Dyn),
        ("request", Type::object("kubernetes.AdmissionRequest")),
        ("namespaceObject", Type::object("kubernetes.Namespace")),
        ("variables", Type::object(VARIABLES)),
    ];
    if declared.params {
        variables.push(("params", Type::Dyn));
    }
    if declared.authorizer {
        variables.push(("authorizer", Type::opaque(AUTHORIZER)));
        variables.push(("authorizer.requestResource", Type::opaque(RESOURCE_CHECK)));
    }
    let environment = namespace(request(environment)).with_variables(variables);
    environment.with_object(VARIABLES, declared.variables.iter().map(|(name, VariableType(known))| (name.as_str(), known.clone())))
}

fn request(environment: Environment) -> Environment {
    let strings = || Type::list(Type::String);
    environment
        .with_object("kubernetes.GroupVersionKind", [("group", Type::String), ("version", Type::String), ("kind", Type::String)])
        .with_object("kubernetes.GroupVersionResource", [("group", Type::String), ("version", Type::String), ("resource", Type::String)])
        .with_object(
            "kubernetes.UserInfo",
            [("username", Type::String), ("uid", Type::String), ("groups", strings()), ("extra", Type::map(Type::String, strings()))],
        )
        .with_object(
            "kubernetes.AdmissionRequest",
            [
                ("kind", Type::object("kubernetes.GroupVersionKind")),
                ("resource", Type::object("kubernetes.GroupVersionResource")),
                ("subResource", Type::String),
                ("requestKind", Type::object("kubernetes.GroupVersionKind")),
                ("requestResource", Type::object("kubernetes.GroupVersionResource")),
                ("requestSubResource", Type::String),
                ("name", Type::String),
                ("namespace", Type::String),
                ("operation", Type::String),
                ("userInfo", Type::object("kubernetes.UserInfo")),
                ("dryRun", Type::Bool),
                ("options", Type::Dyn),
            ],
        )
}

fn namespace(environment: Environment) -> Environment {
    let strings = || Type::map(Type::String, Type::String);
    environment
        .with_object("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::String))])
        .with_object(
            "kubernetes.NamespaceCondition",
            [("status", Type::String), ("type", Type::String), ("lastTransitionTime", Type::Timestamp), ("message", Type::String), ("reason", Type::String)],
        )
        .with_object("kubernetes.NamespaceStatus", [("conditions", Type::list(Type::object("kubernetes.NamespaceCondition"))), ("phase", Type::String)])
        .with_object(
            "kubernetes.NamespaceMetadata",
            [
                ("name", Type::String),
                ("generateName", Type::String),
                ("namespace", Type::String),
                ("labels", strings()),
                ("annotations", strings()),
                ("UID", Type::String),
                ("creationTimestamp", Type::Timestamp),
                ("deletionGracePeriodSeconds", Type::Int),
                ("deletionTimestamp", Type::Timestamp),
                ("generation", Type::Int),
                ("resourceVersion", Type::String),
                ("finalizers", Type::list(Type::String)),
            ],
        )
        .with_object(
            "kubernetes.Namespace",
            [
                ("metadata", Type::object("kubernetes.NamespaceMetadata")),
                ("spec", Type::object("kubernetes.NamespaceSpec")),
                ("status", Type::object("kubernetes.NamespaceStatus")),
            ],
        )
}
