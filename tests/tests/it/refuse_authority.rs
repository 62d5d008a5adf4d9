//! Attacks on authority: pause, Blueprint, guardrails, roster, and the gate's own configuration.

use assent_api::resources::{Blueprint, ClusterBlueprint, Guardrail, GuardrailBinding, Pause, PauseSpec, Roster};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{planned, refused, refused_natively, voted_scale};
use assent_tests::world::{World, apply, send};

async fn pause(world: &World) {
    let api: Api<Pause> = Api::namespaced(world.admin.clone(), "assent-system");
    let mut pause = Pause::new("all", PauseSpec { reason: "drill".into() });
    pause.metadata.namespace = Some("assent-system".into());
    api.create(&PostParams::default(), &pause).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_applies_but_not_an_owed_revert() {
    let world = World::start("authority").await;
    let it = planned(&world).await;
    let late = voted_scale(&world, "web", 3).await;
    pause(&world).await;
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "paused");
    refused(world.submit(&late.plan).await, "paused");
    // Only people lift it.
    let api: Api<Pause> = Api::namespaced(world.admin.clone(), "assent-system");
    for account in ["assent-director", "assent-executor"] {
        let own: Api<Pause> = Api::namespaced(world.account(account).await, "assent-system");
        refused_natively(own.delete("all", &DeleteParams::default()).await, "forbidden");
    }
    api.delete("all", &DeleteParams::default()).await.unwrap();
    world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await.unwrap();
    pause(&world).await;
    world.revert(&it.plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blueprint_changed_in_mid_flight_holds_for_later_incidents_only() {
    let world = World::start("authority").await;
    let it = planned(&world).await;
    let api: Api<Blueprint> = Api::namespaced(world.admin.clone(), "shop");
    let mode = |mode: &str| Patch::Merge(json!({"spec": {"mode": mode}}));
    api.patch("orders", &PatchParams::default(), &mode("observe")).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "blueprint");
    // Widened again, but after the vote began.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    api.patch("orders", &PatchParams::default(), &mode("autonomous")).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "authority");
    // Assent widens nothing itself.
    for account in ["assent-director", "assent-executor", "assent-seat-change"] {
        let own: Api<Blueprint> = Api::namespaced(world.account(account).await, "shop");
        refused_natively(own.patch("orders", &PatchParams::default(), &mode("autonomous")).await, "forbidden");
    }
    api.delete("orders", &DeleteParams::default()).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "blueprint");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blueprint_that_makes_no_sense_is_refused_with_the_reason() {
    let world = World::start("authority").await;
    let post = async |spec: serde_json::Value| {
        let blueprint: Blueprint =
            serde_json::from_value(json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": "b"}, "spec": spec})).unwrap();
        Api::<Blueprint>::namespaced(world.admin.clone(), "shop").create(&PostParams::default(), &blueprint).await
    };
    refused(post(json!({"target": {"kind": "Deployment", "name": "x"}, "actions": [{"name": "DeleteEverything"}]})).await, "blueprint");
    refused(post(json!({"target": {"kind": "ReplicaSet", "name": "x"}})).await, "blueprint");
    refused(post(json!({"target": {"kind": "Deployment", "name": "x"}, "limits": {"minReplicas": 5, "maxReplicas": 2}})).await, "blueprint");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_above_a_blueprint_only_tightens_it_and_stays_while_anybody_votes() {
    let world = World::start("above").await;
    let above: Api<ClusterBlueprint> = Api::all(world.admin.clone());
    let most = |replicas: u32| json!({"apiVersion": "assent.dev/v1alpha1", "kind": "ClusterBlueprint", "metadata": {"name": "all"}, "spec": {"limits": {"maxReplicas": replicas}}});
    apply(&world.admin, &most(3)).await;
    // What is in the same second as the vote is not before it.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let wide = voted_scale(&world, "web", 4).await;
    refused(world.submit(&wide.plan).await, "blueprint");
    let narrow = voted_scale(&world, "cart", 3).await;
    refused(above.delete("all", &DeleteParams::default()).await, "authority");
    world.submit(&narrow.plan).await.unwrap();
    let wider = Patch::Merge(json!({"spec": {"limits": {"maxReplicas": 9}}}));
    above.patch("all", &PatchParams::default(), &wider).await.unwrap();
    refused(world.apply_proposal(&narrow.incident, &narrow.proposal, None, false).await, "authority");
    let nonsense = Patch::Merge(json!({"spec": {"limits": {"minReplicas": 10}}}));
    refused(above.patch("all", &PatchParams::default(), &nonsense).await, "blueprint");
    for account in ["assent-director", "assent-executor", "assent-gate"] {
        let own: Api<ClusterBlueprint> = Api::all(world.account(account).await);
        refused_natively(own.patch("all", &PatchParams::default(), &wider).await, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardrail_denies_with_its_own_words_and_pins_the_set() {
    let world = World::start("authority").await;
    let rule = |expression: &str| {
        json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": "only-two"},
            "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}]},
                "validations": [{"expression": expression, "message": "one container, always"}]}
        })
    };
    let binding = |action: &str| {
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailBinding", "metadata": {"name": "only-two"},
            "spec": {"policyName": "only-two", "validationActions": [action]}})
    };
    apply(&world.admin, &rule("size(object.spec.template.spec.containers) == 2")).await;
    apply(&world.admin, &binding("Deny")).await;
    // What is in the same second as the vote is not before it.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let it = planned(&world).await;
    let refusal = world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await;
    assert!(refusal.as_ref().is_err_and(|words| words.contains("one container, always")), "{refusal:?}");
    refused(refusal, "guardrail");
    // A set that would allow it is still not the set that the plan was made under.
    apply(&world.admin, &rule("size(object.spec.template.spec.containers) == 1")).await;
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "authority");
    let broken: Guardrail = serde_json::from_value(
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": "broken"}, "spec": {"validations": [{"expression": "1 +"}]}}),
    )
    .unwrap();
    refused(Api::<Guardrail>::all(world.admin.clone()).create(&PostParams::default(), &broken).await, "guardrail");
    let bindings: Api<GuardrailBinding> = Api::all(world.admin.clone());
    for spec in [
        json!({"policyName": "only-two", "validationActions": []}),
        json!({"policyName": "only-two", "validationActions": ["Deny"], "paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}}),
    ] {
        let lax = json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailBinding", "metadata": {"name": "lax"}, "spec": spec});
        refused(bindings.create(&PostParams::default(), &serde_json::from_value(lax).unwrap()).await, "guardrail");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardrail_asks_the_servers_own_authorizer() {
    let world = World::start("authorizer").await;
    let check = |verb: &str| {
        format!(
            "authorizer.group('apps').resource('deployments').subresource('scale').namespace(request.namespace).name(request.name).check('{verb}').allowed()"
        )
    };
    // The executor's user may update a scale and nothing else; the second is asked of a service account that may not.
    let holds = format!("{} && !authorizer.serviceAccount('shop', 'default').path('/healthz').check('delete').allowed()", check("update"));
    for (name, target, expression) in [("may", "web", holds), ("may-not", "cart", check("delete"))] {
        let spec = json!({
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"], "resourceNames": [target]}]},
            "validations": [{"expression": expression, "message": "the authorizer says no"}]
        });
        apply(&world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": name}, "spec": spec})).await;
        let binding = json!({"policyName": name, "validationActions": ["Deny"]});
        apply(&world.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "GuardrailBinding", "metadata": {"name": name}, "spec": binding})).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let may = voted_scale(&world, "web", 3).await;
    world.submit(&may.plan).await.unwrap();
    world.apply_proposal(&may.incident, &may.proposal, None, false).await.unwrap();
    let may_not = voted_scale(&world, "cart", 3).await;
    world.submit(&may_not.plan).await.unwrap();
    let refusal = world.apply_proposal(&may_not.incident, &may_not.proposal, None, false).await;
    assert!(refusal.as_ref().is_err_and(|words| words.contains("the authorizer says no")), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_people_change_the_roster_and_only_to_a_sound_one() {
    let world = World::start("authority").await;
    let api: Api<Roster> = Api::all(world.admin.clone());
    let patch = |value: serde_json::Value| Patch::Merge(value);
    refused(api.patch("default", &PatchParams::default(), &patch(json!({"spec": {"quorum": 2}}))).await, "no-roster");
    refused_natively(api.patch("default", &PatchParams::default(), &patch(json!({"spec": {"supporters": 1}}))).await, "greater than or equal to 2");
    for account in ["assent-director", "assent-executor", "assent-seat-network", "assent-gate"] {
        let own: Api<Roster> = Api::all(world.account(account).await);
        refused_natively(own.patch("default", &PatchParams::default(), &patch(json!({"spec": {"quorum": 4}}))).await, "forbidden");
    }
    // A changed roster voids the votes cast under the old one.
    let it = planned(&world).await;
    api.patch("default", &PatchParams::default(), &patch(json!({"spec": {"quorum": 4}}))).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "authority");
    api.delete("default", &DeleteParams::default()).await.unwrap();
    refused(world.apply_proposal(&it.incident, &it.proposal, Some(&it.good), false).await, "no-roster");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gates_configuration_is_neither_edited_nor_deleted() {
    let world = World::start("authority").await;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(world.admin.clone());
    refused_natively(api.delete("assent-gate", &DeleteParams::default()).await, "is never deleted");
    refused_natively(api.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await.map(|_| ()), "is never deleted");
    let patch = async |path: &str, value: &str| {
        let body = serde_json::to_vec(&json!([{"op": "replace", "path": path, "value": value}])).unwrap();
        let uri = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/assent-gate";
        let request = http::Request::patch(uri).header("Content-Type", "application/json-patch+json").body(body).unwrap();
        send(&world.admin, request).await
    };
    refused_natively(patch("/webhooks/0/failurePolicy", "Ignore").await, "only `caBundle` may change");
    patch("/webhooks/0/clientConfig/caBundle", "").await.unwrap();
}
