//! Copies of ConfigMaps: what one holds now, under a name that says which content it is, and unchangeable. Workloads read them
//! when an edit is undone (RevertConfig). The director makes them, and the gate sees that each is true when it is made.

use assent_core::action::Configuration;
use serde_json::{Value, json};

use crate::facts;

/// Label by which they are found.
pub const KEPT: &str = "assent.dev/kept";
/// Its one value.
pub const CONFIGURATION: &str = "configuration";
/// Annotation that names what it is a copy of.
pub const COPY_OF: &str = "assent.dev/copy-of";
/// Copies of one ConfigMap that are kept beside those that somebody reads.
pub const KEPT_COPIES: usize = 5;

/// What `config_map` holds, as it stands there.
///
/// # Errors
/// In words, if it has no name or no content.
pub fn content(config_map: &Value) -> Result<Configuration, String> {
    let name = text(config_map, "/metadata/name").ok_or("it has no name")?;
    let digest = facts::configuration_content(config_map).map_err(|error| format!("its content has no digest: {error}"))?;
    Ok(Configuration { name: name.to_owned(), digest })
}

/// The copy of `config_map` as it is now. What cannot be changed needs none, and neither does a copy.
///
/// # Errors
/// In words, if there is none.
pub fn copy_of(config_map: &Value) -> Result<Value, String> {
    if facts::is_immutable(config_map) {
        return Err("nobody can change it, so it needs no copy".into());
    }
    let content = content(config_map)?;
    let namespace = text(config_map, "/metadata/namespace").ok_or("it has no namespace")?;
    let mut copy = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
        "metadata": {"name": content.copy(), "namespace": namespace, "labels": {KEPT: CONFIGURATION}, "annotations": {COPY_OF: content.name}},
    });
    for part in ["data", "binaryData"] {
        if let Some(held) = config_map.get(part).filter(|held| !held.is_null()) {
            copy[part] = held.clone();
        }
    }
    Ok(copy)
}

/// Whether `written` is `copy` word for word, but for what the API server sets.
#[must_use]
pub fn is_copy(written: &Value, copy: &Value) -> bool {
    let same = |pointer: &str| written.pointer(pointer) == copy.pointer(pointer);
    let parts = ["/immutable", "/data", "/binaryData", "/metadata/name", "/metadata/namespace", "/metadata/labels", "/metadata/annotations"];
    let bare = ["/metadata/ownerReferences", "/metadata/finalizers"];
    parts.into_iter().all(same) && bare.into_iter().all(|pointer| written.pointer(pointer).is_none())
}

/// What `config_map` is a copy of, with the content that it keeps; by its own words and content.
#[must_use]
pub fn original(config_map: &Value) -> Option<Configuration> {
    let name = config_map.pointer("/metadata/annotations")?.get(COPY_OF)?.as_str()?.to_owned();
    let kept = Configuration { name, digest: facts::configuration_content(config_map).ok()? };
    let labelled = config_map.pointer("/metadata/labels").and_then(|labels| labels.get(KEPT)).and_then(Value::as_str) == Some(CONFIGURATION);
    (labelled && facts::is_immutable(config_map) && text(config_map, "/metadata/name") == Some(kept.copy().as_str())).then_some(kept)
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
            "metadata": {"name": "settings", "namespace": "shop", "uid": "u", "labels": {"app": "orders"}, "annotations": {"tracking": "argocd"}}})
    }

    #[test]
    fn a_copy_holds_the_content_and_nothing_that_others_go_by() {
        let copy = copy_of(&settings()).unwrap();
        let name = text(&copy, "/metadata/name").unwrap().to_owned();
        assert!(name.starts_with("settings-") && name.len() == "settings-".len() + 10, "{name}");
        assert_eq!((&copy["data"], &copy["immutable"]), (&json!({"a": "1"}), &json!(true)));
        assert_eq!((&copy["metadata"]["labels"], &copy["metadata"]["annotations"]), (&json!({KEPT: CONFIGURATION}), &json!({COPY_OF: "settings"})));
        assert_eq!(facts::configuration_content(&copy).unwrap(), facts::configuration_content(&settings()).unwrap());
        assert_eq!(original(&copy).unwrap().name, "settings");
        assert!(copy_of(&copy).unwrap_err().contains("needs no copy"));
        let mut other = settings();
        other["data"]["a"] = json!("2");
        assert_ne!(text(&copy_of(&other).unwrap(), "/metadata/name"), Some(name.as_str()));
    }

    #[test]
    fn nothing_else_passes_for_a_copy() {
        let copy = copy_of(&settings()).unwrap();
        let mut stored = copy.clone();
        stored["metadata"]["uid"] = json!("c");
        stored["metadata"]["managedFields"] = json!([{}]);
        assert!(is_copy(&stored, &copy) && original(&stored).is_some());
        for (pointer, value) in [
            ("/data", json!({"a": "evil"})),
            ("/binaryData", json!({"b": "ZXZpbA=="})),
            ("/immutable", json!(false)),
            ("/metadata/name", json!("coredns")),
            ("/metadata/labels", json!({KEPT: CONFIGURATION, "app": "orders"})),
            ("/metadata/annotations", json!({COPY_OF: "other"})),
            ("/metadata/ownerReferences", json!([{}])),
        ] {
            let mut forged = stored.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            forged.pointer_mut(parent).unwrap()[key] = value;
            assert!(!is_copy(&forged, &copy), "{pointer}");
        }
        for (pointer, value) in [("/data/a", json!("2")), ("/immutable", json!(false)), ("/metadata/name", json!("settings"))] {
            let mut forged = stored.clone();
            *forged.pointer_mut(pointer).unwrap() = value;
            assert_eq!(original(&forged), None, "{pointer}");
        }
        assert_eq!(original(&settings()), None);
    }
}
