//! A cluster of the first version is upgraded in place: every object is still there, reads as what it is, may be written, and stands in
//! nobody's way; what cannot be understood any more is left to people and admits nothing.

use std::fmt::Debug;

use assent_api::names::{PAUSE, SYSTEM_NAMESPACE};
use assent_api::resources::{Ballot, Blueprint, Decision, Guardrail, Incident, Pause, Remediation, Roster};
use assent_api::{facts, parse_plan};
use assent_tests::world::{SHOP, World, get};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Resource};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::planned_scale;

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).filter(|object| !object.is_null()).collect()
}

fn path(object: &Value) -> String {
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/apis/assent.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}"),
        None => format!("/apis/assent.dev/v1alpha1/{plural}/{name}"),
    }
}

/// All objects of a kind as our components read them: one that is not understood would hide the others.
async fn all<K>(client: &Client) -> usize
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    Api::<K>::all(client.clone()).list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{}: {error}", K::kind(&()))).items.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_the_first_version_stay_and_stand_in_nobodys_way() {
    let objects = documents(include_str!("../../data/first/objects.yaml"));
    let before = [documents(include_str!("../../data/first/definitions.yaml")), objects.clone()].concat();
    let world = World::start_over("upgrade", &before).await;
    let admin = &world.admin;
    for object in &objects {
        let now = get(admin, &path(object)).await.unwrap();
        // The Roster is the one that this cluster's operator applied with the upgrade.
        if object["kind"] != "Roster" {
            assert_eq!(now["metadata"]["generation"], 1, "{} was rewritten", path(object));
            let said = object["spec"].as_object().unwrap().iter().filter(|(key, value)| now["spec"][key] != **value);
            assert_eq!(said.map(|(key, _)| key).collect::<Vec<_>>(), Vec::<&String>::new(), "{}: {}", path(object), now["spec"]);
        }
        let patch = http::Request::patch(path(object)).header("content-type", "application/merge-patch+json");
        let labelled =
            assent_tests::world::send(admin, patch.body(json!({"metadata": {"labels": {"upgraded": "yes"}}}).to_string().into_bytes()).unwrap()).await;
        match object["kind"].as_str().unwrap() {
            // The record never changes.
            "Ballot" | "Decision" | "Remediation" => {
                let refusal = labelled.unwrap_err();
                assert!(refusal.contains("never change"), "{refusal}");
            }
            _ => drop(labelled.unwrap_or_else(|error| panic!("{} may not be written: {error}", path(object)))),
        }
    }
    let seen = [
        all::<Blueprint>(admin).await,
        all::<Incident>(admin).await,
        all::<Ballot>(admin).await,
        all::<Decision>(admin).await,
        all::<Remediation>(admin).await,
        all::<Pause>(admin).await,
        all::<Roster>(admin).await,
    ];
    assert_eq!(seen, [1; 7]);
    assert!(all::<Guardrail>(admin).await > 1, "the library's and the old one");

    // What the Blueprint meant it means.
    let blueprint = Api::<Blueprint>::namespaced(admin.clone(), SHOP).get("orders").await.unwrap();
    let effective = facts::blueprint(&blueprint, &[]).unwrap().effective;
    let tier = |name: &str| effective.classify(&assent_core::blueprint::Operation::named(name), assent_core::ids::UnixMillis(0)).tier.as_str();
    assert_eq!(["RollbackWorkload", "RestartWorkload", "delete_deployment"].map(tier), ["allowed", "forbidden", "forbidden"]);

    // A plan that was under way and is not understood admits nothing, and no new plan is refused for it.
    let old = Api::<Remediation>::namespaced(admin.clone(), SYSTEM_NAMESPACE).list(&ListParams::default()).await.unwrap().items.remove(0);
    assert!(parse_plan(&old).is_err(), "the ledger's chain of links became a tree");
    let operation = facts::operation(&old).expect("what was done is counted, whoever planned it");
    assert_eq!((operation.service.to_string().as_str(), operation.action.as_str(), operation.end), ("shop/orders", "ScaleWorkload", None));
    Api::<Pause>::namespaced(admin.clone(), SYSTEM_NAMESPACE).delete(PAUSE, &DeleteParams::default()).await.unwrap();
    let it = planned_scale(&world, "web", 4).await;
    world.apply_proposal(&it.incident, &it.proposal, None, false).await.unwrap();
    assert_eq!(world.read_deployment("web").await["spec"]["replicas"], 4);
    world.revert(&it.plan).await.unwrap();

    // Nobody rewrites it into one that is understood.
    let api: Api<Remediation> = Api::namespaced(admin.clone(), SYSTEM_NAMESPACE);
    let edit = Patch::Merge(json!({"spec": {"payload": "{}"}}));
    assert!(api.patch(old.metadata.name.as_deref().unwrap(), &PatchParams::default(), &edit).await.is_err());
}
