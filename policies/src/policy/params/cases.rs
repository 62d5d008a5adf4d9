//! Cases of params: by name and selector, of both scopes, and each way that none is found.

use serde_json::json;

use super::*;

fn table() -> (ParamKind, ParamKind, ParamTable) {
    let namespaced = ParamKind { api_version: "v1".into(), kind: "ConfigMap".into() };
    let cluster = ParamKind { api_version: "example.com/v1".into(), kind: "Limit".into() };
    let mut table = ParamTable::default();
    table.know(namespaced.clone(), ParamScope::Namespaced);
    table.know(cluster.clone(), ParamScope::Cluster);
    for (namespace, name, tier) in [("shop", "one", "gold"), ("shop", "two", "gold"), ("shop", "three", "tin"), ("other", "four", "gold")] {
        table.insert(&namespaced, json!({"metadata": {"namespace": namespace, "name": name, "labels": {"tier": tier}}}));
    }
    table.insert(&cluster, json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "five"}}));
    (namespaced, cluster, table)
}

/// Names of the params found; `"!text"` for an error that contains the text.
fn check(scope: ParamScope, reference: Value, namespace: &str, want: &str) {
    let (namespaced, cluster, table) = table();
    let kind = if scope == ParamScope::Namespaced { &namespaced } else { &cluster };
    let compiled = Reference::compile(&serde_json::from_value(reference.clone()).unwrap());
    let got = match compiled.collect(kind, scope, namespace, &table) {
        Ok(found) => found.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>().join(","),
        Err(reason) if want.starts_with('!') && reason.contains(&want[1..]) => want.to_owned(),
        Err(reason) => format!("!{reason}"),
    };
    assert_eq!(got, want, "{reference} in {namespace:?}");
}

#[test]
fn params_are_found_as_upstream_finds_them() {
    use ParamScope::{Cluster, Namespaced};
    let allow = "Allow";
    check(Namespaced, json!({"name": "one"}), "shop", "one");
    check(Namespaced, json!({"name": "one", "namespace": "shop"}), "other", "one");
    check(Namespaced, json!({"name": "one", "namespace": "shop"}), "", "one");
    check(Namespaced, json!({"name": "one"}), "other", "!no params found for policy binding with `Deny` parameterNotFoundAction");
    check(Namespaced, json!({"name": "one", "parameterNotFoundAction": "Deny"}), "other", "!no params found");
    check(Namespaced, json!({"name": "one", "parameterNotFoundAction": allow}), "other", "");
    check(Namespaced, json!({"name": "one"}), "", "!cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
    check(Namespaced, json!({"selector": {"matchLabels": {"tier": "gold"}}}), "shop", "one,two");
    check(Namespaced, json!({"selector": {}}), "shop", "one,three,two");
    check(Namespaced, json!({"selector": {"matchLabels": {"tier": "lead"}}}), "shop", "!no params found");
    check(Namespaced, json!({"selector": {"matchLabels": {"tier": "lead"}}, "parameterNotFoundAction": allow}), "shop", "");
    check(Namespaced, json!({"selector": {"matchLabels": {"tier": "bad value"}}, "parameterNotFoundAction": allow}), "shop", "!bad value");
    check(Namespaced, json!({"name": "one", "selector": {}}), "shop", "!mutually exclusive");
    check(Namespaced, json!({"parameterNotFoundAction": allow}), "shop", "!one of name or selector must be provided");
    check(Cluster, json!({"name": "five"}), "shop", "five");
    check(Cluster, json!({"name": "five"}), "", "five");
    check(Cluster, json!({"name": "five", "namespace": "shop"}), "shop", "!paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
}

#[test]
fn params_have_their_kind() {
    let (namespaced, cluster, table) = table();
    let named = |name: &str| Reference::compile(&ParamRef { name: name.into(), ..ParamRef::default() });
    let found = named("one").collect(&namespaced, ParamScope::Namespaced, "shop", &table).unwrap();
    assert_eq!((&found[0]["apiVersion"], &found[0]["kind"]), (&json!("v1"), &json!("ConfigMap")));
    let found = named("five").collect(&cluster, ParamScope::Cluster, "", &table).unwrap();
    assert!(matches!(found[0], Cow::Borrowed(_)));
}

#[test]
fn what_could_not_be_read_is_an_error_whatever_the_action() {
    let (namespaced, _, mut table) = table();
    table.fail(namespaced.clone(), ParamScope::Namespaced, "status 503".into());
    let reference =
        Reference::compile(&ParamRef { name: "one".into(), parameter_not_found_action: Some(ParameterNotFoundAction::Allow), ..ParamRef::default() });
    assert!(reference.collect(&namespaced, ParamScope::Namespaced, "shop", &table).unwrap_err().contains("status 503"));
    assert!(NoParams.scope(&namespaced).unwrap_err().contains("failed to find resource referenced by paramKind: 'v1, Kind=ConfigMap'"));
}
