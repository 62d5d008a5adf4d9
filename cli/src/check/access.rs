//! Who, besides administrators, could put on one of our masks: become the executor's user or one of our accounts, mint their
//! tokens, run in or enter our namespace, or read its Secrets. Judged from the roles and bindings themselves, so that nobody
//! has to be asked by name.

use std::collections::BTreeMap;

use anyhow::Context as _;
use assent_api::names::{EXECUTOR_USER, SYSTEM_NAMESPACE, accounts};
use assent_core::workload::Kind;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::{Finding, Level, finding};

/// One role, held by somebody, over the whole cluster or in `assent-system`.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    subjects: Vec<Subject>,
    /// `ClusterRoleBinding NAME` or `RoleBinding NAME`.
    binding: String,
    rules: Vec<PolicyRule>,
    cluster_wide: bool,
}

/// A right that puts on a mask.
struct Right {
    /// As it completes "… can …".
    what: &'static str,
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    /// Without it, any name is enough.
    name: Option<&'static str>,
    /// Held over the whole cluster only; otherwise in our namespace is enough.
    cluster_only: bool,
}

const fn right(what: &'static str, group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { what, group, resource, verbs, name: None, cluster_only: false }
}

const RIGHTS: [Right; 20] = [
    Right { name: Some(EXECUTOR_USER), cluster_only: true, ..right("impersonate `assent:executor`", "", "users", &["impersonate"]) },
    Right { cluster_only: true, ..right("impersonate groups", "", "groups", &["impersonate"]) },
    right("impersonate the accounts in assent-system", "", "serviceaccounts", &["impersonate"]),
    right("mint tokens of the accounts in assent-system", "", "serviceaccounts/token", &["create"]),
    right("create pods in assent-system", "", "pods", &["create"]),
    right("enter pods in assent-system", "", "pods/exec", &["create", "get"]),
    right("attach to pods in assent-system", "", "pods/attach", &["create", "get"]),
    right("add containers to pods in assent-system", "", "pods/ephemeralcontainers", &["update", "patch"]),
    right("read Secrets in assent-system", "", "secrets", &["get", "list", "watch"]),
    right("change Secrets in assent-system", "", "secrets", &["update", "patch"]),
    right("create or change Deployments in assent-system", "apps", "deployments", &["create", "update", "patch"]),
    right("create or change DaemonSets in assent-system", "apps", "daemonsets", &["create", "update", "patch"]),
    right("create or change StatefulSets in assent-system", "apps", "statefulsets", &["create", "update", "patch"]),
    right("create or change ReplicaSets in assent-system", "apps", "replicasets", &["create", "update", "patch"]),
    right("create Jobs in assent-system", "batch", "jobs", &["create"]),
    right("create CronJobs in assent-system", "batch", "cronjobs", &["create", "update", "patch"]),
    right("create ReplicationControllers in assent-system", "", "replicationcontrollers", &["create", "update", "patch"]),
    right("give away rights in assent-system", "rbac.authorization.k8s.io", "roles", &["escalate", "bind"]),
    Right { cluster_only: true, ..right("give away any right", "rbac.authorization.k8s.io", "clusterroles", &["escalate", "bind"]) },
    Right { cluster_only: true, ..right("run commands through the kubelets", "", "nodes/proxy", &["get", "create"]) },
];

/// Reads roles and bindings.
pub(super) async fn read(client: &Client) -> anyhow::Result<Vec<Grant>> {
    let all = ListParams::default();
    let cluster_roles: BTreeMap<String, Vec<PolicyRule>> = {
        let list = Api::<ClusterRole>::all(client.clone()).list(&all).await.context("list ClusterRoles")?;
        list.into_iter().map(|role| (role.name_any(), role.rules.unwrap_or_default())).collect()
    };
    let roles: BTreeMap<String, Vec<PolicyRule>> = {
        let list = Api::<Role>::namespaced(client.clone(), SYSTEM_NAMESPACE).list(&all).await.context("list Roles")?;
        list.into_iter().map(|role| (role.name_any(), role.rules.unwrap_or_default())).collect()
    };
    let rules = |reference: &RoleRef| {
        let of = if reference.kind == "ClusterRole" { &cluster_roles } else { &roles };
        of.get(&reference.name).cloned().unwrap_or_default()
    };
    let wide = Api::<ClusterRoleBinding>::all(client.clone()).list(&all).await.context("list ClusterRoleBindings")?;
    let here = Api::<RoleBinding>::namespaced(client.clone(), SYSTEM_NAMESPACE).list(&all).await.context("list RoleBindings")?;
    let mut grants: Vec<Grant> = Vec::new();
    for binding in wide {
        let name = format!("ClusterRoleBinding `{}`", binding.name_any());
        grants.push(Grant { rules: rules(&binding.role_ref), subjects: binding.subjects.unwrap_or_default(), binding: name, cluster_wide: true });
    }
    for binding in here {
        let name = format!("RoleBinding `{}`", binding.name_any());
        grants.push(Grant { rules: rules(&binding.role_ref), subjects: binding.subjects.unwrap_or_default(), binding: name, cluster_wide: false });
    }
    Ok(grants)
}

