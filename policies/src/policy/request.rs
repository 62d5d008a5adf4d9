//! What a policy may look at: a request with everything the API server knows of it, borrowed.
//!
//! Nothing here is fetched. What a caller does not give is "not given", which is another thing than absent: a policy that
//! asks for it cannot be judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::params::{NoParams, Params};
use super::spec::Operation;
use crate::cel::library::authorizer::{self, Authorizer};

static NULL: Value = Value::Null;
static NO_EXTRA: BTreeMap<String, Vec<String>> = BTreeMap::new();

/// Group, version and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
}

/// Group, version and plural.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural resource.
    pub resource: &'a str,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// Name.
    pub username: &'a str,
    /// UID.
    pub uid: &'a str,
    /// Groups.
    pub groups: &'a [String],
    /// Extra values by key.
    pub extra: &'a BTreeMap<String, Vec<String>>,
}

/// The object after and before; null where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// After; null for a deletion.
    pub object: &'a Value,
    /// Before; null for a creation.
    pub old_object: &'a Value,
}

/// The same objects in another group or version. Conversion is the caller's: without `objects` a policy that speaks of this
/// form only cannot be judged.
#[derive(Clone, Copy, Debug)]
pub struct Equivalent<'a> {
    /// The other resource.
    pub resource: Resource<'a>,
    /// Its kind (of the sub-resource, if the request is for one).
    pub kind: Kind<'a>,
    /// Converted objects, if the caller has them.
    pub objects: Option<Objects<'a>>,
}

/// The Namespace that the request is in.
#[derive(Clone, Copy, Debug, Default)]
pub enum Namespace<'a> {
    /// The caller did not look.
    #[default]
    NotGiven,
    /// It is this one.
    Known(&'a Value),
    /// There is none of that name.
    Missing,
    /// It could not be read.
    Unreadable(&'a str),
}

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Kind of the objects given.
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
    /// Namespace or empty; a Namespace's own name for Namespaces.
    pub namespace: &'a str,
    /// Who asks.
    pub user: User<'a>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The operation's options.
    pub options: &'a Value,
    /// The object after; null for a deletion; the options for a connection.
    pub object: &'a Value,
    /// The object before; null for a creation.
    pub old_object: &'a Value,
    /// The Namespace it is in.
    pub namespace_object: Namespace<'a>,
    /// Every other group and version that the resource is served in; `None` when the caller does not know.
    pub equivalents: Option<&'a [Equivalent<'a>]>,
    /// Params by kind.
    pub params: &'a dyn Params,
    /// Answers `authorizer`; without one, expressions that ask it are errors.
    pub authorizer: Option<&'a Arc<dyn Authorizer>>,
    /// Whether time is up.
    pub deadline: &'a (dyn Fn() -> bool + Sync),
}

/// One of the forms that a request has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    pub(crate) resource: Resource<'a>,
    pub(crate) kind: Kind<'a>,
    pub(crate) objects: Option<Objects<'a>>,
}

impl Default for User<'_> {
    fn default() -> Self {
        Self { username: "", uid: "", groups: &[], extra: &NO_EXTRA }
    }
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            resource: Resource::default(),
            subresource: "",
            requested: None,
            operation: Operation::Create,
            name: "",
            namespace: "",
            user: User::default(),
            dry_run: false,
            options: &NULL,
            object: &NULL,
            old_object: &NULL,
            namespace_object: Namespace::NotGiven,
            equivalents: None,
            params: &NoParams,
            authorizer: None,
            deadline: &|| false,
        }
    }
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, resource, subresource, requested, operation, name, namespace, user, dry_run, .. } = self;
        let mut text = f.debug_struct("Request");
        text.field("kind", kind).field("resource", resource).field("subresource", subresource).field("requested", requested);
        text.field("operation", operation).field("name", name).field("namespace", namespace).field("user", user).field("dry_run", dry_run);
        text.finish_non_exhaustive()
    }
}

impl std::fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            write!(f, "{}, Resource={}", self.version, self.resource)
        } else {
            write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
        }
    }
}

impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() { write!(f, "{}, Kind={}", self.version, self.kind) } else { write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind) }
    }
}

// === impl Request ===

