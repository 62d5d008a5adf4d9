//! The manifests of this version, carried inside the plugin so that one file installs everything. A test compares the table
//! with the folder.

/// One manifest: its path below `manifests/`, and its text.
type File = (&'static str, &'static str);

macro_rules! manifests {
    ($($path:literal),* $(,)?) => {
        /// Every file of `manifests/` that an overlay needs.
        pub const FILES: &[File] = &[$(($path, include_str!(concat!("../../manifests/", $path)))),*];
    };
}

manifests![
    "base/namespace/kustomization.yaml",
    "base/namespace/namespace.yaml",
    "base/namespace/network.yaml",
    "base/namespace/people.yaml",
    "base/policies/approvals.yaml",
    "base/policies/ballots.yaml",
    "base/policies/copies.yaml",
    "base/policies/executor-limits.yaml",
    "base/policies/gate-protection.yaml",
    "base/policies/kustomization.yaml",
    "base/policies/sidecar-image.yaml",
    "base/protection/binding.yaml",
    "base/protection/kustomization.yaml",
    "base/identity/kustomization.yaml",
    "base/identity/network.yaml",
    "base/identity/rbac.yaml",
    "base/identity/workload.yaml",
    "base/discovery/kustomization.yaml",
    "base/discovery/network.yaml",
    "base/discovery/rbac.yaml",
    "base/discovery/workload.yaml",
    "base/gate/configuration.yaml",
    "base/gate/kustomization.yaml",
    "base/gate/network.yaml",
    "base/gate/rbac.yaml",
    "base/gate/workload.yaml",
    "base/gate/disruption.yaml",
    "base/injector/configuration.yaml",
    "base/injector/kustomization.yaml",
    "base/injector/network.yaml",
    "base/injector/rbac.yaml",
    "base/injector/workload.yaml",
    "base/director/kustomization.yaml",
    "base/director/network.yaml",
    "base/director/rbac.yaml",
    "base/director/workload.yaml",
    "base/executor/kustomization.yaml",
    "base/executor/network.yaml",
    "base/executor/rbac.yaml",
    "base/executor/workload.yaml",
    "base/scanner/kustomization.yaml",
    "base/scanner/network.yaml",
    "base/scanner/rbac.yaml",
    "base/scanner/workload.yaml",
    "base/specialists/kustomization.yaml",
    "base/specialists/network.yaml",
    "base/specialists/rbac.yaml",
    "base/specialists/seat-change.yaml",
    "base/specialists/seat-compute.yaml",
    "base/specialists/seat-database.yaml",
    "base/specialists/seat-network.yaml",
];

/// What an overlay needs where logs are read from the API server.
pub(crate) const POD_LOGS: [File; 2] = [
    ("optional/pod-logs/kustomization.yaml", include_str!("../../manifests/optional/pod-logs/kustomization.yaml")),
    ("optional/pod-logs/rbac.yaml", include_str!("../../manifests/optional/pod-logs/rbac.yaml")),
];

/// What an overlay needs where edits of ConfigMaps can be undone.
pub(crate) const KEPT_CONFIGURATION: [File; 2] = [
    ("optional/kept-configuration/kustomization.yaml", include_str!("../../manifests/optional/kept-configuration/kustomization.yaml")),
    ("optional/kept-configuration/rbac.yaml", include_str!("../../manifests/optional/kept-configuration/rbac.yaml")),
];

macro_rules! guardrails {
    ($($name:literal),* $(,)?) => {
        /// Every guardrail of the library with its binding: its file below `base/guardrails/`, and its text.
        pub const GUARDRAILS: &[File] = &[$((concat!($name, ".yaml"), include_str!(concat!("../../policies/library/", $name, ".yaml")))),*];
    };
}

guardrails![
    "autoscaler-owned",
    "control-plane-namespaces",
    "cordon-cap",
    "data-stays",
    "disruption-budget",
    "evictions",
    "forbidden-kinds",
    "free-target",
    "freeze-window",
    "gitops-owned",
    "guards-stay",
    "image-digest",
    "known-images",
    "known-writes",
    "last-replica",
    "metadata-stays",
    "modelled-strategies",
    "needs-person",
    "no-host-access",
    "no-latest-image",
    "no-new-capabilities",
    "no-new-privilege",
    "no-new-secrets",
    "node-writes",
    "one-writer",
    "paused-rollout",
    "pod-isolation",
    "probes-stay",
    "quota-headroom",
    "rate-limit",
    "resource-steps",
    "restart-storm",
    "rollout-settled",
    "same-repository",
    "same-service-account",
    "scale-step",
    "scheduling-stays",
    "selectors-stay",
    "system-namespaces",
    "traffic-shift",
];

/// The kustomization over [`GUARDRAILS`].
pub(crate) fn guardrails_kustomization() -> String {
    let resources: String = GUARDRAILS.iter().map(|(file, _)| format!("  - {file}\n")).collect();
    format!(
        "# What no repair may do, whatever the seats vote. Take out a line and its guardrail is not installed.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}"
    )
}

/// The text of a file in the table.
pub(crate) fn text(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn walk(at: &Path, below: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, below, found);
            } else {
                found.push(path.strip_prefix(below).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn the_table_is_the_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        let mut found = Vec::new();
        walk(&root.join("base"), &root, &mut found);
        found.sort();
        let mut known: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        known.sort();
        assert_eq!(known, found);
    }

    #[test]
    fn every_guardrail_of_the_library_is_carried() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/library");
        let mut found = Vec::new();
        walk(&folder, &folder, &mut found);
        found.retain(|name| name != "given.yaml" && !name.ends_with(".cases.yaml"));
        found.sort();
        assert_eq!(GUARDRAILS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), found);
    }
}
