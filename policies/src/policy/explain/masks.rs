//! What an explanation never shows: explanations go to whoever asked, into the ledger and onto screens.
//!
//! Of a Secret only what names it is shown. A value beside a name (as in `env`) is hidden where the name is one that
//! credentials have, and so is the copy of a whole object that `kubectl apply` leaves in an annotation.

use serde_json::Value as Json;

use crate::cel::Value;
use crate::cel::value::Map;
use crate::policy::language::Inputs;

/// What stands in place of a hidden value.
pub(crate) const MASK: &str = "(masked)";
/// The annotation that holds a whole object as text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Parts of names that credentials have, in lower case and without separators.
const CREDENTIALS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "credential",
    "databaseurl",
    "dsn",
    "connectionstring",
];
/// What may be shown of a Secret.
const OF_SECRETS: [&str; 6] = ["apiVersion", "kind", "type", "immutable", "metadata.name", "metadata.namespace"];

/// Whether an object is a Secret.
pub(crate) fn is_secret(map: &Map<'_>) -> bool {
    let text = |name: &str, want: &str| map.field(name).is_some_and(|value| value.as_str() == Some(want));
    text("kind", "Secret") && text("apiVersion", "v1")
}

/// Whether a map is a name that a credential has, with its value.
pub(crate) fn is_hidden_pair(map: &Map<'_>) -> bool {
    map.field("name").is_some_and(|name| name.as_str().is_some_and(names_credential))
}

/// Whether a field is hidden whatever is in it.
pub(crate) fn is_hidden_field(name: &Value<'_>) -> bool {
    name.as_str() == Some(LAST_APPLIED)
}

/// Whether the value of `path` is hidden whatever it is. Where a Secret is judged, a local or a variable may hold any part of it.
pub(super) fn hides(path: &str, inputs: &Inputs<'_>) -> bool {
    if path.contains(LAST_APPLIED) {
        return true;
    }
    let plain = path.replace('?', "");
    let (root, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let secret = |object: &Json| object["kind"] == "Secret" && object["apiVersion"] == "v1";
    let params = inputs.params.is_some_and(secret);
    let given = match root {
        "object" => secret(inputs.object),
        "oldObject" => secret(inputs.old_object),
        "params" => params,
        "request" | "namespaceObject" => false,
        _ => return params || secret(inputs.object) || secret(inputs.old_object),
    };
    given && !OF_SECRETS.contains(&rest)
}

/// The path of the pair that `path` is the value of.
pub(super) fn pair_of(path: &str) -> Option<&str> {
    [".value", ".?value", "['value']", "[\"value\"]"].iter().find_map(|end| path.strip_suffix(end)).filter(|pair| !pair.is_empty())
}

fn names_credential(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    CREDENTIALS.iter().any(|part| plain.contains(part))
}
