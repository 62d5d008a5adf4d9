//! Cases of matching: every row of the API server's `matching_test.go`, names, exclusions, scopes and selectors beside them.

use serde_json::{Value, json};

use super::*;
use crate::policy::request::{Equivalent, Objects};

/// Groups and versions that deployments are served in, with the kind of the object and of its scale.
const DEPLOYMENTS: [(&str, &str, (&str, &str)); 4] = [
    ("extensions", "v1beta1", ("extensions", "v1beta1")),
    ("apps", "v1", ("autoscaling", "v1")),
    ("apps", "v1beta1", ("apps", "v1beta1")),
    ("apps", "v1alpha1", ("apps", "v1alpha1")),
];

static OBJECT: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({"metadata": {"labels": {"a": "b"}}}));

fn equivalents(subresource: &str) -> Vec<Equivalent<'static>> {
    let of = |(group, version, scale): &(&'static str, &'static str, (&'static str, &'static str))| Equivalent {
        resource: Resource { group, version, resource: "deployments" },
        kind: match subresource {
            "" => Kind { group, version, kind: "Deployment" },
            _ => Kind { group: scale.0, version: scale.1, kind: "Scale" },
        },
        objects: Some(Objects { object: &OBJECT, old_object: &Value::Null }),
    };
    DEPLOYMENTS.iter().map(of).collect()
}

/// One rule of `group/version` for `resources`, by any operation.
fn rule(group: &str, version: &str, resources: &[&str]) -> Value {
    json!({"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": resources, "scope": "*"})
}

/// Matches `criteria` (matchPolicy Exact unless it says otherwise, as Go's zero value) against CREATE of `ns/name`.
/// `want`: the form, `"-"` for none, `"!text"` for an error that contains the text.
fn check(criteria: Value, (group, version, resource, subresource): (&str, &str, &str, &str), want: &str) {
    let mut criteria = criteria;
    if criteria.get("matchPolicy").is_none() {
        criteria["matchPolicy"] = json!("Exact");
    }
    let constraints = Constraints::compile(&serde_json::from_value(criteria.clone()).unwrap());
    let known = equivalents(subresource);
    let kind = known.iter().find(|e| e.resource == Resource { group, version, resource }).map_or(Kind { group, version, kind: "Other" }, |e| e.kind);
    let request = Request {
        kind,
        resource: Resource { group, version, resource },
        subresource,
        name: "name",
        namespace: "ns",
        object: &OBJECT,
        equivalents: Some(if resource == "deployments" { &known } else { &[] }),
        ..Request::default()
    };
    let got = match constraints.matches(&request) {
        Ok(None) => "-".to_owned(),
        Ok(Some(form)) => format!("{}/{} {}", form.resource.group, form.resource.version, form.kind),
        Err(reason) if want.starts_with('!') && reason.contains(&want[1..]) => want.to_owned(),
        Err(reason) => format!("!{reason}"),
    };
    assert_eq!(got, want, "{criteria}");
}

const DEPLOYMENT: (&str, &str, &str, &str) = ("apps", "v1", "deployments", "");
const SCALE: (&str, &str, &str, &str) = ("apps", "v1", "deployments", "scale");
const POD: (&str, &str, &str, &str) = ("example.apiserver.k8s.io", "v1", "pods", "");

#[test]
fn the_servers_rows_of_rules_and_versions() {
    let own = "apps/v1 apps/v1, Kind=Deployment";
    let both = |first: Value, second: Value| json!({"resourceRules": [first, second]});
    let fuzzy = |first: Value, second: Value| json!({"matchPolicy": "Equivalent", "resourceRules": [first, second]});
    let extensions = || rule("extensions", "v1beta1", &["deployments"]);
    let beta = || rule("apps", "v1beta1", &["deployments"]);
    check(json!({"resourceRules": [rule("*", "*", &["*"])]}), DEPLOYMENT, own);
    check(json!({"resourceRules": [rule("extensions", "v1", &["deployments"]), beta(), rule("apps", "v1", &["deployments"])]}), DEPLOYMENT, own);
    check(both(extensions(), beta()), DEPLOYMENT, "-");
    check(fuzzy(extensions(), beta()), DEPLOYMENT, "extensions/v1beta1 extensions/v1beta1, Kind=Deployment");
    check(fuzzy(beta(), extensions()), DEPLOYMENT, "apps/v1beta1 apps/v1beta1, Kind=Deployment");

    let with_scale = |group: &str, version: &str| rule(group, version, &["deployments", "deployments/scale"]);
    let (extensions, beta) = (|| with_scale("extensions", "v1beta1"), || with_scale("apps", "v1beta1"));
    check(json!({"resourceRules": [extensions(), beta(), with_scale("apps", "v1")]}), SCALE, "apps/v1 autoscaling/v1, Kind=Scale");
    check(both(extensions(), beta()), SCALE, "-");
    check(fuzzy(extensions(), beta()), SCALE, "extensions/v1beta1 extensions/v1beta1, Kind=Scale");
    check(fuzzy(beta(), extensions()), SCALE, "apps/v1beta1 apps/v1beta1, Kind=Scale");
}

