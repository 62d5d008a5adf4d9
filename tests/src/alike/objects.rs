//! Generated requests: objects of three kinds, three verbs, several people.

use serde_json::{Value, json};

use super::{mixed, pick};

/// A request, but for its namespace.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `CREATE`, `UPDATE` or `DELETE`; the latter two are of the ConfigMap `base` that every namespace has.
    pub operation: &'static str,
    /// The object as the client sends it; null for a deletion.
    pub body: Value,
    /// Who asks.
    pub user: &'static str,
    /// In which groups.
    pub groups: &'static [&'static str],
}

const NAMES: [&str; 6] = ["web", "db", "api-1", "a-rather-long-name", "x", "cache"];
const IMAGES: [&str; 5] = [
    "registry.example.com/web:1.0",
    "registry.example.com/log:latest",
    "docker.io/library/nginx:1.27",
    "busybox",
    "registry.example.com/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];
const LABELS: [&str; 5] = ["{}", r#"{"app": "web"}"#, r#"{"app": "db", "tier": "back"}"#, r#"{"tier": "front"}"#, r#"{"app": ""}"#];
const RESOURCES: [&str; 4] =
    ["{}", r#"{"limits": {"memory": "128Mi", "cpu": "500m"}}"#, r#"{"limits": {"memory": "2Gi"}}"#, r#"{"requests": {"cpu": "100m"}}"#];
const DATA: [&str; 6] =
    ["{}", r#"{"limit": "5"}"#, r#"{"limit": "50", "k1": "v"}"#, r#"{"limit": "many"}"#, r#"{"k1": "a", "k2": "b", "k3": "c"}"#, r#"{"other": "ünïcode"}"#];
const PEOPLE: [(&str, &[&str]); 3] = [("ann", &["admins"]), ("bob", &["dev"]), ("system:serviceaccount:ci:robot", &["robots"])];

/// `count` different requests.
#[must_use]
pub fn asked(count: u64) -> Vec<Asked> {
    (0..count).map(one).collect()
}

fn one(number: u64) -> Asked {
    let seed = |at: u64| (1 << 40) + (number << 8) + at;
    let (user, groups) = pick(&PEOPLE, seed(0));
    let operation = match number % 10 {
        8 => "UPDATE",
        9 => "DELETE",
        _ => "CREATE",
    };
    let labels: Value = serde_json::from_str(pick::<&str>(&LABELS, seed(1))).unwrap();
    let metadata = json!({"name": pick(&NAMES, seed(2)), "labels": labels});
    let body = match (operation, mixed(seed(3)) % 3) {
        ("DELETE", _) => Value::Null,
        ("UPDATE", _) => config_map(json!({"name": "base", "labels": labels}), seed(4)),
        (_, 0) => config_map(metadata, seed(4)),
        (_, 1) => json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod(seed(5))}),
        _ => {
            let template = json!({"metadata": {"labels": {"run": "x"}}, "spec": pod(seed(5))});
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                "spec": {"replicas": mixed(seed(6)) % 6, "selector": {"matchLabels": {"run": "x"}}, "template": template}})
        }
    };
    Asked { operation, body, user, groups }
}

fn config_map(metadata: Value, seed: u64) -> Value {
    let data: Value = serde_json::from_str(pick::<&str>(&DATA, seed)).unwrap();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}

fn pod(seed: u64) -> Value {
    let container = |name: &str, at: u64| {
        let resources: Value = serde_json::from_str(pick::<&str>(&RESOURCES, seed + (at << 20))).unwrap();
        json!({"name": name, "image": pick(&IMAGES, seed + (at << 21)), "resources": resources})
    };
    let names = ["app", "log", "proxy"];
    let count = usize::try_from(1 + mixed(seed) % 3).unwrap();
    let containers: Vec<Value> = names.iter().take(count).zip(1..).map(|(name, at)| container(name, at)).collect();
    json!({"containers": containers, "hostNetwork": mixed(seed + 7).is_multiple_of(4)})
}
