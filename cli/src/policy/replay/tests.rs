//! Logs as an API server writes them, and what is made of them.

use serde_json::{Value, json};

use super::*;
use crate::audit::events::event;

const RULES: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: at-most-five}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments, deployments/scale], operations: [CREATE, UPDATE]}]}
  validations: [{expression: object.spec.replicas <= 5, message: at most five}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: at-most-five}
spec: {policyName: at-most-five, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: twice}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments, deployments/scale], operations: [UPDATE, DELETE]}]}
  matchConditions: [{name: people, expression: "request.userInfo.username != 'robot'"}]
  validations: [{expression: "object == null ? oldObject.spec.replicas == 0 : object.spec.replicas <= 2 * oldObject.spec.replicas", message: at most twice}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: twice}
spec: {policyName: twice, validationActions: [Warn]}
"#;

/// A replay of the policies in `yaml` with `params`.
fn replay(yaml: &str, params: &str) -> Replay {
    let folder = tempfile::tempdir().unwrap();
    let (policies, given) = (folder.path().join("policies.yaml"), folder.path().join("params.yaml"));
    std::fs::write(&policies, yaml).unwrap();
    std::fs::write(&given, params).unwrap();
    let (subjects, unbound) = Subject::all(&read(&[policies]).unwrap(), false).unwrap();
    let wanted = subjects.iter().filter_map(|subject| subject.param_kind.clone()).collect();
    let surroundings = Surroundings::read(&[given], wanted).unwrap();
    let report = Report { policies: subjects.iter().map(OfPolicy::new).collect(), unbound, comparison: Some(Comparison::default()), ..Report::default() };
    Replay { subjects, others: vec![], against_server: true, surroundings, memory: Memory::default(), report, show: 100 }
}

/// An event about the Deployment `web`, changed by `change`.
fn told(verb: &str, change: Value) -> Told {
    let mut whole = json!({
        "kind": "Event", "stage": "ResponseComplete", "level": "RequestResponse", "auditID": "a", "verb": verb,
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z", "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web",
        "user": {"username": "jane", "groups": ["system:authenticated"]},
        "objectRef": {"resource": "deployments", "namespace": "shop", "name": "web", "apiGroup": "apps", "apiVersion": "v1"},
        "responseStatus": {"code": 200},
    });
    json_patch::merge(&mut whole, &change);
    let (id, event) = event(&whole).unwrap().unwrap();
    Told { id, event, whole }
}

fn web(version: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": version},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}})
}

fn policy(replay: &Replay, name: &str) -> Value {
    serde_json::to_value(replay.report.policies.iter().find(|policy| policy.name == name).unwrap()).unwrap()
}

/// `(denied, warned, not judged)` of a policy.
fn counts(replay: &Replay, name: &str) -> (u64, u64, u64) {
    let policy = policy(replay, name);
    let count = |field: &str| policy[field].as_u64().unwrap();
    (count("denied"), count("warned"), count("notJudged"))
}

fn requests(replay: &Replay) -> (u64, u64, u64) {
    let requests = &replay.report.requests;
    (requests.whole, requests.presumed, requests.partial)
}

#[test]
fn old_objects_are_recovered_from_earlier_answers_and_never_made_up() {
    let mut replay = replay(RULES, "");
    // Nobody knows what was there before the first update.
    replay.one(&told("update", json!({"requestObject": web("1", 2), "responseObject": web("2", 2)})));
    assert_eq!((counts(&replay, "twice"), requests(&replay)), ((0, 0, 1), (0, 0, 1)));
    // Now it is known, and the sent resourceVersion confirms it.
    replay.one(&told("update", json!({"requestObject": web("2", 5), "responseObject": web("3", 5)})));
    assert_eq!((counts(&replay, "twice"), requests(&replay)), ((0, 1, 1), (1, 0, 1)));
    // A patch names no version: the last that was seen is presumed to be it.
    replay.one(&told("patch", json!({"requestObject": {"spec": {"replicas": 6}}, "responseObject": web("4", 6)})));
    assert_eq!((counts(&replay, "at-most-five"), counts(&replay, "twice"), requests(&replay)), ((1, 0, 0), (0, 1, 1), (1, 1, 1)));
    // Somebody wrote it, and the log does not say what.
    replay.one(&told("patch", json!({"level": "Metadata"})));
    replay.one(&told("patch", json!({"requestObject": {"spec": {"replicas": 1}}, "responseObject": web("6", 1)})));
    assert_eq!((counts(&replay, "twice").2, replay.report.requests.head_only), (2, 1));
    // Another object of the same name.
    let mut other = web("9", 5);
    other["metadata"]["uid"] = json!("u2");
    replay.one(&told("update", json!({"requestObject": {"metadata": {"resourceVersion": null}, "spec": {"replicas": 5}}, "responseObject": other})));
    assert_eq!(counts(&replay, "twice").2, 3);
    // What was only tried changes nothing; what it would have done is judged.
    replay.one(&told("patch", json!({"requestURI": "/x?dryRun=All", "requestObject": {"spec": {"replicas": 50}}, "responseObject": {"metadata": {"uid": "u2"}, "kind": "Deployment", "apiVersion": "apps/v1", "spec": {"replicas": 50}}})));
    assert_eq!(counts(&replay, "twice").1, 2);
    replay.one(&told("delete", json!({"requestObject": {"propagationPolicy": "Background"}, "responseObject": {"kind": "Status", "metadata": {}}})));
    let first = policy(&replay, "twice")["first"].as_array().unwrap().last().unwrap().clone();
    assert!(first["verb"] == "delete" && first["wouldPass"].as_str().unwrap().contains("`oldObject.spec.replicas` is 5"), "{first:#}");
    replay.one(&told("delete", json!({"responseObject": {"kind": "Status", "metadata": {}}})));
    assert_eq!(counts(&replay, "twice").2, 4);
}

