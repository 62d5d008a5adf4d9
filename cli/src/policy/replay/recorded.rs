//! One recorded request as admission saw it, as far as the log can say: the object after, the object before, and how sure either
//! is. An audit event holds what was sent and what came of it, never what was there before; that is recovered from earlier
//! events of the same object, by UID and resourceVersion.

use std::collections::BTreeMap;

use assent_policies::spec::{Operation, ParamKind};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::log::Told;
use super::memory::{Key, Memory};
use super::objects::{patched, remove, scale_of, scaled, undeleted};
use super::surroundings::kind_of as param_kind;
use crate::audit::Event;

/// Sub-resources that are connections, whatever verb opens them.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];
/// Sub-resources that leave their object as it is.
const HARMLESS: [&str; 6] = ["token", "exec", "attach", "portforward", "proxy", "log"];

/// Why an event is no request that could be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unjudged {
    /// It reads.
    Read,
    /// It was refused or failed before a policy was asked.
    Failed,
    /// The log has its head only.
    HeadOnly,
}

/// What the server did with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Real {
    /// It was carried out.
    Done,
    /// A policy refused it, in these words.
    DeniedByPolicy(String),
    /// Something else in admission refused it.
    Refused(String),
}

/// A request.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) event: Event,
    pub(super) id: String,
    /// Group, version and kind; the kind is empty where nothing in the log says it.
    pub(super) kind: (String, String, String),
    /// Group, version and plural.
    pub(super) resource: (String, String, String),
    pub(super) subresource: String,
    pub(super) operation: Operation,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) username: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
    pub(super) options: Value,
    /// After; nothing where it is not known, null where there is none.
    pub(super) object: Option<Value>,
    /// Before; likewise.
    pub(super) old_object: Option<Value>,
    /// What is taken to be so, in words.
    pub(super) presumed: Vec<&'static str>,
    pub(super) real: Real,
}

/// The objects of a request, as they were found out.
struct Found {
    object: Option<Value>,
    old_object: Option<Value>,
    presumed: Vec<&'static str>,
}

// === impl Recorded ===

impl Recorded {
    /// The requests of an event: one, or one for each object of a deleted collection.
    pub(super) fn of(told: &Told, memory: &Memory) -> Result<Vec<Self>, Unjudged> {
        let Told { id, event, whole } = told;
        let part = Parts(whole);
        let (group, version) = (event.group.clone(), part.text("/objectRef/apiVersion").to_owned());
        let (plural, subresource) = split(&event.resource);
        let connects = CONNECTIONS.contains(&subresource);
        let operation = match (event.verb.as_str(), event.code) {
            _ if connects && !plural.is_empty() => Operation::Connect,
            ("create", _) | ("update" | "patch", 201) => Operation::Create,
            ("update" | "patch", _) => Operation::Update,
            ("delete" | "deletecollection", _) => Operation::Delete,
            _ => return Err(Unjudged::Read),
        };
        if plural.is_empty() {
            return Err(Unjudged::Read);
        }
        let real = part.real(event).ok_or(Unjudged::Failed)?;
        let bodies = matches!(part.text("/level"), "Request" | "RequestResponse");
        if !bodies && operation != Operation::Connect {
            return Err(Unjudged::HeadOnly);
        }
        let key: Key = (group.clone(), plural.to_owned(), event.namespace.clone(), event.name.clone());
        let collection = event.verb == "deletecollection";
        let found = match operation {
            Operation::Create => vec![part.created(subresource)],
            Operation::Update => vec![part.updated(event, subresource, memory.get(&key), &real)],
            Operation::Delete if collection => part.collection(),
            Operation::Delete => vec![part.deleted(memory.get(&key))],
            _ => vec![Found { object: None, old_object: Some(Value::Null), presumed: vec![] }],
        };
        let user = if whole.get("impersonatedUser").is_some_and(Value::is_object) { "/impersonatedUser" } else { "/user" };
        let sent_name = part.text("/objectRef/name");
        let sent_name = if sent_name.is_empty() { part.text("/requestObject/metadata/name") } else { sent_name };
        let of_namespaces = group.is_empty() && plural == "namespaces";
        let request = |found: Found| {
            let shown = [&found.object, &found.old_object].into_iter().flatten().find(|object| object.is_object());
            let kind = shown.map(kind_of).filter(|kind| !kind.2.is_empty()).unwrap_or_default();
            Self {
                event: event.clone(),
                id: id.clone(),
                kind,
                resource: (group.clone(), version.clone(), plural.to_owned()),
                subresource: subresource.to_owned(),
                operation,
                namespace: if of_namespaces { sent_name.to_owned() } else { event.namespace.clone() },
                name: sent_name.to_owned(),
                username: part.text(&format!("{user}/username")).to_owned(),
                uid: part.text(&format!("{user}/uid")).to_owned(),
                groups: texts(whole.pointer(&format!("{user}/groups"))),
                extra: part.extra(user),
                options: part.options(operation, event),
                object: found.object,
                old_object: found.old_object,
                presumed: found.presumed,
                real: real.clone(),
            }
        };
        Ok(found.into_iter().map(request).collect())
    }
}

