//! Entries as an executor writes them, and what is told of them.

use assent_policies::Set;
use assent_policies::spec::Operation;
use assent_policies::{Kind, Namespace, Request, Resource};
use serde_json::json;

use super::*;

const UID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn uid() -> IncidentUid {
    IncidentUid::try_from(UID.to_owned()).unwrap()
}

fn entry(sequence: u64, kind: &str, body: Value) -> Entry {
    Entry { sequence, at: UnixMillis(1_790_000_000_000), incident: uid(), author: "assent-executor.assent-system.x".into(), kind: kind.into(), body }
}

/// What a set of three guardrails really says of a scaling to `replicas`.
fn judged(replicas: u32) -> Value {
    let spec = |expression: &str| {
        json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}]},
            "validations": [{"expression": "true"}, {"expression": expression, "message": "said so"}]})
    };
    let names = [("at-most-five", "object.spec.replicas <= 5"), ("twice-at-most", "object.spec.replicas <= oldObject.spec.replicas * 2"), ("always", "true")];
    let set = Set::new(
        names.iter().map(|(name, expression)| ((*name).to_owned(), spec(expression))).collect(),
        names.iter().map(|(name, _)| (format!("{name}-everywhere"), json!({"policyName": name, "validationActions": ["Deny"]}))).collect(),
    );
    let scale = |replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": replicas}});
    let (old, new) = (scale(2), scale(replicas));
    let outcome = set.evaluate(&Request {
        kind: Kind { group: "autoscaling", version: "v1", kind: "Scale" },
        resource: Resource { group: "apps", version: "v1", resource: "deployments" },
        subresource: "scale",
        operation: Operation::Update,
        name: "web",
        namespace: "shop",
        object: &new,
        old_object: &old,
        namespace_object: Namespace::Known(&json!({"metadata": {"name": "shop"}})),
        equivalents: Some(&[]),
        ..Request::default()
    });
    json!({"write": outcome.kept(30_000), "plan": assent_policies::Outcome::default(), "facts": {"now": "2026-01-01T00:00:00Z"}})
}

fn told(story: &[Entry]) -> String {
    let story: Vec<&Entry> = story.iter().collect();
    let text = lines(&attempts(&story), &uid(), &story).join("\n");
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn every_denial_of_a_refused_plan_is_told_value_by_value() {
    let body = json!({"plan": "rem-1", "reason": "assent[guardrail]: guardrail `at-most-five`: said so", "rule": "guardrail",
        "action": "scale to 9", "target": "Deployment shop/web", "guardrails": judged(9)});
    let text = told(&[entry(1, "incident-opened", json!({"detail": "shop/web"})), entry(2, "refused", body)]);
    for line in [
        "plan rem-1  refused",
        "scale to 9 on Deployment shop/web",
        "rule `guardrail`: A guardrail denies it, whatever the vote.",
        "✗ guardrail `at-most-five`, binding `at-most-five-everywhere` denies the write by validations[1]",
        "not true:   object.spec.replicas <= 5",
        "it saw:     object.spec.replicas = 9",
        "✗ guardrail `twice-at-most`, binding `twice-at-most-everywhere` denies the write by validations[1]",
        "            oldObject.spec.replicas = 2",
        "would pass: a request for which `object.spec.replicas <= oldObject.spec.replicas * 2` is true",
        "asked about the write and let it pass: always (binding always-everywhere, cost ",
        "no guardrail speaks of the plan",
        "judged with these facts: {\"now\":\"2026-01-01T00:00:00Z\"}",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
}

#[test]
fn an_admitted_plan_says_who_was_asked_and_what_became_of_it() {
    let intent = json!({"plan": "rem-1", "action": "scale to 3", "target": "Deployment shop/web", "guardrails": judged(3)});
    let story = [
        entry(1, "apply-intended", intent),
        entry(2, "applied", json!({"plan": "rem-1", "reason": "written"})),
        entry(3, "verified", json!({"plan": "rem-1"})),
    ];
    let text = told(&story);
    assert!(text.contains("plan rem-1  verified") && text.contains("let it pass: always") && text.contains("at-most-five (binding"), "{text}");
    assert!(!text.contains('✗'), "{text}");
}

#[test]
fn an_older_record_is_told_as_far_as_it_goes_and_says_so() {
    let reason = "assent[quorum]: 2 seats; would pass: 3\u{1b}[2J";
    let text = told(&[entry(1, "refused", json!({"plan": "rem-1", "reason": reason}))]);
    assert!(text.contains("rule `quorum`: Too few seats") && text.contains("not on record") && !text.contains('\u{1b}'), "{text}");
    let garbled = told(&[entry(1, "refused", json!({"plan": "rem-1", "reason": "x", "guardrails": {"write": 5}}))]);
    assert!(garbled.contains("not on record"), "{garbled}");
}

#[test]
fn an_incident_without_attempts_points_to_its_story() {
    let text = told(&[entry(1, "incident-opened", json!({"detail": "shop/web"}))]);
    assert!(text.contains("nothing was planned or refused") && text.contains("shop/web") && text.contains("kubectl assent audit"), "{text}");
}
