//! Cases of the assembly: a healthy Deployment with everything around it (`shop.yaml`), and what one change of one object
//! makes of the facts. What an editor of the namespace could write is among them.

mod bounds;
mod gitops;
mod pod;
mod quotas;
mod sources;
mod workload;

use assent_core::action::{Action, Evict, Restart, Rollback, Scale};
use serde_json::{Map, json};

use super::*;

pub(super) const NOW: UnixMillis = UnixMillis(1_795_773_600_000);

/// What is read, and what is done.
#[derive(Clone)]
struct World {
    shop: Value,
    action: Action,
    healthy: Vec<Healthy>,
    plans: Vec<StoredPlan>,
    exemptions: Vec<ExemptionSource>,
    /// The object after the write; none for what the action makes of it.
    new: Option<Value>,
}

fn world(action: Action) -> World {
    let shop: Value = serde_yaml_ng::from_str(include_str!("shop.yaml")).unwrap();
    let mut world = World { shop, action, healthy: Vec::new(), plans: Vec::new(), exemptions: Vec::new(), new: None };
    world.healthy = vec![world.seen(1, 7, 3_600), world.seen(0, 8, 600)];
    world
}

fn restart() -> World {
    world(Action::RestartWorkload(Restart { marker: "i.1".into() }))
}

fn scale(replicas: u32) -> World {
    world(Action::ScaleWorkload(Scale { replicas }))
}

fn evict() -> World {
    world(Action::EvictPod(Evict { pod: "orders-8-x2x4p".into(), uid: "6b0c4c6e-0000-4000-8000-000000000009".into() }))
}

fn rollback() -> World {
    let mut world = restart();
    let template = world.template(1);
    let digest = Digest::of(&template).unwrap();
    world.action = Action::RollbackWorkload(Rollback { revision: 7, template: digest, images: Vec::new(), configurations: Vec::new(), healthy_at: NOW });
    world.new = Some(world.action.act().expected(&world.shop["deployment"], Some(&template)).unwrap());
    world
}

// === impl World ===

impl World {
    /// The template of a ReplicaSet, without its hash.
    fn template(&self, at: usize) -> Value {
        assent_core::workload::plain_template(&self.shop["replicaSets"][at]["spec"]["template"])
    }

    fn seen(&self, at: usize, revision: i64, seconds_ago: i64) -> Healthy {
        Healthy { revision, template: Digest::of(&self.template(at)).unwrap(), healthy_at: NOW.plus(-1000 * seconds_ago) }
    }

    /// With another value at a place of `shop.yaml`, made where it is not there; null removes it, and `-` appends to a list.
    fn with(mut self, place: &str, value: impl Into<Value>) -> Self {
        set(&mut self.shop, &changes::steps(place), value.into());
        self
    }

    fn try_facts(&self) -> Result<Facts, FactsError> {
        let list = |key: &str| self.shop[key].as_array().unwrap().as_slice();
        let templates: Vec<Value> = list("replicaSets").iter().filter_map(assent_core::workload::kept_template).collect();
        let target = Target::of(&self.shop["deployment"]).map_err(|reason| FactsError::Unreadable { object: "target".into(), field: String::new(), reason })?;
        let pod = self.action.evicts().map(|_| &self.shop["pod"]);
        let old = match self.action.act().part().subresource {
            "scale" => &self.shop["scale"],
            "eviction" => &Value::Null,
            _ => &self.shop["deployment"],
        };
        let new = self.new.clone().unwrap_or_else(|| self.action.act().expected(old, pod).unwrap());
        Facts::assemble(&Sources {
            now: NOW,
            incident: "i",
            action: &self.action,
            target: &target,
            old,
            new: &new,
            workload: &self.shop["deployment"],
            pod,
            namespace: Some(&self.shop["namespace"]),
            budgets: list("budgets"),
            autoscalers: list("autoscalers"),
            services: list("services"),
            quotas: list("quotas"),
            templates: &templates,
            healthy: &self.healthy,
            applications: list("applications"),
            kustomizations: list("kustomizations"),
            helm_releases: list("helmReleases"),
            plans: &self.plans,
            freezes: Vec::new(),
            exemptions: &self.exemptions,
            blueprint: None,
            approvals: Vec::new(),
        })
    }

    /// As guardrails see it.
    fn facts(&self) -> Value {
        self.try_facts().unwrap().params().unwrap()
    }

    fn refusal(&self) -> String {
        self.try_facts().map_or_else(|error| error.to_string(), |_| "facts".to_owned())
    }
}

fn set(at: &mut Value, steps: &[String], value: Value) {
    let (first, rest) = steps.split_first().unwrap();
    match at {
        Value::Array(items) => {
            if first == "-" {
                items.push(Value::Null);
            }
            let index = first.parse().unwrap_or(items.len() - 1);
            if rest.is_empty() && value.is_null() {
                items.remove(index);
            } else if rest.is_empty() {
                items[index] = value;
            } else {
                set(&mut items[index], rest, value);
            }
        }
        at => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let fields = at.as_object_mut().unwrap();
            if rest.is_empty() && value.is_null() {
                fields.remove(first);
            } else if rest.is_empty() {
                fields.insert(first.clone(), value);
            } else {
                set(fields.entry(first).or_insert(Value::Null), rest, value);
            }
        }
    }
}