#[test]
fn the_servers_rows_of_names_and_exclusions() {
    let own = "apps/v1 apps/v1, Kind=Deployment";
    let named = |names: &[&str], mut rule: Value| {
        rule["resourceNames"] = json!(names);
        rule
    };
    let apps = || rule("apps", "v1", &["deployments"]);
    check(json!({"resourceRules": [named(&["name"], apps())]}), DEPLOYMENT, own);
    check(json!({"resourceRules": [named(&["wrong-name"], apps())]}), DEPLOYMENT, "-");
    let old_scale = ("extensions", "v1beta1", "deployments", "scale");
    let fuzzy =
        |names: &[&str]| json!({"matchPolicy": "Equivalent", "resourceRules": [named(names, rule("apps", "v1", &["deployments", "deployments/scale"]))]});
    check(fuzzy(&["name"]), old_scale, "apps/v1 autoscaling/v1, Kind=Scale");
    check(fuzzy(&["wrong-name"]), old_scale, "-");

    let excluding = |policy: &str| json!({"matchPolicy": policy, "resourceRules": [rule("*", "*", &["*"])], "excludeResourceRules": [rule("extensions", "v1beta1", &["deployments"])]});
    check(excluding("Exact"), DEPLOYMENT, own);
    check(excluding("Exact"), ("extensions", "v1beta1", "deployments", ""), "-");
    check(excluding("Equivalent"), DEPLOYMENT, "-");
    check(json!({"excludeResourceRules": [rule("extensions", "v1beta1", &["deployments"])]}), DEPLOYMENT, own);
    check(json!({}), DEPLOYMENT, own);
    check(json!({"resourceRules": [{}]}), DEPLOYMENT, "-");
}

#[test]
fn a_broken_selector_is_an_error_only_where_the_rules_match() {
    let bad = || json!({"matchExpressions": [{"key": "key", "operator": "In", "values": ["bad value"]}]});
    let pods = || json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods"]}]);
    let deployments = || json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["deployments"]}]);
    for selector in ["namespaceSelector", "objectSelector"] {
        check(json!({selector: bad(), "resourceRules": deployments()}), POD, "-");
        check(json!({selector: bad(), "resourceRules": pods()}), POD, "!bad value");
        check(
            json!({selector: {"matchExpressions": [{"key": "a", "operator": "Near"}]}, "resourceRules": pods()}),
            POD,
            "!\"Near\" is not a valid label selector operator",
        );
        check(json!({selector: {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "resourceRules": pods()}), POD, "!must be empty");
    }
}

#[test]
fn resources_and_subresources_are_exact() {
    let of = |resource: &str| json!({"resourceRules": [rule("*", "*", &[resource])]});
    let eviction = ("", "v1", "pods", "eviction");
    for (pattern, request, covers) in [
        ("pods", eviction, false),
        ("pods/eviction", eviction, true),
        ("pods/*", eviction, true),
        ("*/eviction", eviction, true),
        ("*", eviction, false),
        ("*/*", eviction, true),
        ("*/*", ("", "v1", "pods", ""), true),
        ("pods/*", ("", "v1", "pods", ""), true),
        ("pods/", ("", "v1", "pods", ""), true),
        ("*/scale", eviction, false),
    ] {
        check(of(pattern), request, if covers { "/v1 v1, Kind=Other" } else { "-" });
    }
}

/// Matches a request in full: `adjust` changes the default one.
fn matches<'a>(criteria: Value, adjust: impl FnOnce(&mut Request<'a>)) -> Result<bool, String> {
    let mut request = Request {
        kind: Kind { group: "", version: "v1", kind: "Pod" },
        resource: Resource { group: "", version: "v1", resource: "pods" },
        namespace: "ns",
        equivalents: Some(&[]),
        ..Request::default()
    };
    adjust(&mut request);
    Constraints::compile(&serde_json::from_value(criteria).unwrap()).matches(&request).map(|form| form.is_some())
}

