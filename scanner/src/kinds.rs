//! The kinds whose objects are judged: one row per kind. A row needs its `list` in `manifests/base/scanner/rbac.yaml`, which a
//! test compares with this table. There are no Secrets and no ConfigMaps in it, and no wildcard.

/// One kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version that is read.
    pub version: &'static str,
    /// Plural.
    pub resource: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

const fn namespaced(group: &'static str, version: &'static str, resource: &'static str, kind: &'static str) -> Kind {
    Kind { group, version, resource, kind, namespaced: true }
}

const fn cluster(group: &'static str, version: &'static str, resource: &'static str, kind: &'static str) -> Kind {
    Kind { group, version, resource, kind, namespaced: false }
}

/// Every kind, in the order in which the objects of a namespace are judged. ReplicaSets are not among them: those of old revisions
/// would fail until they are forgotten, and the Deployment says the same.
pub const KINDS: &[Kind] = &[
    namespaced("apps", "v1", "deployments", "Deployment"),
    namespaced("apps", "v1", "statefulsets", "StatefulSet"),
    namespaced("apps", "v1", "daemonsets", "DaemonSet"),
    namespaced("batch", "v1", "cronjobs", "CronJob"),
    namespaced("batch", "v1", "jobs", "Job"),
    namespaced("", "v1", "replicationcontrollers", "ReplicationController"),
    namespaced("", "v1", "pods", "Pod"),
    namespaced("", "v1", "services", "Service"),
    namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    namespaced("", "v1", "resourcequotas", "ResourceQuota"),
    namespaced("", "v1", "limitranges", "LimitRange"),
    namespaced("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    namespaced("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    namespaced("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    namespaced("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
    cluster("", "v1", "namespaces", "Namespace"),
    cluster("", "v1", "nodes", "Node"),
];

// === impl Kind ===

impl Kind {
    /// Group and version as they stand in an object.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Where all objects of the kind are listed.
    #[must_use]
    pub fn path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}/{}", self.version, self.resource)
        } else {
            format!("/apis/{}/{}/{}", self.group, self.version, self.resource)
        }
    }
}
