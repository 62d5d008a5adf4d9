//! People in a test's cluster: who they are is what the API server authenticates, here by impersonation with an
//! administrator's right to it.

use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Approval, ApprovalRequest, ApprovalRequestSpec, ApprovalRule, ApprovalSpec, Verdict};
use assent_core::ballot::Proposal;
use assent_core::ids::IncidentUid;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::world::{SHOP, World, apply, send, shipped};

/// Somebody, and the groups that the API server knows them in.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// For example `alice`.
    pub user: &'a str,
    /// For example `oncall`.
    pub groups: &'a [&'a str],
}

// === impl World ===

impl World {
    /// A Blueprint that asks `count` of `approvers` before everything.
    pub async fn asking_blueprint(&self, name: &str, approvers: &[&str], count: u32) {
        let spec = json!({
            "target": {"kind": "Deployment", "name": name}, "mode": "approve", "limits": {"maxReplicas": 5},
            "operations": {"allowed": ["RollbackWorkload", "RestartWorkload", "ScaleWorkload"], "approvers": approvers, "count": count},
        });
        apply(&self.admin, &json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Blueprint", "metadata": {"name": name, "namespace": SHOP}, "spec": spec}))
            .await;
    }

    /// The shipped roles of whoever approves.
    pub(crate) async fn approvers(&self) {
        for role in shipped(&["namespace/people.yaml"]).iter().filter(|object| object["metadata"]["name"] == "assent-approver") {
            apply(&self.admin, role).await;
        }
    }

    /// Lets a group approve in the shop, and answer where requests live.
    pub async fn let_approve(&self, group: &str) {
        self.approvers().await;
        let subjects = json!([{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}]);
        for (namespace, kind) in [(SHOP, "ClusterRole"), (SYSTEM_NAMESPACE, "Role")] {
            let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "assent-approver"});
            let metadata = json!({"name": format!("approvers-{group}"), "namespace": namespace});
            let binding =
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects});
            apply(&self.admin, &binding).await;
        }
    }

    /// What an honest executor asks about `proposal`.
    #[must_use]
    pub fn request(&self, incident: &IncidentUid, proposal: &Proposal, approvers: &[&str], count: u32, seconds: u32) -> ApprovalRequest {
        let mut spec = ApprovalRequestSpec::of(incident, 1, proposal, seconds).unwrap();
        spec.approvals = vec![ApprovalRule { approvers: approvers.iter().map(|name| (*name).to_owned()).collect(), count }];
        ApprovalRequest::named(&self.cluster_uid, spec).unwrap()
    }

    /// Stores it as the executor.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn ask(&self, request: &ApprovalRequest) -> Result<ApprovalRequest, kube::Error> {
        Api::namespaced(self.executor.clone(), SYSTEM_NAMESPACE).create(&PostParams::default(), request).await
    }

    /// What `person` would say.
    #[must_use]
    pub fn word(&self, person: Person<'_>, request: &ApprovalRequest, verdict: Verdict) -> Approval {
        let spec = ApprovalSpec {
            request: request.name_any(),
            change: request.spec.change.clone(),
            verdict,
            user: person.user.into(),
            groups: person.groups.iter().map(|group| (*group).to_owned()).collect(),
            comment: String::new(),
            slack: None,
        };
        Approval::named(spec).unwrap()
    }

    /// Creates `word` with the credentials of `person`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn says(&self, person: Person<'_>, word: &Approval) -> Result<Value, String> {
        self.acts(person, "POST", &format!("/apis/assent.dev/v1alpha1/namespaces/{SYSTEM_NAMESPACE}/approvals"), word).await
    }

    /// Any request with the credentials of `person`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn acts(&self, person: Person<'_>, method: &str, path: &str, body: &impl serde::Serialize) -> Result<Value, String> {
        let mut request = http::Request::builder().method(method).uri(path).header("Content-Type", "application/json").header("Impersonate-User", person.user);
        for group in person.groups {
            request = request.header("Impersonate-Group", *group);
        }
        send(&self.admin, request.body(serde_json::to_vec(body).unwrap()).unwrap()).await
    }
}