/// What is wrong with them.
pub(super) fn findings(grants: &[Grant]) -> Vec<Finding> {
    let mut wrong: BTreeMap<(String, String), Vec<&'static str>> = BTreeMap::new();
    for grant in grants.iter().filter(|grant| !grant.is_everything()) {
        for right in RIGHTS.iter().filter(|right| grant.gives(right)) {
            for subject in grant.subjects.iter().filter(|subject| !is_expected(subject, right)) {
                wrong.entry((who(subject), grant.binding.clone())).or_default().push(right.what);
            }
        }
    }
    if wrong.is_empty() {
        return vec![finding("access", Level::Good, "only administrators can act as the executor or as a seat")];
    }
    wrong.into_iter().map(|((who, binding), what)| finding("access", Level::Wrong, format!("{who} can {} ({binding})", what.join(", ")))).collect()
}

// === impl Grant ===

impl Grant {
    /// Whoever may do everything in the cluster is an administrator.
    fn is_everything(&self) -> bool {
        let star = |list: Option<&Vec<String>>| list.is_some_and(|list| list.iter().any(|word| word == "*"));
        self.cluster_wide && self.rules.iter().any(|rule| star(Some(&rule.verbs)) && star(rule.resources.as_ref()) && star(rule.api_groups.as_ref()))
    }

    fn gives(&self, right: &Right) -> bool {
        if right.cluster_only && !self.cluster_wide {
            return false;
        }
        self.rules.iter().any(|rule| {
            let group = contains(rule.api_groups.as_deref(), right.group);
            let verb = right.verbs.iter().any(|verb| contains(Some(&rule.verbs), verb));
            let names = rule.resource_names.as_deref().unwrap_or_default();
            // A rule for names of its own is about other objects, unless ours is among them or any would do.
            let named = names.is_empty() || right.name.is_none_or(|name| names.iter().any(|listed| listed == name));
            group && verb && named && resource(rule.resources.as_deref(), right.resource)
        })
    }
}

fn contains(list: Option<&[String]>, word: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|listed| listed == word || listed == "*"))
}

/// As the authorizer: `*`, the resource itself, or `*/SUB` for a sub-resource.
fn resource(list: Option<&[String]>, wanted: &str) -> bool {
    let any_of_sub = wanted.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    list.is_some_and(|list| list.iter().any(|listed| listed == wanted || listed == "*" || Some(listed) == any_of_sub.as_ref()))
}

/// Kubernetes' own parts, which could do anything anyway, and those of ours that hold exactly this.
fn is_expected(subject: &Subject, right: &Right) -> bool {
    match (subject.kind.as_str(), subject.namespace.as_deref()) {
        ("ServiceAccount", Some("kube-system")) => true,
        ("ServiceAccount", Some(SYSTEM_NAMESPACE)) => {
            (subject.name == accounts::EXECUTOR && right.name == Some(EXECUTOR_USER))
                // The one Secret with the workload CA, which a rotation changes.
                || (subject.name == accounts::IDENTITY && right.resource == "secrets")
        }
        // The native policy keeps it out of our namespace, and is checked beside this.
        ("User", _) if subject.name == EXECUTOR_USER => Kind::ALL.iter().any(|kind| kind.resource() == right.resource),
        ("User", _) => subject.name.starts_with("system:kube-") || subject.name == "system:admin",
        ("Group", _) => subject.name == "system:masters",
        _ => false,
    }
}

fn who(subject: &Subject) -> String {
    match &subject.namespace {
        Some(namespace) if subject.kind == "ServiceAccount" => format!("ServiceAccount `{namespace}/{}`", subject.name),
        _ => format!("{} `{}`", subject.kind, subject.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(kind: &str, name: &str, rules: &str, cluster_wide: bool) -> Grant {
        let subject = Subject { kind: kind.into(), name: name.into(), namespace: (kind == "ServiceAccount").then(|| "ci".into()), ..Subject::default() };
        Grant { subjects: vec![subject], binding: "ClusterRoleBinding `b`".into(), rules: serde_json::from_str(rules).unwrap(), cluster_wide }
    }

    fn words(grant: Grant) -> String {
        findings(&[grant]).iter().map(|finding| format!("{:?} {}", finding.level, finding.text)).collect()
    }

    #[test]
    fn every_mask_is_found_and_administrators_are_not_accused() {
        let everything = r#"[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]"#;
        assert!(words(grant("User", "root", everything, true)).starts_with("Good"));
        let here = words(grant("User", "jane", everything, false));
        assert!(here.contains("mint tokens") && here.contains("read Secrets") && !here.contains("assent:executor"), "{here}");
        for (rules, what) in [
            (r#"[{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"]}]"#, "impersonate `assent:executor`"),
            (r#"[{"apiGroups":[""],"resources":["users"],"resourceNames":["assent:executor"],"verbs":["*"]}]"#, "impersonate `assent:executor`"),
            (r#"[{"apiGroups":[""],"resources":["*/token"],"verbs":["create"]}]"#, "mint tokens"),
            (r#"[{"apiGroups":[""],"resources":["pods/exec"],"verbs":["get"]}]"#, "enter pods"),
            (r#"[{"apiGroups":[""],"resources":["secrets"],"resourceNames":["assent-gate-ca"],"verbs":["get"]}]"#, "read Secrets"),
        ] {
            let found = words(grant("ServiceAccount", "deployer", rules, true));
            assert!(found.contains(what) && found.contains("`ci/deployer`"), "{rules}: {found}");
        }
        let another = r#"[{"apiGroups":[""],"resources":["users"],"resourceNames":["bob"],"verbs":["impersonate"]},{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]"#;
        assert!(words(grant("User", "jane", another, true)).starts_with("Good"));
    }
}