/// What an event shows of an object: how it is from here on, or nothing where that is not known or it is gone.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) kind: Option<ParamKind>,
    /// Namespace and name.
    pub(super) place: (String, String),
    pub(super) object: Option<Value>,
}

/// Changes what is remembered by what an event shows. Nothing that was refused or only tried changes anything.
pub(super) fn remember(told: &Told, memory: &mut Memory) -> Option<Change> {
    let event = &told.event;
    let (plural, subresource) = split(&event.resource);
    let writes = matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
    if !event.succeeded() || event.dry_run || plural.is_empty() || !(writes || event.verb == "get") || HARMLESS.contains(&subresource) {
        return None;
    }
    let part = Parts(&told.whole);
    let key: Key = (event.group.clone(), plural.to_owned(), event.namespace.clone(), event.name.clone());
    if event.verb == "deletecollection" {
        memory.forget_all(&event.group, plural, &event.namespace);
        return None;
    }
    let answer = part.object("/responseObject").filter(|answer| answer["kind"] != "Status" && named(answer, &event.name));
    let object = match (answer, subresource) {
        (Some(scale), "scale") => memory.get(&key).map(|known| scaled(known, scale)),
        (Some(answer), "" | "status" | "resize" | "ephemeralcontainers" | "approval" | "finalize") => Some(answer.clone()),
        // What was sent is nearly what is there.
        (None, "") if matches!(event.verb.as_str(), "create" | "update") => part.object("/requestObject").cloned(),
        _ => None,
    };
    if object.is_none() && !writes {
        return None;
    }
    let gone = event.verb == "delete" && object.as_ref().is_none_or(|object| object.pointer("/metadata/finalizers").is_none());
    let kind = object.as_ref().and_then(param_kind).or_else(|| memory.get(&key).as_ref().and_then(param_kind));
    let place = (key.2.clone(), key.3.clone());
    match &object {
        Some(object) => memory.learn(key, object),
        None => memory.forget(&key),
    }
    // A Namespace is cluster-wide, whatever the log's reference says of it.
    let place = if event.group.is_empty() && plural == "namespaces" { (String::new(), place.1) } else { place };
    Some(Change { kind, place, object: object.filter(|_| !gone) })
}

/// An audit event by its parts.
#[derive(Clone, Copy)]
struct Parts<'a>(&'a Value);

// === impl Parts ===

impl<'a> Parts<'a> {
    fn text(self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn object(self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer).filter(|object| object.is_object())
    }

    /// What came of it; nothing when no policy can have been asked.
    fn real(self, event: &Event) -> Option<Real> {
        let message = self.text("/responseStatus/message");
        let words = || message.chars().take(2000).collect::<String>();
        if self.text("/annotations/authorization.k8s.io~1decision") == "forbid" {
            return None;
        }
        if event.succeeded() || event.code == 101 {
            return Some(Real::Done);
        }
        let by_policy = message.contains("ValidatingAdmissionPolicy '") || message.contains("assent[guardrail]");
        match event.code {
            _ if by_policy => Some(Real::DeniedByPolicy(words())),
            403 => Some(Real::Refused(words())),
            _ if message.contains("admission webhook ") => Some(Real::Refused(words())),
            _ => None,
        }
    }

    fn created(self, subresource: &str) -> Found {
        let sent = self.object("/requestObject");
        let answer = self.object("/responseObject").filter(|answer| sent.is_none_or(|sent| kind_of(sent) == kind_of(answer)));
        // Only what is stored has a UID; reviews come back with their answer in them.
        let stored = answer.filter(|answer| answer.pointer("/metadata/uid").is_some());
        let (object, presumed) = match (stored, sent) {
            (Some(stored), _) => {
                let mut object = stored.clone();
                remove(&mut object, "resourceVersion");
                (Some(object), vec![])
            }
            (None, Some(sent)) => (Some(sent.clone()), if subresource.is_empty() { vec![AS_SENT] } else { vec![] }),
            (None, None) => (None, vec![]),
        };
        Found { object, old_object: Some(Value::Null), presumed }
    }