#[test]
fn denied_patches_are_computed_where_that_is_certain_and_else_not_judged() {
    let words = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no";
    let denied = |patch: Value| {
        let mut replay = replay(RULES, "");
        replay.one(&told("create", json!({"responseStatus": {"code": 201}, "requestObject": web("", 2), "responseObject": web("1", 2)})));
        replay.one(&told("patch", json!({"requestObject": patch, "responseStatus": {"code": 422, "message": words}, "responseObject": {"kind": "Status"}})));
        (counts(&replay, "at-most-five"), replay.report.comparison.unwrap().both_deny)
    };
    assert_eq!(denied(json!({"spec": {"replicas": 6}})), ((1, 0, 0), 1));
    assert_eq!(denied(json!([{"op": "replace", "path": "/spec/replicas", "value": 6}])), ((1, 0, 0), 1));
    assert_eq!(denied(json!({"spec": {"replicas": 6, "template": {"spec": {"containers": [{"name": "a"}]}}}})), ((0, 0, 1), 0));
    assert_eq!(denied(json!({"spec": {"$retainKeys": ["a"], "replicas": 6}})), ((0, 0, 1), 0));
    assert_eq!(denied(json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 6}})), ((0, 0, 1), 0));
}

#[test]
fn a_scale_is_judged_against_the_workload_that_it_is_of() {
    let mut replay = replay(RULES, "");
    let scale = |version: &str, replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": version}, "spec": {"replicas": replicas}});
    let scaling = |from: &str, to: &str, replicas: u32| {
        told("update", json!({"objectRef": {"subresource": "scale"}, "requestObject": scale(from, replicas), "responseObject": scale(to, replicas)}))
    };
    replay.one(&told("create", json!({"responseStatus": {"code": 201}, "requestObject": web("", 1), "responseObject": web("1", 1)})));
    replay.one(&scaling("1", "2", 3));
    replay.one(&scaling("2", "3", 5));
    assert_eq!((counts(&replay, "twice"), requests(&replay)), ((0, 1, 0), (3, 0, 0)));
}

#[test]
fn what_never_reached_a_policy_is_not_judged_and_who_was_acted_as_counts() {
    let mut replay = replay(RULES, "");
    let create = |change: Value| {
        let mut whole = json!({"responseStatus": {"code": 201}, "requestObject": web("", 9), "responseObject": web("1", 9)});
        json_patch::merge(&mut whole, &change);
        told("create", whole)
    };
    replay.one(&create(json!({"responseStatus": {"code": 403, "message": "no rights"}, "annotations": {"authorization.k8s.io/decision": "forbid"}})));
    replay.one(&create(json!({"responseStatus": {"code": 409, "message": "exists"}})));
    replay.one(&create(json!({"responseStatus": {"code": 422, "message": "spec.replicas: Invalid value"}})));
    assert_eq!((counts(&replay, "at-most-five"), replay.report.requests.failed), ((0, 0, 0), 3));
    replay.one(&create(json!({"impersonatedUser": {"username": "robot", "extra": {"a": ["b"]}}})));
    replay.one(&told("update", json!({"impersonatedUser": {"username": "robot"}, "requestObject": web("1", 30), "responseObject": web("2", 30)})));
    let first = policy(&replay, "at-most-five")["first"].clone();
    assert_eq!((first.as_array().unwrap().len(), &first[0]["user"]), (2, &json!("robot")));
    // The condition leaves the robot out.
    assert_eq!(policy(&replay, "twice")["matched"], 0);
}

const PARAMS: &str = r#"
kind: ValidatingAdmissionPolicy
metadata: {name: by-limit}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    namespaceSelector: {matchLabels: {tier: gold}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [CREATE]}]
  validations: [{expression: object.spec.replicas <= int(params.data.most)}]
