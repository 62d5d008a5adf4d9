//! Whether the gate stands, asked before the first write of an incident: its configuration is the one that the roster pins,
//! the native policies are bound, and a write without proof is refused for exactly that reason. Any other answer means that
//! nothing may be written; it says nothing about whether the write would be right.

use assent_api::{gate, names};
use assent_core::action::Part;
use assent_core::consensus::Roster;
use assent_core::ids::IncidentUid;
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::Target;
use assent_live::{Live, plain_names, scale_of, unavailable};
use serde_json::Value;

use crate::writes::{Answer, Step, Writer, code, denied};

/// The native policies behind the gate; each has a binding of its own name.
const POLICIES: [&str; 3] = ["assent-ballots", "assent-gate-protection", "assent-executor-limits"];
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// Whether the gate would refuse an unproven write to this workload. Names and uid of `workload` are those of `target`.
pub(crate) async fn check(live: &Live, roster: &Roster, target: &Target, workload: &Value) -> Result<(), Refusal> {
    configuration(live, roster).await?;
    for policy in POLICIES {
        native_policy(live, policy).await?;
    }
    challenge(live, target, workload).await
}

async fn configuration(live: &Live, roster: &Roster) -> Result<(), Refusal> {
    let path = format!("{ADMISSION}/validatingwebhookconfigurations/{}", names::GATE_CONFIGURATION);
    let found = live.object(&path).await?.ok_or_else(|| refuse("the gate's webhook configuration does not exist"))?;
    let digest = gate::configuration_digest(&found).map_err(|error| refuse(format!("the gate's webhook configuration has no digest: {error}")))?;
    if digest != roster.gate {
        return Err(refuse(format!("the gate's webhook configuration has digest {:.12}, and the roster pins {:.12}", digest.as_str(), roster.gate.as_str())));
    }
    Ok(())
}

async fn native_policy(live: &Live, name: &str) -> Result<(), Refusal> {
    let policy = live.object(&format!("{ADMISSION}/validatingadmissionpolicies/{name}")).await?;
    let policy = policy.ok_or_else(|| refuse(format!("the native policy `{name}` does not exist")))?;
    let binding = live.object(&format!("{ADMISSION}/validatingadmissionpolicybindings/{name}")).await?;
    let binding = binding.ok_or_else(|| refuse(format!("the native policy `{name}` is not bound")))?;
    enforced(name, &policy, &binding).map_err(refuse)
}

/// The policy fails closed, and its binding denies everywhere.
fn enforced(name: &str, policy: &Value, binding: &Value) -> Result<(), String> {
    if policy.pointer("/spec/failurePolicy").and_then(Value::as_str).is_some_and(|failure| failure != "Fail") {
        return Err(format!("the native policy `{name}` fails open"));
    }
    let denies = binding.pointer("/spec/validationActions").and_then(Value::as_array);
    let denies = denies.is_some_and(|actions| actions.iter().any(|action| action == "Deny"));
    if binding.pointer("/spec/policyName").and_then(Value::as_str) != Some(name) || !denies {
        return Err(format!("the binding `{name}` does not make its policy deny"));
    }
    // The API server defaults an absent selector to an empty one; anything in it narrows the policy.
    let narrowed = binding.pointer("/spec/matchResources").and_then(Value::as_object);
    let narrowed = narrowed.is_some_and(|fields| fields.iter().any(|(key, value)| key != "matchPolicy" && value.as_object().is_none_or(|v| !v.is_empty())));
    if narrowed || binding.pointer("/spec/paramRef").is_some_and(|reference| !reference.is_null()) {
        return Err(format!("the binding `{name}` holds only in part"));
    }
    Ok(())
}

/// By dry run, the target as it is, for an incident that does not exist.
async fn challenge(live: &Live, target: &Target, workload: &Value) -> Result<(), Refusal> {
    let incident = IncidentUid::try_from(uuid::Uuid::now_v7().to_string()).map_err(unavailable)?;
    let writer = Writer { client: live.client(), incident: &incident };
    let kind = plain_names(target)?;
    let (subresource, object) = if kind.is_scaled() { (Part::SCALE, scale_of(workload)) } else { ("", workload.clone()) };
    match writer.send_to(&Part { subresource, roots: &[] }.of(kind), (&target.namespace, &target.name), &object, Step::Challenge).await {
        Answer::Refused(message) if message.contains(&code(Rule::NoPlan)) => Ok(()),
        Answer::Done(_) => Err(refuse("a write without proof was let through")),
        // The workload moved between our read and the challenge; that is no answer of the gate.
        Answer::Changed(message) | Answer::Transient(message) | Answer::Unheard(message) => {
            Err(unavailable(format!("no verdict on a write without proof: {message:.300}")))
        }
        // Native policies are asked before the gate, so nothing is known of it; but what refuses this refuses the write as well.
        Answer::Refused(message) => Err(denied("before the gate was asked, the write", &message)),
    }
}

fn refuse(reason: impl Into<String>) -> Refusal {
    Refusal::new(Rule::GateConfiguration, reason, "the gate as it was installed, which refuses a write without proof")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_must_fail_closed_and_deny_everywhere() {
        let policy = json!({"spec": {"failurePolicy": "Fail"}});
        let binding = json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}});
        assert_eq!(enforced("p", &policy, &binding), Ok(()));
        let defaulted = json!({"spec": {"policyName": "p", "validationActions": ["Deny"], "matchResources": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}}});
        assert_eq!(enforced("p", &policy, &defaulted), Ok(()));
        assert!(enforced("p", &json!({"spec": {"failurePolicy": "Ignore"}}), &binding).is_err());
        for spec in [
            json!({"policyName": "q", "validationActions": ["Deny"]}),
            json!({"policyName": "p", "validationActions": ["Audit", "Warn"]}),
            json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"name": "x"}}),
            json!({"policyName": "p", "validationActions": ["Deny"], "matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}),
            json!({"policyName": "p", "validationActions": ["Deny"], "matchResources": {"excludeResourceRules": [{"resources": ["*"]}]}}),
        ] {
            assert!(enforced("p", &policy, &json!({"spec": spec})).is_err(), "{spec}");
        }
    }
}