    fn updated(self, event: &Event, subresource: &str, known: Option<Value>, real: &Real) -> Found {
        let sent = self.0.pointer("/requestObject");
        let answer = self.object("/responseObject").filter(|answer| answer["kind"] != "Status");
        let at = |object: &Value, field: &str| object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default().to_owned();
        let expected = sent.map(|sent| at(sent, "resourceVersion")).unwrap_or_default();
        let mut presumed = Vec::new();
        let whole = known.filter(|known| {
            let same = |field: &str, other: &str| other.is_empty() || at(known, field).is_empty() || at(known, field) == other;
            same("uid", &answer.map(|answer| at(answer, "uid")).unwrap_or_default()) && same("resourceVersion", &expected)
        });
        let version = whole.as_ref().map(|known| at(known, "resourceVersion")).unwrap_or_default();
        let confirmed = !version.is_empty() && (version == expected || answer.is_some_and(|answer| at(answer, "resourceVersion") == version));
        let old_object = if subresource == "scale" { whole.as_ref().and_then(scale_of) } else { whole };
        if old_object.is_some() && !confirmed {
            presumed.push(OLD_LAST_SEEN);
        }
        let object = match (answer.filter(|_| *real == Real::Done), event.verb.as_str(), sent) {
            (Some(answer), _, _) => {
                let mut object = answer.clone();
                let before = if expected.is_empty() { version } else { expected };
                if !before.is_empty() {
                    object["metadata"]["resourceVersion"] = Value::String(before);
                }
                Some(object)
            }
            (None, "update", Some(sent)) if sent.is_object() => {
                presumed.push(AS_SENT);
                Some(sent.clone())
            }
            (None, "patch", Some(patch)) => {
                let made = old_object.as_ref().and_then(|old| patched(old, patch));
                if made.is_some() {
                    presumed.push(FROM_PATCH);
                }
                made
            }
            _ => None,
        };
        Found { object, old_object, presumed }
    }

    fn deleted(self, known: Option<Value>) -> Found {
        let answer = self.object("/responseObject").filter(|answer| answer["kind"] != "Status" && answer.pointer("/metadata/uid").is_some());
        let presumed = if answer.is_none() && known.is_some() { vec![OLD_LAST_SEEN] } else { vec![] };
        Found { object: Some(Value::Null), old_object: answer.map(|answer| undeleted(answer, known.as_ref())).or(known), presumed }
    }

    /// Each object of a deleted collection is judged by itself, if the answer lists them.
    fn collection(self) -> Vec<Found> {
        let list = self.object("/responseObject").filter(|answer| answer["kind"].as_str().is_some_and(|kind| kind.ends_with("List")));
        let Some(list) = list else { return vec![Found { object: Some(Value::Null), old_object: None, presumed: vec![] }] };
        let kind = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).unwrap_or_default();
        let items = list["items"].as_array().into_iter().flatten();
        items
            .map(|item| {
                let mut old = undeleted(item, None);
                old["apiVersion"] = list["apiVersion"].clone();
                old["kind"] = Value::String(kind.to_owned());
                Found { object: Some(Value::Null), old_object: Some(old), presumed: vec![] }
            })
            .collect()
    }

    fn extra(self, user: &str) -> BTreeMap<String, Vec<String>> {
        let extra = self.0.pointer(&format!("{user}/extra")).and_then(Value::as_object);
        extra.into_iter().flatten().map(|(key, values)| (key.clone(), texts(Some(values)))).collect()
    }

    /// The operation's options: what was sent of them, in the body or in the query.
    fn options(self, operation: Operation, event: &Event) -> Value {
        let kind = match (operation, event.verb.as_str()) {
            (Operation::Delete, _) => {
                let sent = self.object("/requestObject").filter(|sent| sent["kind"] == "DeleteOptions").cloned();
                let mut options = sent.unwrap_or_else(|| json!({}));
                options["kind"] = "DeleteOptions".into();
                options["apiVersion"] = "meta.k8s.io/v1".into();
                return options;
            }
            (Operation::Connect, _) => return Value::Null,
            (_, "patch") => "PatchOptions",
            (Operation::Create, _) => "CreateOptions",
            _ => "UpdateOptions",
        };
        let mut options = Map::from_iter([("kind".to_owned(), json!(kind)), ("apiVersion".to_owned(), json!("meta.k8s.io/v1"))]);
        let query = self.text("/requestURI").split_once('?').map_or("", |(_, query)| query);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "fieldManager" | "fieldValidation" => {
                    options.insert(name.to_owned(), json!(value));
                }
                "dryRun" => {
                    options.insert(name.to_owned(), json!([value]));
                }
                "force" => {
                    options.insert(name.to_owned(), json!(value == "true"));
                }
                _ => {}
            }
        }
        Value::Object(options)
    }
}

const AS_SENT: &str = "object as it was sent, before defaults and mutation";
const OLD_LAST_SEEN: &str = "oldObject as the log last showed it";
const FROM_PATCH: &str = "object computed from the patch";

fn split(resource: &str) -> (&str, &str) {
    resource.split_once('/').unwrap_or((resource, ""))
}

fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn kind_of(object: &Value) -> (String, String, String) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    (group.to_owned(), version.to_owned(), text("kind").to_owned())
}

fn named(object: &Value, name: &str) -> bool {
    object.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
}