---
kind: ValidatingAdmissionPolicyBinding
metadata: {name: by-limit}
spec: {policyName: by-limit, validationActions: [Deny], paramRef: {name: limit, parameterNotFoundAction: Deny}}
---
kind: Guardrail
metadata: {name: facts}
spec:
  paramKind: {apiVersion: assent.dev/v1alpha1, kind: Facts}
  matchConstraints: {resourceRules: [{apiGroups: ['*'], apiVersions: ['*'], resources: ['*'], operations: ['*']}]}
  validations: [{expression: 'true'}]
---
kind: GuardrailBinding
metadata: {name: facts}
spec: {policyName: facts, validationActions: [Deny], paramRef: {name: current, parameterNotFoundAction: Deny}}
"#;
const SHOP: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {tier: gold}}}";
const LIMIT: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: limit, namespace: shop}, data: {most: '3'}}";

#[test]
fn params_and_namespaces_come_from_files_or_the_log_and_their_absence_is_no_verdict() {
    let create = || told("create", json!({"responseStatus": {"code": 201}, "requestObject": web("", 4), "responseObject": web("1", 4)}));
    let reason = |replay: &Replay| policy(replay, "by-limit")["reasons"].as_object().unwrap().keys().next().cloned().unwrap_or_default();

    let mut nothing = replay(PARAMS, "");
    nothing.one(&create());
    assert!(counts(&nothing, "by-limit") == (0, 0, 1) && reason(&nothing).contains("params of kind ConfigMap"), "{}", reason(&nothing));
    let mut no_namespace = replay(PARAMS, LIMIT);
    no_namespace.one(&create());
    assert!(counts(&no_namespace, "by-limit") == (0, 0, 1) && reason(&no_namespace).contains("the Namespace"), "{}", reason(&no_namespace));
    let mut given = replay(PARAMS, &format!("{SHOP}\n---\n{LIMIT}"));
    given.one(&create());
    assert_eq!(counts(&given, "by-limit"), (1, 0, 0));
    // Given params are all there are: the binding's is missing, which denies.
    let mut other = replay(PARAMS, &format!("{SHOP}\n---\n{}", LIMIT.replace("name: limit", "name: other")));
    other.one(&create());
    assert_eq!(counts(&other, "by-limit"), (1, 0, 0));

    let mut seen = replay(PARAMS, SHOP);
    let limit = |verb: &str, name: &str, most: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop", "uid": "c"}, "data": {"most": most}});
        told(verb, json!({"objectRef": {"resource": "configmaps", "apiGroup": null, "name": name}, "responseObject": object}))
    };
    seen.one(&limit("update", "other", "9"));
    seen.one(&create());
    assert!(counts(&seen, "by-limit") == (0, 0, 1) && reason(&seen).contains("its param, a ConfigMap"), "{}", reason(&seen));
    seen.one(&limit("update", "limit", "3"));
    seen.one(&create());
    assert_eq!(counts(&seen, "by-limit"), (1, 0, 1));
    seen.one(&limit("update", "limit", "4"));
    seen.one(&create());
    assert_eq!(counts(&seen, "by-limit"), (1, 0, 1));

    // Guardrails judge nobody but Assent, and Facts are in no log.
    assert_eq!(policy(&seen, "facts")["matched"], 0);
    seen.one(&told("update", json!({"impersonatedUser": {"username": "assent:executor"}, "requestObject": web("1", 1), "responseObject": web("2", 1)})));
    let facts = policy(&seen, "facts");
    assert!(facts["notJudged"] == 1 && facts["notReplayable"].as_str().unwrap().contains("Facts"), "{facts:#}");
}

#[test]
fn broken_lines_are_placed_and_files_are_merged_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let line = |second: u32, id: &str| {
        json!({"kind": "Event", "stage": "ResponseComplete", "auditID": id, "verb": "get", "requestReceivedTimestamp": format!("2026-01-01T00:00:0{second}.000000Z")}).to_string()
    };
    std::fs::write(at("new.log"), format!("{}\nnot json\n\n{{\"kind\": \"Pod\"}}\n{}\n", line(3, "c"), line(5, "d"))).unwrap();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, format!("{}\n{}\n", line(1, "a"), line(4, "b")).as_bytes()).unwrap();
    std::fs::write(at("old.log.gz"), zipped.finish().unwrap()).unwrap();
    let mut logs = Logs::open(&[at("new.log"), at("old.log.gz")]).unwrap();
    let mut order = Vec::new();
    while let Some(told) = logs.next().unwrap() {
        order.push(told.id);
    }
    assert_eq!(order, ["a", "c", "b", "d"]);
    assert_eq!((logs.tally.lines, logs.tally.unreadable), (6, 2));
    assert!(logs.tally.places[0].contains("new.log, line 2: ") && logs.tally.places[1].contains("line 4: it is no audit event"), "{:?}", logs.tally.places);
    assert!(Logs::open(&[at("new.log"), at("new.log")]).is_err() && Logs::open(&[folder.path().to_owned()]).is_err());
}
