//! What Assent's processes cost and what they use: resident memory from the kernel, verbs from the API server's audit log
//! against the roles they were given.

use std::collections::BTreeSet;
use std::path::PathBuf;

use assent_cluster::Node;
use serde_json::Value;

use crate::world::shipped;

/// Resident memory of one process.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of the program.
    pub process: String,
    /// Resident set, rounded up.
    pub megabytes: u64,
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} MB", self.process, self.megabytes)
    }
}

/// Programs of ours that run in pods of `node`: name and folder in `/proc`.
fn programs(node: &Node) -> Vec<(String, PathBuf)> {
    let root = node.dir().display().to_string();
    let mut programs = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let command = read("cmdline");
        // Programs in pods are named by their path in the image; those of other nodes have another root.
        if command.starts_with("/assent-") && !command.starts_with("/assent-shop") && read("mountinfo").contains(&root) {
            programs.push((command.split('\0').next().unwrap_or_default().trim_start_matches('/').to_owned(), entry.path()));
        }
    }
    programs
}

/// Kills (`kill -9`) every process of this program in `node`; returns how many.
pub fn kill(node: &Node, program: &str) -> usize {
    let victims: Vec<PathBuf> = programs(node).into_iter().filter(|(name, _)| name == program).map(|(_, path)| path).collect();
    for path in &victims {
        let pid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // One that has just ended by itself is as dead as it should be.
        let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    victims.len()
}

/// How often the executor's user changed a workload for this incident, as the API server recorded it.
pub fn writes(log: &str, incident: &str) -> usize {
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let written = events.filter(|event| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        text("/impersonatedUser/username") == "assent:executor"
            && text("/verb") == "update"
            && text("/stage") == "ResponseComplete"
            && event.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(200)
            && !text("/requestURI").contains("dryRun")
            && event.pointer("/impersonatedUser/extra").is_some_and(|extra| extra.to_string().contains(incident))
    });
    written.count()
}

/// Every process of ours that runs in a pod of `node`, by its resident set in `/proc`.
pub async fn memory(node: &Node) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (program, path) in programs(node) {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        figures.push(Figure { process: program, megabytes: kilobytes.unwrap_or(u64::MAX / 2048).div_ceil(1024) });
    }
    figures.sort_by_key(|figure| figure.process.clone());
    figures
}

/// Grants that a test of minutes or the API server's log cannot show in use: account; verb, resource or both; and why.
const RARE: &[(&str, &str, &str)] = &[
    ("assent-director", "delete", "the cleaner, a day after a revert's deadline"),
    ("assent-director", "/decisions/", "reading a Decision that exists already, after a crash"),
    ("assent-director", "/leases/", "the audit policy leaves leases out"),
    ("assent-injector", "/events/", "a pod without its sidecar"),
    ("assent-identity", "/configmaps/", "a namespace whose bundle is absent or was edited"),
    ("assent-identity", "/secrets/", "a first start without an issuer"),
    ("assent-scanner", "list", "objects are listed while a guardrail is bound; a test of the scanner shows every grant in use"),
    ("assent-scanner", "/namespaces/", "as above"),
    ("assent-scanner", "/status", "written where there is a guardrail"),
    ("assent-scanner", "openreports.io/", "the kinds of reports are not installed"),
    ("assent-seat-compute", "/nodes/", "asked of the kubelet, which the API server's log does not show"),
    ("assent-gate", "/subjectaccessreviews/", "a guardrail that asks `authorizer`"),
    ("assent-executor", "/subjectaccessreviews/", "a guardrail that asks `authorizer`"),
    ("assent-executor", "/configmaps/", "params of a guardrail"),
    ("assent-gate", "assent.dev/approval", "a Blueprint that asks people"),
    ("assent-executor", "assent.dev/approval", "a Blueprint that asks people"),
    ("assent-director", "assent.dev/approval", "a Blueprint that asks people"),
    ("assent-director", "/operationproposals/status", "somebody proposes an operation"),
    ("assent-executor", "assent.dev/blueprints/", "people agreed to go beyond a limit"),
    ("assent:executor", "assent.dev/blueprints/", "people agreed to go beyond a limit"),
    ("assent-gate", "/statefulsets/", "a Blueprint that speaks of one"),
    ("assent-gate", "/daemonsets/", "a Blueprint that speaks of one"),
    ("assent-gate", "/controllerrevisions/", "a Blueprint that speaks of a StatefulSet or a DaemonSet"),
    ("assent-executor", "/statefulsets/", "a Blueprint that speaks of one"),
    ("assent-executor", "/daemonsets/", "a Blueprint that speaks of one"),
    ("assent-executor", "/controllerrevisions/", "a Blueprint that speaks of a StatefulSet or a DaemonSet"),
    ("assent:executor", "/statefulsets/", "a Blueprint that speaks of one"),
    ("assent:executor", "/daemonsets/", "a Blueprint that speaks of one"),
    ("assent-gate", "get /pods/", "one pod of several is ill"),
    ("assent-gate", "get apps/replicasets/", "one pod of several is ill"),
    ("assent-executor", "get /pods/", "one pod of several is ill"),
    ("assent-executor", "get apps/replicasets/", "one pod of several is ill"),
    ("assent:executor", "/pods/eviction", "one pod of several is ill"),
    ("assent-gate", "/blueprintrevisions/", "the cleaner, twenty generations of a Blueprint later"),
    ("assent-gate", "argoproj.io/", "a cluster with Argo CD"),
    ("assent-executor", "argoproj.io/", "a cluster with Argo CD"),
    ("assent-gate", "toolkit.fluxcd.io/", "a cluster with Flux"),
    ("assent-executor", "toolkit.fluxcd.io/", "a cluster with Flux"),
];