#[test]
fn everything_around_a_healthy_deployment_is_told() {
    let facts = rollback().facts();
    let expected = json!({
        "apiVersion": "assent.dev/v1alpha1",
        "kind": "Facts",
        "metadata": {"name": "current"},
        "now": "2026-11-27T10:00:00Z",
        "incident": "i",
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "orders", "uid": "6b0c4c6e-0000-4000-8000-000000000001", "deleting": false},
        "namespace": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop", "team": "checkout"}, "deleting": false},
        "budgets": [{"name": "orders", "minAvailable": 2, "desiredHealthy": 2, "currentHealthy": 4, "disruptionsAllowed": 2}],
        "autoscalers": [],
        "services": [{"name": "orders", "selector": {"app": "orders"}}],
        "quotas": [{"name": "team", "resource": "requests.cpu", "podsLeft": 9}],
        "remediations": [],
        "freezes": [],
        "approvals": [],
        "exemptions": [],
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&facts[field], value, "{field}");
    }
    let action = &facts["action"];
    assert_eq!(
        (&action["name"], &action["risk"], &action["reversible"], &action["restores"]),
        (&json!("RollbackWorkload"), &json!("medium"), &json!(true), &json!(7))
    );
    let workload = &facts["workload"];
    assert_eq!(workload["revisions"].as_array().unwrap().iter().map(|one| &one["revision"]).collect::<Vec<_>>(), [&json!(8), &json!(7)], "newest first");
    assert_eq!(
        workload["revisions"][1],
        json!({"revision": 7, "healthyAt": "2026-11-27T09:00:00Z", "secrets": ["orders-db", "orders-db-old", "orders-keys", "registry"], "containers": [
            {"name": "app", "image": "registry.example.com/shop/orders@sha256:7777777777777777777777777777777777777777777777777777777777777777"},
            {"name": "migrate", "image": "registry.example.com/shop/migrate@sha256:7171717171717171717171717171717171717171717171717171717171717171"},
        ]})
    );
    let owners = facts["gitops"].as_array().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!((&owners[0]["name"], &owners[0]["corrects"], &owners[0]["contested"]), (&json!("shop"), &json!(true), &owners[0]["yields"]));
    assert!(owners[0]["contested"].as_array().unwrap().contains(&json!("/spec/template/spec/containers")), "{}", owners[0]);
}

#[test]
fn a_write_is_named_by_the_smallest_fields_that_differ() {
    let image = "/deployment/spec/template/spec/containers/0/image";
    let changed = |place: &str, value: Value| {
        let mut world = restart();
        world.new = Some(world.clone().with(place, value).shop["deployment"].clone());
        world
    };
    let cases = [
        (restart(), json!(["/spec/template/metadata/annotations/assent.dev~1restarted-for"])),
        (scale(6), json!(["/spec/replicas"])),
        (changed(image, json!("x:1")), json!(["/spec/template/spec/containers/0/image"])),
        (changed("/deployment/spec/template/spec/containers/1", Value::Null), json!(["/spec/template/spec/containers"])),
        (changed("/deployment/spec/template/spec/volumes", Value::Null), json!(["/spec/template/spec/volumes"])),
        (changed("/deployment/spec/template/spec/nodeSelector/disk", json!("ssd")), json!(["/spec/template/spec/nodeSelector/disk"])),
        (changed("/deployment/spec/template/spec/affinity", json!({})), json!(["/spec/template/spec/affinity"])),
        (changed("/deployment/metadata/labels/a~1b", json!("c")), json!(["/metadata/labels/a~1b"])),
        (changed("/deployment/status/replicas", json!(9)), json!([])),
        (changed("/deployment/metadata/managedFields", json!([])), json!([])),
        (changed("/deployment/metadata/generation", json!(10)), json!([])),
    ];
    for (world, expected) in cases {
        assert_eq!(world.facts()["action"]["changes"], expected);
    }
    let mut gone = restart();
    gone.new = Some(Value::Null);
    assert_eq!(gone.facts()["action"]["changes"], json!([""]), "a deletion changes the whole");
}

#[test]
fn more_changes_than_facts_hold_are_named_by_what_holds_them() {
    let mut world = restart();
    let mut new = world.shop["deployment"].clone();
    for number in 0..70 {
        set(&mut new, &changes::steps(&format!("/spec/template/metadata/annotations/a{number}")), json!("x"));
    }
    set(&mut new, &changes::steps("/spec/replicas"), json!(9));
    world.new = Some(new);
    assert_eq!(world.facts()["action"]["changes"], json!(["/spec/replicas", "/spec/template/metadata/annotations"]));
}

#[test]
fn only_a_whole_template_by_digest_is_restored() {
    assert_eq!(rollback().facts()["action"]["restores"], json!(7));
    let mut other = rollback();
    set(other.new.as_mut().unwrap(), &changes::steps("/spec/template/spec/hostNetwork"), json!(true));
    assert_eq!(other.facts()["action"].get("restores"), None, "one field more is another template");
    let mut unseen = rollback();
    unseen.healthy.remove(0);
    assert_eq!(unseen.facts()["action"].get("restores"), None, "no seat saw it");
    assert_eq!(restart().facts()["action"].get("restores"), None);
    assert_eq!(scale(6).facts()["action"].get("restores"), None);
    let mut same = restart();
    same.new = Some(same.shop["deployment"].clone());
    assert_eq!(same.facts()["action"].get("restores"), None, "a template that stays is not put back");
}
