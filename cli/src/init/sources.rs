//! Evidence from elsewhere, as an overlay names it: what the seats are told, whom they may reach, and whose word they may go by.

use assent_core::ballot::Principal;
use assent_core::ids::Domain;
use serde_json::{Value, json};

use super::keys::metadata;

/// Where traces are taken.
const TRACES_PORT: u16 = 4318;

/// Sources of evidence beside the cluster itself; none unless it is named.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Sources {
    /// Let the seats ask this Prometheus, for example `http://prometheus.monitoring.svc:9090`.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub prometheus_url: Option<String>,
    /// Let the change seat count lines of logs in this Loki.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub loki_url: Option<String>,
    /// Let the change seat count lines of logs as the API server hands them out; it may then read every pod's.
    #[arg(long, conflicts_with = "loki_url")]
    pub pod_logs: bool,
    /// Let the network and change seats take traces, OTLP at port 4318 of their Services, from every namespace.
    #[arg(long)]
    pub traces: bool,
}

// === impl Sources ===

impl Sources {
    /// Whose figures the seat of a domain may judge by in addition.
    pub(super) fn principals(&self, domain: Domain) -> Vec<Principal> {
        let is_change = domain == Domain::Application;
        let all = [
            (self.prometheus_url.is_some(), Principal::MetricStore),
            (self.traces && (is_change || domain == Domain::Network), Principal::Traces),
            ((self.loki_url.is_some() || self.pod_logs) && is_change, Principal::LogStore),
        ];
        all.into_iter().filter(|(named, _)| *named).map(|(_, principal)| principal).collect()
    }

    /// What the seat of this name is told.
    pub(super) fn environment(&self, seat: &str) -> Vec<Value> {
        let is_change = seat == "change";
        let listen = format!("0.0.0.0:{TRACES_PORT}");
        let all = [
            ("ASSENT_PROMETHEUS_URL", self.prometheus_url.clone()),
            ("ASSENT_LOKI_URL", self.loki_url.clone().filter(|_| is_change)),
            ("ASSENT_OTLP_LISTEN", (self.traces && (is_change || seat == "network")).then_some(listen)),
        ];
        all.into_iter().filter_map(|(name, value)| Some(json!({"name": name, "value": value?}))).collect()
    }

    /// The Service ports and network policies that go with them.
    pub(super) fn service(&self, seat: &str) -> Option<Value> {
        (self.traces && matches!(seat, "network" | "change")).then(|| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("assent-seat-{seat}"), "namespace": assent_api::names::SYSTEM_NAMESPACE},
                "spec": {"ports": [{"name": "otlp", "port": TRACES_PORT, "targetPort": TRACES_PORT}]}})
        })
    }

    /// Policies that let seats reach the stores, and traces reach the seats.
    pub(super) fn policies(&self) -> Vec<Value> {
        let seats = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("assent-seat-{name}")).collect();
            json!({"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": names}]})
        };
        let policy = |name: &str, spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(name), "spec": spec});
        let store = |name: &str, names: &[&str], url: &str| policy(name, json!({"podSelector": seats(names), "policyTypes": ["Egress"], "egress": [way(url)]}));
        let mut policies = Vec::new();
        policies.extend(self.prometheus_url.iter().map(|url| store("assent-seats-metrics", &["network", "compute", "database", "change"], url)));
        policies.extend(self.loki_url.iter().map(|url| store("assent-seats-logs", &["change"], url)));
        if self.traces {
            let from = json!([{"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": TRACES_PORT}]}]);
            policies.push(policy("assent-seats-traces", json!({"podSelector": seats(&["network", "change"]), "policyTypes": ["Ingress"], "ingress": from})));
        }
        policies
    }
}

/// The namespace of a Service in the cluster, whose pods may listen on another port than it; else anybody at the port.
fn way(url: &str) -> Value {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, port.parse::<u16>().ok()));
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        [_, namespace, "svc", ..] => json!({"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]}),
        _ => json!({"ports": [{"protocol": "TCP", "port": port.unwrap_or(if url.starts_with("https") { 443 } else { 80 })}]}),
    }
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    if rest.is_empty() || rest.contains(['@', ' ', '"']) {
        Err("expected http://HOST[:PORT][/PATH] or https://…, without a password".into())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_principal_only_where_it_is_named() {
        let domains = [Domain::Network, Domain::Compute, Domain::Database, Domain::Application];
        let of = |sources: &Sources| domains.map(|domain| sources.principals(domain));
        assert_eq!(of(&Sources::default()), [vec![], vec![], vec![], vec![]]);
        let all = Sources { prometheus_url: Some("http://p".into()), loki_url: Some("http://l".into()), traces: true, pod_logs: false };
        let (metrics, traces, logs) = (Principal::MetricStore, Principal::Traces, Principal::LogStore);
        assert_eq!(of(&all), [vec![metrics, traces], vec![metrics], vec![metrics], vec![metrics, traces, logs]]);
    }

    #[test]
    fn a_store_in_the_cluster_is_reached_by_its_namespace() {
        let namespace = |url: &str| way(url).pointer("/to/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name").cloned();
        assert_eq!(namespace("http://prometheus.monitoring.svc:9090/p"), Some("monitoring".into()));
        assert_eq!(way("https://metrics.example.org/x")["ports"][0]["port"], 443);
        assert_eq!(way("http://10.0.0.1:9090")["ports"][0]["port"], 9090);
        assert!(url("http://user:password@host").is_err() && url("host").is_err() && url("https://host/p").is_ok());
    }
}