impl<'a> Request<'a> {
    /// As the client asked.
    pub(crate) fn own(&self) -> Form<'a> {
        let given = Objects { object: self.object, old_object: self.old_object };
        let (kind, resource) = self.requested.unwrap_or((self.kind, self.resource));
        Form { resource, kind, objects: (kind == self.kind).then_some(given) }
    }

    /// In other groups and versions, the form of the objects given among them.
    pub(crate) fn others(&self) -> impl Iterator<Item = Form<'a>> + use<'a> {
        let own = self.own().resource;
        let given = (self.resource != own).then_some(Form {
            resource: self.resource,
            kind: self.kind,
            objects: Some(Objects { object: self.object, old_object: self.old_object }),
        });
        let listed = self.equivalents.unwrap_or_default().iter().map(|e| Form { resource: e.resource, kind: e.kind, objects: e.objects });
        let first = self.resource;
        given.into_iter().chain(listed.filter(move |form| form.resource != own && form.resource != first))
    }

    /// What `authorizer.requestResource` asks about.
    pub(crate) fn checked(&self) -> authorizer::Resource {
        let resource = self.own().resource;
        authorizer::Resource {
            group: resource.group.into(),
            resource: resource.resource.into(),
            subresource: self.subresource.into(),
            namespace: self.namespace.into(),
            name: self.name.into(),
            ..authorizer::Resource::default()
        }
    }

    /// Whether it is about a Namespace itself, whose namespace is itself.
    pub(crate) fn is_of_namespace(&self) -> bool {
        self.own().kind == Kind { group: "", version: "v1", kind: "Namespace" }
    }

    /// The variable `request`, with the resource and kind that a policy matched it as.
    pub(crate) fn variable(&self, resource: Resource<'_>, kind: Kind<'_>) -> Value {
        let own = self.own();
        let mut user = Map::new();
        let text = |text: &str| Value::String(text.to_owned());
        put(&mut user, "username", self.user.username);
        put(&mut user, "uid", self.user.uid);
        if !self.user.groups.is_empty() {
            user.insert("groups".into(), self.user.groups.iter().map(|group| text(group)).collect());
        }
        if !self.user.extra.is_empty() {
            let extra = self.user.extra.iter().map(|(key, values)| (key.clone(), values.iter().map(|value| text(value)).collect()));
            user.insert("extra".into(), Value::Object(extra.collect()));
        }
        let mut request = Map::new();
        request.insert("uid".into(), text(""));
        request.insert("kind".into(), kind_value(kind));
        request.insert("resource".into(), resource_value(resource));
        put(&mut request, "subResource", self.subresource);
        request.insert("requestKind".into(), kind_value(own.kind));
        request.insert("requestResource".into(), resource_value(own.resource));
        put(&mut request, "requestSubResource", self.subresource);
        put(&mut request, "name", self.name);
        put(&mut request, "namespace", self.namespace);
        request.insert("operation".into(), text(self.operation.name()));
        request.insert("userInfo".into(), Value::Object(user));
        request.insert("object".into(), Value::Null);
        request.insert("oldObject".into(), Value::Null);
        request.insert("dryRun".into(), Value::Bool(self.dry_run));
        request.insert("options".into(), self.options.clone());
        Value::Object(request)
    }
}

/// The variable `namespaceObject`: the fields of a Namespace that policies may see.
pub(crate) fn namespace_variable(namespace: &Value) -> Value {
    const METADATA: [&str; 12] = [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "finalizers",
    ];
    let empty = || Value::Object(Map::new());
    let metadata = namespace.get("metadata").and_then(Value::as_object);
    let kept: Map<String, Value> =
        METADATA.iter().filter_map(|field| metadata.and_then(|all| all.get(*field)).map(|value| ((*field).to_owned(), value.clone()))).collect();
    let part = |name: &str| namespace.get(name).cloned().unwrap_or_else(empty);
    json!({"metadata": kept, "spec": part("spec"), "status": part("status")})
}

fn put(into: &mut Map<String, Value>, key: &str, value: &str) {
    if !value.is_empty() {
        into.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}

fn kind_value(kind: Kind<'_>) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn resource_value(resource: Resource<'_>) -> Value {
    json!({"group": resource.group, "version": resource.version, "resource": resource.resource})
}
