//! The API server's side: namespaces, policies and parameters in a real one, and what it says of dry runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assent_cluster::Cluster;
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};

use super::{Asked, Guarded, Said};
use crate::world::{apply, get};

/// Where objects are made that no policy looks at.
const FREE: &str = "free";
/// The namespace of the policy that is stored last.
const CANARY: &str = "canary";
/// Name under which fields are managed; policies may read it.
const MANAGER: &str = "alike";
/// Longest until stored policies are active.
const ACTIVE: Duration = Duration::from_secs(60);
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// A server with policies in force.
pub struct Server {
    cluster: Cluster,
    admin: Client,
    /// Namespaces as stored, by name.
    pub namespaces: BTreeMap<String, Value>,
    /// The ConfigMap `base` of every namespace.
    pub bases: BTreeMap<String, Value>,
    /// Parameters as stored.
    pub params: Vec<Value>,
}

/// A request as the server admits it, for judging it elsewhere.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The object after; null for a deletion.
    pub object: Value,
    /// The operation's options.
    pub options: Value,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("cluster", &self.cluster.name()).finish_non_exhaustive()
    }
}

// === impl Server ===

impl Server {
    /// Starts one and makes namespaces, the objects in them and parameters.
    pub async fn start(guarded: &[Guarded]) -> Self {
        let cluster = assent_cluster::api_only("alike").await.unwrap();
        let admin = cluster.client().await.unwrap();
        let mut server = Self { cluster, admin, namespaces: BTreeMap::new(), bases: BTreeMap::new(), params: Vec::new() };
        let places = guarded.iter().map(|one| one.namespace.as_str()).chain([FREE, CANARY, "params"]);
        for (number, name) in places.enumerate() {
            server.namespace(name, number).await;
        }
        for (name, max) in [("low", "3"), ("high", "30")] {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "params", "labels": {"level": name}}, "data": {"max": max}});
            apply(&server.admin, &object).await;
            server.params.push(get(&server.admin, &format!("/api/v1/namespaces/params/configmaps/{name}")).await.unwrap());
        }
        server
    }

    async fn namespace(&mut self, name: &str, number: usize) {
        let mut labels = json!({"env": if number.is_multiple_of(2) { "prod" } else { "dev" }});
        if number.is_multiple_of(3) {
            labels["team"] = json!("blue");
        }
        apply(&self.admin, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})).await;
        self.namespaces.insert(name.to_owned(), get(&self.admin, &format!("/api/v1/namespaces/{name}")).await.unwrap());
        let base =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "base", "namespace": name, "labels": {"app": "web"}}, "data": {"limit": "5"}});
        apply(&self.admin, &base).await;
        self.bases.insert(name.to_owned(), get(&self.admin, &format!("/api/v1/namespaces/{name}/configmaps/base")).await.unwrap());
    }

    /// What requests look like once mutating admission and strategies are through with them: as the server answers where no
    /// policy is. Only uid and times differ from namespace to namespace, and no policy reads those.
    pub async fn admitted(&self, asked: &Asked) -> Admitted {
        // The account that every pod gets is made by a controller, some time after its namespace.
        self.accounts(FREE).await;
        let (_, status, object) = self.send(FREE, asked).await;
        assert!(status < 300, "{status} {object} for {}", asked.body);
        let kind = match asked.operation {
            "UPDATE" => "UpdateOptions",
            "DELETE" => "DeleteOptions",
            _ => "CreateOptions",
        };
        let mut options = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind, "dryRun": ["All"]});
        if asked.operation != "DELETE" {
            options["fieldManager"] = json!(MANAGER);
        }
        Admitted { object: if asked.operation == "DELETE" { Value::Null } else { object }, options }
    }

    async fn accounts(&self, namespace: &str) {
        self.until(async || get(&self.admin, &format!("/api/v1/namespaces/{namespace}/serviceaccounts/default")).await.is_ok()).await;
    }

    /// Stores policies and bindings, and waits until they are in force: the last of them refuses then, and they come in order.
    pub async fn enforce(&self, guarded: &[Guarded]) {
        for one in guarded {
            self.accounts(&one.namespace).await;
            apply(&self.admin, &whole("ValidatingAdmissionPolicy", &one.name, &one.policy)).await;
            for (name, binding) in &one.bindings {
                apply(&self.admin, &whole("ValidatingAdmissionPolicyBinding", name, binding)).await;
            }
        }
        // It reads a parameter, so that it refuses for its own reason only once those are known to the server as well.
        let rule = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
        let policy = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "matchConstraints": {"resourceRules": rule},
            "validations": [{"expression": "false", "messageExpression": "'canary ' + params.data.max"}]});
        let binding = json!({"policyName": "zz.example.com", "validationActions": ["Deny"],
            "paramRef": {"name": "high", "namespace": "params", "parameterNotFoundAction": "Deny"},
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": CANARY}}}});
        apply(&self.admin, &whole("ValidatingAdmissionPolicy", "zz.example.com", &policy)).await;
        apply(&self.admin, &whole("ValidatingAdmissionPolicyBinding", "zz.example.com", &binding)).await;
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
        let probe = Asked { operation: "CREATE", body, user: "ann", groups: &["admins"] };
        self.until(async || self.send(CANARY, &probe).await.2.to_string().contains("canary 30")).await;
        let stored = get(&self.admin, POLICIES).await.unwrap();
        assert!(stored["items"].as_array().unwrap().len() > guarded.len(), "not every policy is stored");
    }

    /// What the server says; annotations are in the audit log, see [`Self::annotations`].
    pub async fn says(&self, namespace: &str, asked: &Asked) -> (String, Said) {
        let (head, status, object) = self.send(namespace, asked).await;
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let words = text("message");
        let words = words.split_once(" is forbidden: ").map_or(words.clone(), |(_, said)| said.to_owned());
        let refusal = (status >= 300).then(|| (status, text("reason"), words));
        let warnings = head.get_all("warning").iter().map(|value| unquoted(&String::from_utf8_lossy(value.as_bytes()))).collect();
        let id = head.get("audit-id").unwrap().to_str().unwrap().to_owned();
        (id, Said { refusal, warnings, annotations: BTreeMap::new() })
    }

    /// Annotations of policies by audit id, of every request so far.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let log = std::fs::read_to_string(self.cluster.audit_log()).unwrap();
        let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_policies = |event: &Value| -> BTreeMap<String, String> {
            let all = event["annotations"].as_object().into_iter().flatten();
            let ours = all.filter(|(key, _)| key.contains(".example.com/") || key.starts_with("validation.policy."));
            ours.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
        };
        events.map(|event| (event["auditID"].as_str().unwrap().to_owned(), of_policies(&event))).collect()
    }

    async fn send(&self, namespace: &str, asked: &Asked) -> (http::HeaderMap, u16, Value) {
        let (prefix, plural) = match asked.body["kind"].as_str() {
            Some("Deployment") => ("/apis/apps/v1", "deployments"),
            Some("Pod") => ("/api/v1", "pods"),
            _ => ("/api/v1", "configmaps"),
        };
        let path = format!("{prefix}/namespaces/{namespace}/{plural}");
        let (method, path) = match asked.operation {
            "UPDATE" => ("PUT", format!("{path}/base?dryRun=All&fieldManager={MANAGER}")),
            "DELETE" => ("DELETE", format!("{path}/base?dryRun=All")),
            _ => ("POST", format!("{path}?dryRun=All&fieldManager={MANAGER}")),
        };
        let mut request = http::Request::builder().method(method).uri(path).header("Content-Type", "application/json").header("Impersonate-User", asked.user);
        // The last two let it do everything, and are what a server adds itself.
        for group in asked.groups.iter().chain(&["system:masters", "system:authenticated"]) {
            request = request.header("Impersonate-Group", *group);
        }
        let body = if asked.body.is_null() { Vec::new() } else { serde_json::to_vec(&asked.body).unwrap() };
        let request = request.header("Impersonate-Extra-team", "blue").body(kube::client::Body::from(body)).unwrap();
        let response = self.admin.send(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.headers, head.status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// Bounded: neither a controller nor a server that takes up policies offers an event.
    async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + ACTIVE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "still waiting after {ACTIVE:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

fn whole(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The text of a `Warning` header: `299 - "text"`.
fn unquoted(header: &str) -> String {
    let quoted = header.split_once('"').map_or(header, |(_, text)| text);
    let mut text = String::new();
    let mut letters = quoted.strip_suffix('"').unwrap_or(quoted).chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    text
}