#[test]
fn scopes_count_namespaces_as_cluster_scoped() {
    let scoped = |scope: &str| json!({"resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "scope": scope}]});
    let namespaces = Resource { group: "", version: "v1", resource: "namespaces" };
    for (resource, namespace, cluster) in [(None, "ns", false), (None, "", true), (Some(namespaces), "ns", true)] {
        let adjust = |request: &mut Request<'_>| {
            request.namespace = namespace;
            request.resource = resource.unwrap_or(request.resource);
        };
        assert_eq!(matches(scoped("Cluster"), adjust), Ok(cluster), "{resource:?} {namespace}");
        assert_eq!(matches(scoped("Namespaced"), adjust), Ok(!cluster), "{resource:?} {namespace}");
        assert_eq!(matches(scoped("*"), adjust), Ok(true), "{resource:?} {namespace}");
    }
}

#[test]
fn namespaces_are_selected_by_their_own_labels() {
    let criteria = || json!({"namespaceSelector": {"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]}});
    let labelled = |labels: Value| json!({"metadata": {"labels": labels}});
    let (ours, off, none) = (labelled(json!({"team": "a"})), labelled(json!({"team": "a", "off": ""})), json!({"metadata": {"name": "ns"}}));
    let within = |namespace| matches(criteria(), |request| request.namespace_object = namespace);
    assert_eq!(within(Namespace::Known(&ours)), Ok(true));
    assert_eq!(within(Namespace::Known(&off)), Ok(false));
    assert_eq!(within(Namespace::Known(&none)), Ok(false));
    assert_eq!(within(Namespace::Missing), Err("namespaces \"ns\" not found".into()));
    assert!(within(Namespace::NotGiven).unwrap_err().contains("not known here"));
    assert!(within(Namespace::Unreadable("timeout")).unwrap_err().contains("timeout"));
    // What is in no namespace is never exempt; a Namespace being written has its own labels; one being removed its stored ones.
    assert_eq!(matches(criteria(), |request| request.namespace = ""), Ok(true));
    let of_namespace = |operation, object, namespace| {
        matches(criteria(), |request| {
            request.resource.resource = "namespaces";
            (request.operation, request.object, request.namespace_object) = (operation, object, namespace);
        })
    };
    assert_eq!(of_namespace(Operation::Update, &ours, Namespace::Known(&none)), Ok(true));
    assert_eq!(of_namespace(Operation::Create, &none, Namespace::NotGiven), Ok(false));
    assert_eq!(of_namespace(Operation::Delete, &Value::Null, Namespace::Known(&ours)), Ok(true));
}

#[test]
fn objects_are_selected_before_or_after() {
    let criteria = |operator: &str, values: Value| json!({"objectSelector": {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}});
    let (yes, no, bare) = (json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {"labels": {"a": "c"}}}), json!({"spec": {}}));
    let with = |criteria, object, old_object| matches(criteria, |request| (request.object, request.old_object) = (object, old_object)).unwrap();
    let is = || criteria("In", json!(["b", "x"]));
    assert!(with(is(), &yes, &Value::Null));
    assert!(with(is(), &no, &yes));
    assert!(with(is(), &Value::Null, &yes));
    assert!(!with(is(), &no, &bare));
    assert!(!with(is(), &Value::Null, &Value::Null));
    let is_not = || criteria("NotIn", json!(["b"]));
    assert!(with(is_not(), &bare, &Value::Null));
    assert!(!with(is_not(), &Value::Null, &Value::Null), "no object is selected by nothing");
    assert!(with(criteria("Exists", json!([])), &yes, &Value::Null));
}

#[test]
fn another_version_is_never_passed_over_in_silence() {
    let apps = |policy: &str, version: &str| json!({"matchPolicy": policy, "resourceRules": [rule("apps", version, &["deployments"])]});
    let beta = Resource { group: "apps", version: "v1beta1", resource: "deployments" };
    let kind = |version| Kind { group: "apps", version, kind: "Deployment" };
    let unknown = |criteria| {
        matches(criteria, |request| {
            (request.kind, request.resource, request.equivalents) = (kind("v1beta1"), beta, None);
        })
    };
    assert!(unknown(apps("Equivalent", "v1")).unwrap_err().contains("apps/v1beta1, Resource=deployments"));
    assert_eq!(unknown(apps("Exact", "v1")), Ok(false));
    assert_eq!(unknown(apps("Equivalent", "v1beta1")), Ok(true));
    assert_eq!(unknown(json!({"resourceRules": [rule("batch", "v1", &["deployments"])]})), Ok(false));
    assert!(unknown(json!({"resourceRules": [rule("extensions", "v1", &["deployments"])]})).is_err());
    assert!(unknown(json!({"excludeResourceRules": [rule("apps", "v1", &["deployments"])]})).is_err());
    assert_eq!(
        unknown(
            apps("Equivalent", "v1")
                .as_object_mut()
                .map(|rules| {
                    rules.insert("namespaceSelector".into(), json!({}));
                    rules["resourceRules"][0]["operations"] = json!(["DELETE"]);
                    json!(rules)
                })
                .unwrap()
        ),
        Ok(false)
    );
    // The review holds the version that the webhook's rule names; what the client asked for is another.
    let reviewed = matches(apps("Equivalent", "v1"), |request| {
        (request.kind, request.resource) = (kind("v1"), Resource { version: "v1", ..beta });
        request.requested = Some((kind("v1beta1"), beta));
    });
    assert_eq!(reviewed, Ok(true));
    let nameless = [Equivalent { resource: Resource { version: "v1", ..beta }, kind: Kind::default(), objects: None }];
    let refused = matches(apps("Equivalent", "v1"), |request| (request.resource, request.equivalents) = (beta, Some(&nameless[..])));
    assert_eq!(refused, Err("unable to convert to apps/v1, Resource=deployments: unknown kind".into()));
}