/// Grants of the shipped roles that no component used, as `account verb resource`.
pub async fn unused(node: &Node) -> Vec<String> {
    let used = used(&std::fs::read_to_string(node.audit_log()).unwrap());
    let mut unused = Vec::new();
    for component in ["identity", "discovery", "injector", "gate", "director", "executor", "scanner", "specialists"] {
        for (account, verb, resource) in granted(&shipped(&[&format!("{component}/rbac.yaml")])) {
            let seen = used.contains(&(account.clone(), verb.clone(), resource.clone()));
            if !seen && !is_rare(&account, &verb, &resource) {
                unused.push(format!("{account} {verb} {resource}"));
            }
        }
    }
    unused
}

fn is_rare(account: &str, verb: &str, resource: &str) -> bool {
    let grant = format!("{verb} {resource}");
    RARE.iter().any(|(who, what, _)| *who == account && (*what == verb || *what == grant || resource.contains(what)))
}

type Grant = (String, String, String);

/// Account, verb and `group/resource/sub-resource` of every allowed request of an account of ours.
fn used(log: &str) -> BTreeSet<Grant> {
    let mut used = BTreeSet::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let user = text("/user/username");
        let Some(account) = user.strip_prefix("system:serviceaccount:assent-system:") else { continue };
        let resource = [text("/objectRef/apiGroup"), text("/objectRef/resource"), text("/objectRef/subresource")].join("/");
        used.insert((account.to_owned(), text("/verb"), resource.clone()));
        // An impersonated request uses the right to impersonate, and the impersonated user's verb.
        if event.pointer("/impersonatedUser/username").is_some() {
            used.insert((account.to_owned(), "impersonate".into(), "/users/".into()));
            used.insert((account.to_owned(), "impersonate".into(), "authentication.k8s.io/userextras/assent.dev/incident-uid".into()));
            used.insert((text("/impersonatedUser/username"), text("/verb"), resource));
        }
    }
    used
}

/// What the roles grant, by the bindings beside them.
fn granted(objects: &[Value]) -> Vec<Grant> {
    let mut grants = Vec::new();
    let texts =
        |value: &Value, key: &str| -> Vec<String> { value[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect() };
    for binding in objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding"))) {
        let role = objects.iter().find(|role| role["kind"] == binding["roleRef"]["kind"] && role["metadata"]["name"] == binding["roleRef"]["name"]);
        let Some(role) = role else { continue };
        let rules: Vec<&Value> = role["rules"].as_array().into_iter().flatten().collect();
        for subject in binding["subjects"].as_array().into_iter().flatten().filter_map(|subject| subject["name"].as_str()) {
            for rule in &rules {
                for verb in texts(rule, "verbs") {
                    for group in texts(rule, "apiGroups") {
                        for resource in texts(rule, "resources") {
                            let resource = if resource.contains('/') { resource } else { format!("{resource}/") };
                            grants.push((subject.to_owned(), verb.clone(), format!("{group}/{resource}")));
                        }
                    }
                }
            }
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::is_rare;

    #[test]
    fn a_rare_grant_is_a_verb_a_resource_or_one_verb_on_one_resource() {
        for (account, verb, resource) in [
            ("assent-director", "delete", "assent.dev/ballots/"),
            ("assent-gate", "list", "apps/statefulsets/"),
            ("assent-gate", "get", "/pods/"),
            ("assent-executor", "get", "apps/replicasets/"),
            ("assent:executor", "create", "/pods/eviction"),
        ] {
            assert!(is_rare(account, verb, resource), "{account} {verb} {resource}");
        }
        for (account, verb, resource) in
            [("assent-executor", "list", "/pods/"), ("assent-gate", "list", "apps/replicasets/"), ("assent-gate", "delete", "/pods/")]
        {
            assert!(!is_rare(account, verb, resource), "{account} {verb} {resource}");
        }
    }
}
