//! Reading kubelets: use and throttling of every pod, from the kubelet of its node and through nobody else.
//!
//! Requests go to port 10250 of the node's own address with our service account's token, which the kubelet checks with the
//! API server (`nodes/stats`, `nodes/metrics`; never `nodes/proxy`). What a kubelet says is bounded before it is held.

mod cadvisor;
mod summary;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use assent_core::seats::Seat as _;
use assent_core::seats::compute::{self, Throttling, View};
use assent_core::target::Service;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use reqwest::Certificate;

use crate::args::KubeletArgs;
use crate::held::{Held, now};
use crate::metrics::Metrics;
use crate::pods::{Pod, Pods, milli};
use crate::watching::{Change, follow};

const PATIENCE: Duration = Duration::from_secs(5);
/// Kubelets that are read at the same time.
const AT_ONCE: usize = 8;
/// Most of a summary that is read.
const MAX_SUMMARY: usize = 8 << 20;
/// Most of the cAdvisor page that is read, line by line.
const MAX_PAGE: usize = 64 << 20;

/// Nodes by UID: name, address, processor on offer.
type Nodes = Arc<Mutex<HashMap<String, Place>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: String,
    address: Option<IpAddr>,
    allocatable_milli: u64,
}

/// Why a kubelet was not read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read the service account token")]
    Token(#[source] std::io::Error),
    #[error("ask the kubelet of `{node}`")]
    Ask {
        node: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the kubelet of `{node}` says more than {limit} bytes")]
    TooLarge { node: String, limit: usize },
    #[error("read the summary of `{node}`")]
    Summary {
        node: String,
        #[source]
        source: serde_json::Error,
    },
}

/// The reader of all kubelets.
#[derive(Debug)]
pub(crate) struct Kubelets {
    held: Arc<Held<View>>,
    pods: Pods,
    nodes: Nodes,
    client: reqwest::Client,
    args: KubeletArgs,
    metrics: Metrics,
}

// === impl Kubelets ===

impl Kubelets {
    pub(crate) fn new(held: Arc<Held<View>>, pods: Pods, args: KubeletArgs, metrics: Metrics) -> anyhow::Result<Self> {
        // Names are not resolved and proxies not used: the address is the node's own.
        let builder = reqwest::Client::builder().no_proxy().connect_timeout(PATIENCE).timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        let builder = match &args.kubelet_ca_file {
            Some(file) => {
                let pem = std::fs::read(file).with_context(|| format!("read the kubelets' CA `{}`", file.display()))?;
                builder.tls_certs_only(Certificate::from_pem_bundle(&pem).context("parse the kubelets' CA")?)
            }
            None if args.kubelet_insecure => builder.tls_danger_accept_invalid_certs(true),
            None => anyhow::bail!("kubelets cannot be verified: give --kubelet-ca-file, or --kubelet-insecure to believe whoever answers"),
        };
        let client = builder.build().context("set up the client for kubelets")?;
        Ok(Self { held, pods, nodes: Nodes::default(), client, args, metrics })
    }

    /// Watches nodes and reads their kubelets for the life of the process.
    pub(crate) async fn run(self, client: Client) {
        let nodes = watcher(Api::<Node>::all(client), watcher::Config::default()).default_backoff();
        let watching = follow("nodes", nodes, |change| self.node(change), || {});
        let reading = async {
            let mut rounds = tokio::time::interval(Duration::from_millis(self.args.kubelet_interval_ms));
            rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut known = HashSet::new();
            let mut told = HashMap::new();
            loop {
                rounds.tick().await;
                self.pods_now(&mut known);
                self.round().await;
                self.held.update(|view| view.tick(now()));
                self.tell(&mut told);
            }
        };
        tokio::join!(watching, reading);
    }

    /// Counts how followed services stand, and says so of each when that changes: an operator who wonders why nothing is scaled finds it.
    fn tell(&self, told: &mut HashMap<Service, &'static str>) {
        self.held.read(|view| {
            told.retain(|service, _| view.followed().any(|followed| followed == service));
            for (service, standing, rationale) in view.standings() {
                if told.insert(service.clone(), standing) != Some(standing) {
                    tracing::info!(%service, standing, rationale, "demand");
                }
            }
        });
        self.metrics.demand(told.values().copied());
    }

    fn node(&self, change: Change<Node>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Is(node) => {
                let status = node.status.clone().unwrap_or_default();
                let address = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP");
                let place = Place {
                    name: node.name_any(),
                    address: address.and_then(|address| address.address.parse().ok()),
                    allocatable_milli: status.allocatable.and_then(|all| milli(all.get("cpu")?)).unwrap_or(0),
                };
                self.held.update(|view| view.node(&place.name, place.allocatable_milli));
                if let Some(uid) = node.uid() {
                    nodes.insert(uid, place);
                }
            }
            Change::Gone(uid) => {
                if let Some(place) = nodes.remove(&uid) {
                    self.held.update(|view| view.node_gone(&place.name));
                }
            }
        }
    }

    /// Brings the view's pods up to date.
    fn pods_now(&self, known: &mut HashSet<String>) {
        let mut current = HashSet::new();
        self.held.update(|view| {
            self.pods.each(|pod, workload| {
                if !pod.finished {
                    current.insert(pod.uid.clone());
                    view.pod(&pod.uid, facts(pod, workload));
                }
            });
            known.difference(&current).for_each(|gone| view.pod_gone(gone));
        });
        *known = current;
        self.metrics.pods(self.pods.len());
    }

    async fn round(&self) {
        let nodes: Vec<Place> = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let readings = nodes.into_iter().filter_map(|node| Some((node.name, node.address?))).map(|(name, address)| async move {
            let read = self.read(&name, address).await;
            self.metrics.kubelet(read.is_ok());
            if let Err(error) = read {
                tracing::warn!(node = name, error = assent_runtime::telemetry::chain(&error), "kubelet not read");
            }
        });
        futures::stream::iter(readings).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn read(&self, node: &str, address: IpAddr) -> Result<(), Error> {
        let token = tokio::fs::read_to_string(&self.args.kubelet_token_file).await.map_err(Error::Token)?;
        let address = std::net::SocketAddr::new(address, self.args.kubelet_port);
        let ask = |path: &str| {
            let request = self.client.get(format!("https://{address}{path}")).bearer_auth(token.trim());
            async move { request.send().await.and_then(reqwest::Response::error_for_status).map_err(|source| Error::Ask { node: node.into(), source }) }
        };
        // Throttling first: it counts with the sample that follows.
        let throttling = self.throttling(node, ask("/metrics/cadvisor").await?).await?;
        let body = body(node, ask("/stats/summary?only_cpu_and_memory=true").await?).await?;
        let samples = summary::samples(&body).map_err(|source| Error::Summary { node: node.into(), source })?;
        // A node speaks of its own pods only.
        let mut names = HashMap::new();
        let mut own = HashSet::new();
        self.pods.each(|pod, _| {
            if pod.node == node {
                names.insert((pod.namespace.clone(), pod.name.clone()), pod.uid.clone());
                own.insert(pod.uid.clone());
            }
        });
        self.held.update(|view| {
            for (name, figures) in throttling {
                if let Some(uid) = names.get(&name) {
                    view.throttling(uid, figures);
                }
            }
            samples.into_iter().filter(|sample| own.contains(&sample.pod)).for_each(|sample| view.sample(sample, now()));
        });
        Ok(())
    }

    async fn throttling(&self, node: &str, mut response: reqwest::Response) -> Result<HashMap<(String, String), Throttling>, Error> {
        let mut page = cadvisor::Page::default();
        let mut read = 0;
        while let Some(chunk) = response.chunk().await.map_err(|source| Error::Ask { node: node.into(), source })? {
            read += chunk.len();
            if read > MAX_PAGE {
                return Err(Error::TooLarge { node: node.into(), limit: MAX_PAGE });
            }
            page.feed(&chunk);
        }
        Ok(page.finish())
    }
}

async fn body(node: &str, mut response: reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| Error::Ask { node: node.into(), source })? {
        if body.len() + chunk.len() > MAX_SUMMARY {
            return Err(Error::TooLarge { node: node.into(), limit: MAX_SUMMARY });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn facts(pod: &Pod, workload: Option<Service>) -> compute::Pod {
    compute::Pod {
        name: pod.name.clone(),
        workload,
        node: pod.node.clone(),
        running: pod.running,
        local_data: pod.local_data,
        started_at: pod.started_at,
        request_milli: pod.request_milli,
        own_request_milli: pod.own_request_milli,
        own_request_bytes: pod.own_request_bytes,
        limit_milli: pod.limit_milli,
        memory_limit: pod.memory_limit,
        restarts: pod.restarts,
        failed_at: pod.failed_at,
        crash_loop: pod.crash_loop,
        killed: pod.killed.clone(),
    }
}
