//! A guardrail that cannot be right for what it speaks of is refused when it is written, by what the server itself describes.

use assent_api::resources::Guardrail;
use assent_tests::world::World;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_guardrail_that_names_an_unknown_field_is_refused_with_what_was_meant() {
    let world = World::start("types").await;
    let guardrails: Api<Guardrail> = Api::all(world.admin.clone());
    let guardrail = |name: &str, resource: &str, expression: &str| -> Guardrail {
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": [resource], "operations": ["UPDATE"]});
        let spec = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]});
        serde_json::from_value::<Guardrail>(json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Guardrail", "metadata": {"name": name}, "spec": spec}))
            .unwrap()
    };
    let wrong = guardrails.create(&PostParams::default(), &guardrail("wrong", "deployments", "object.spec.replica < 5")).await;
    let words = wrong.unwrap_err().to_string();
    assert!(words.contains("assent[guardrail]") && words.contains("no field `replica` in Deployment.spec") && words.contains("`replicas`"), "{words}");
    // The second time by what was kept.
    let wrong = guardrails.create(&PostParams::default(), &guardrail("wrong", "statefulsets", "object.spec.replica < 5")).await;
    assert!(wrong.unwrap_err().to_string().contains("in StatefulSet.spec"));
    guardrails.create(&PostParams::default(), &guardrail("right", "deployments", "object.spec.replicas < 5")).await.unwrap();
    // What nobody describes cannot be checked, and may be written.
    guardrails.create(&PostParams::default(), &guardrail("unknown", "gadgets", "object.spec.replica < 5")).await.unwrap();
}
