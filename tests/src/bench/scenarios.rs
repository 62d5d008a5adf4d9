//! Six scenarios of two services under Blueprints, on a real node, each timed: more replicas for more load while the other service is left
//! alone, fewer and taken back when that is felt, more than the limits allow once a person agrees, what is never done, and memory for a
//! container that asks for too little.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Approval, ApprovalRequest, ApprovalSpec, Incident, RemediationPhase, Verdict};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::install::{self, Progress, SHOP};
use crate::place::Place;
use crate::story::{self, Ending};
use crate::{images, shop};

/// Windows that the seats learn from, at the load that is usual then.
const LEARNING: Duration = Duration::from_secs(60);
/// Longest until an incident of demand is over.
const PATIENCE: Duration = Duration::from_secs(420);
/// Who is asked.
const PERSON: (&str, &str) = ("jane", "devops-team");
/// Customers a second: usual, nearly more than one replica is for, and few.
const USUAL: u32 = 20;
const MORE: u32 = 37;
const FEW: u32 = 1;
/// As many times more than one replica is for as two cannot serve, and three can.
const FLOOD: u32 = 5;
/// How long a number of customers has to show, and the most that come.
const STEADY: Duration = Duration::from_secs(50);
const MOST: u32 = 200;

/// Each scenario with the seconds that it may take.
const MORE_REPLICAS: (&str, f64) = ("1 autonomous scale-up, detection to verified", 120.0);
const BEYOND: (&str, f64) = ("2 beyond the limits, with a person's word", 900.0);
const FORBIDDEN: (&str, f64) = ("3 forbidden operation refused, alternatives named", 1.0);
const FELT: (&str, f64) = ("4 scale-down that is felt is taken back", 210.0);
const ALONE: (&str, f64) = ("5 two services, only the loaded one scaled", 120.0);
const SIZED: (&str, f64) = ("6 more memory for what uses all it asks for", 210.0);

/// What one scenario took.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// Its name.
    pub metric: String,
    /// Seconds that it may take, as the mission says.
    pub required: f64,
    /// Seconds that it took.
    pub ours: f64,
    /// Always seconds.
    pub unit: &'static str,
    /// Whether it ended as it should, in time.
    pub met: bool,
    /// What was seen.
    pub note: String,
}

/// Runs all six.
///
/// # Errors
/// If the node, Assent or the shop does not come up, or a scenario does not end.
pub async fn run(say: Progress<'_>) -> anyhow::Result<Vec<Scenario>> {
    say("building binaries and images");
    let images = tokio::task::spawn_blocking(images::build).await??;
    let mut place = Place::from(assent_cluster::node("scenarios").await?);
    place.prepare(&images, say).await?;
    install::assent(&place, say).await?;
    install::shop(&place, say).await?;
    let scene = Scene { place };
    // What a start costs is not what is usual.
    tokio::time::sleep(LEARNING).await;
    // Whatever the machine, one replica of orders uses half of what it asks for at the usual rate, and may use a fifth more than
    // that; the storefront has room for everybody.
    for (name, asks, most) in [("orders", 20, 24), ("storefront", 60, 160)] {
        let usual = scene.used(name).await?;
        say(&format!("{name} uses {usual}m at {USUAL} customers a second"));
        // Memory in between, so that nothing is to be done about it yet.
        let memory = (scene.told(name, &["memory", "workingSetBytes"]).await? >> 20) * 3 / 2;
        let requests = format!("--requests=cpu={}m,memory={memory}Mi", usual * asks / 10);
        scene.resources(name, &requests, &format!("--limits=cpu={}m,memory=128Mi", usual * most / 10)).await?;
    }
    scene.let_approve().await?;
    say("kubectl apply -f shop/scenarios/blueprints.yaml");
    scene.place.kubectl(&["apply", "-f", &scenarios().display().to_string()]).await?;
    // The baseline is a matter of time, not of an event.
    tokio::time::sleep(LEARNING).await;

    // One that does not end is a row as well, and the others go on.
    let mut done = vec![ended(FORBIDDEN, scene.forbidden(say).await)];
    let mut one_is_for = MORE;
    match scene.more(say).await {
        Ok((reached, both)) => {
            one_is_for = reached;
            done.extend(both);
        }
        Err(error) => done.push(ended(MORE_REPLICAS, Err(error))),
    }
    done.push(ended(BEYOND, scene.beyond(one_is_for, say).await));
    done.push(ended(FELT, scene.fewer(one_is_for * FLOOD, say).await));
    done.push(ended(SIZED, scene.larger(say).await));
    shop::rate(&scene.place, USUAL).await?;
    Ok(done)
}

fn ended((metric, required): (&str, f64), scenario: anyhow::Result<Scenario>) -> Scenario {
    scenario.unwrap_or_else(|error| Scenario::of((metric, required), required, false, &format!("{error:#}")))
}

fn is_of(incident: &Incident, name: &str) -> bool {
    incident.spec.service == format!("{SHOP}/{name}")
}

fn scenarios() -> PathBuf {
    images::root().join("shop/scenarios/blueprints.yaml")
}

struct Scene {
    place: Place,
}

// === impl Scene ===

impl Scene {
    /// 3: what is never done is refused at once, with what could be done instead.
    async fn forbidden(&self, say: Progress<'_>) -> anyhow::Result<Scenario> {
        say("3  somebody proposes to delete the Deployment");
        let started = Instant::now();
        let program = images::program("kubectl-assent");
        let mut classify = Command::new(program);
        classify.env("KUBECONFIG", self.place.kubeconfig_path());
        let output =
            classify.args(["blueprint", "classify", "delete_deployment", "--name", "orders", "-f"]).arg(scenarios()).output().await.context("ask about it")?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let ours = started.elapsed().as_secs_f64();
        say(&said);
        let right = said.contains("forbidden") && said.contains("scale_to_zero");
        Ok(Scenario::of(FORBIDDEN, ours, right, &said))
    }

    /// 1 and 5: more replicas for one service, and the other is left alone; and how many customers were too many for one.
    async fn more(&self, say: Progress<'_>) -> anyhow::Result<(u32, Vec<Scenario>)> {
        say(&format!("1  customers: {USUAL} a second, now {MORE}"));
        let known = self.known().await?;
        let started = Instant::now();
        let following = self.follow("orders", &known, started, say, None);
        let (ending, grown) = tokio::join!(following, self.grow(&known, MORE, say));
        let (ending, reached) = (ending?, grown?);
        let replicas = self.replicas("orders").await?;
        let right = ending.phase == "Resolved" && replicas == 2;
        let note = format!("orders {} with {replicas} replicas: {}", ending.phase, ending.incident.spec.summary);
        let detected = ending.timeline.incident.unwrap_or_default();
        let took = ending.timeline.closed.unwrap_or_default();
        say(&format!("   incident after {detected:.0} s, verified after {took:.0} s"));
        let others = self.replicas("storefront").await?;
        let all = self.known().await?.difference(&known).count();
        let alone = right && others == 1 && all == 1;
        let beside = format!("storefront has {others} replica(s); {all} incident(s) in all");
        Ok((reached, vec![Scenario::of(MORE_REPLICAS, took - detected, right, &note), Scenario::of(ALONE, took - detected, alone, &beside)]))
    }

    /// 4: fewer replicas while hardly anybody asks; then everybody comes at once, answers are late, and it is taken back.
    async fn fewer(&self, flood: u32, say: Progress<'_>) -> anyhow::Result<Scenario> {
        say(&format!("4  customers: {FEW} a second"));
        let (known, before) = (self.known().await?, self.replicas("orders").await?);
        let started = Instant::now();
        shop::rate(&self.place, FEW).await?;
        let (applied, mut when) = mpsc::unbounded_channel();
        let flooding = async {
            when.recv().await.context("it was never applied")?;
            say(&format!("   and {flood} a second as soon as one replica is gone"));
            shop::rate(&self.place, flood).await
        };
        let following = self.follow("orders", &known, started, say, Some(applied));
        let (ending, flooded) = tokio::join!(following, flooding);
        let ending = ending?;
        flooded?;
        let replicas = self.replicas("orders").await?;
        let right = ending.phase == "RolledBack" && replicas == before && before > 1;
        let outcome = ending.incident.status.clone().unwrap_or_default().outcome.unwrap_or_default();
        let took = ending.timeline.closed.unwrap_or_default() - ending.timeline.incident.unwrap_or_default();
        let scenario = Scenario::of(FELT, took, right, &format!("{} with {replicas} replicas: {outcome}", ending.phase));
        shop::rate(&self.place, USUAL).await?;
        Ok(scenario)
    }

    /// 2: more than the limits allow, once a person agrees.
    async fn beyond(&self, one_is_for: u32, say: Progress<'_>) -> anyhow::Result<Scenario> {
        let known = self.known().await?;
        let started = Instant::now();
        let rate = 2 * one_is_for - USUAL / 2;
        say(&format!("2  customers: {rate} a second, with two replicas of at most two"));
        let answering = async {
            let request = self.asked().await?;
            say(&format!("   {} asks: {} on {}", request.name_any(), request.spec.action, request.spec.target));
            self.agree(&request).await?;
            say(&format!("   {} of {} agrees", PERSON.0, PERSON.1));
            Ok::<_, anyhow::Error>(())
        };
        let following = self.follow("orders", &known, started, say, None);
        let (ending, answered, grown) = tokio::join!(following, answering, self.grow(&known, rate, say));
        let ending = ending?;
        answered?;
        grown?;
        let (replicas, limit) = (self.replicas("orders").await?, self.limit().await?);
        let right = ending.phase == "Resolved" && replicas == 3 && limit == 3;
        let took = ending.timeline.closed.unwrap_or_default() - ending.timeline.incident.unwrap_or_default();
        Ok(Scenario::of(BEYOND, took, right, &format!("{} with {replicas} replicas, of at most {limit} from now on", ending.phase)))
    }

    /// 6: a container that uses nearly all the memory it asks for is given more, inside its bounds.
    async fn larger(&self, say: Progress<'_>) -> anyhow::Result<Scenario> {
        shop::rate(&self.place, USUAL).await?;
        shop::quiet(&self.place).await?;
        let mebibytes = self.told("storefront", &["memory", "workingSetBytes"]).await? >> 20;
        say(&format!("6  the storefront's container holds {mebibytes} MiB, and asks for that from now on"));
        let known = self.known().await?;
        let started = Instant::now();
        self.resources("storefront", &format!("--requests=memory={mebibytes}Mi"), "--limits=memory=128Mi").await?;
        let ending = self.follow("storefront", &known, started, say, None).await?;
        let path = "{.spec.template.spec.containers[?(@.name==\"storefront\")].resources.requests.memory}";
        let asked = self.place.kubectl(&["-n", SHOP, "get", "deployment/storefront", "-o", &format!("jsonpath={path}")]).await?;
        let asks: u64 = asked.trim().strip_suffix("Mi").context("mebibytes")?.parse()?;
        let right = ending.phase == "Resolved" && (mebibytes + 1..=2 * mebibytes).contains(&asks);
        let took = ending.timeline.closed.unwrap_or_default() - ending.timeline.incident.unwrap_or_default();
        Ok(Scenario::of(SIZED, took, right, &format!("{} and asks for {asks} MiB instead of {mebibytes}: {}", ending.phase, ending.incident.spec.summary)))
    }

    /// Sets what the service's own container asks for and may use, and waits for its pods.
    async fn resources(&self, name: &str, requests: &str, limits: &str) -> anyhow::Result<()> {
        let deployment = format!("deployment/{name}");
        self.place.kubectl(&["-n", SHOP, "set", "resources", &deployment, "-c", name, requests, limits]).await?;
        self.place.kubectl(&["-n", SHOP, "rollout", "status", &deployment, "--timeout=120s"]).await?;
        Ok(())
    }

    /// More customers until there is an incident: enough for the replicas to be full on whatever machine, and never so many at once
    /// that they are late, which would be trouble.
    async fn grow(&self, known: &BTreeSet<String>, from: u32, say: Progress<'_>) -> anyhow::Result<u32> {
        let mut rate = from;
        while rate <= MOST {
            shop::rate(&self.place, rate).await?;
            let until = Instant::now() + STEADY;
            while Instant::now() < until {
                if self.fresh(known).await?.iter().any(|incident| is_of(incident, "orders")) {
                    return Ok(rate);
                }
                // One kind, looked at as a person would.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            rate += from.div_ceil(8);
            say(&format!("   and {rate} a second, since the replicas are not full yet"));
        }
        bail!("with {MOST} customers a second the replicas are not full")
    }

    /// Follows the next incident of this service; `applied` hears when its write is done.
    async fn follow(
        &self,
        name: &str,
        known: &BTreeSet<String>,
        started: Instant,
        say: Progress<'_>,
        applied: Option<mpsc::UnboundedSender<()>>,
    ) -> anyhow::Result<Ending> {
        // The other service has its own Blueprint, and may have incidents of its own meanwhile.
        let mut known = known.clone();
        while !self.fresh(&known).await?.iter().any(|incident| is_of(incident, name)) {
            ensure!(started.elapsed() < PATIENCE, "no incident of {name} within {} s", PATIENCE.as_secs());
            // One kind, looked at as a person would.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        known.extend(self.fresh(&known).await?.iter().filter(|incident| !is_of(incident, name)).map(kube::ResourceExt::name_any));
        let client = self.place.client().await?;
        let word = format!("remediation {:?}", RemediationPhase::Applied);
        let tell = |at: f64, line: &str| {
            say(&format!("   {at:5.1} s  {line}"));
            if let Some(applied) = applied.as_ref().filter(|_| line.contains(&word)) {
                // Whoever waited may be gone.
                let _ = applied.send(());
            }
        };
        story::follow(&client, &known, started, PATIENCE, &tell).await
    }

    /// Thousandths of a processor that the service's own container uses: the least of three looks.
    async fn used(&self, name: &str) -> anyhow::Result<u64> {
        let mut least = u64::MAX;
        for _ in 0..3 {
            least = least.min(self.told(name, &["cpu", "usageNanoCores"]).await? / 1_000_000);
            // Kubelets measure every ten seconds.
            tokio::time::sleep(Duration::from_secs(11)).await;
        }
        Ok(least.max(20))
    }

    /// A figure of the service's own container, by the kubelet.
    async fn told(&self, name: &str, figure: &[&str; 2]) -> anyhow::Result<u64> {
        let nodes = self.place.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await?;
        let told = self.place.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{}/proxy/stats/summary", nodes.trim())]).await?;
        let told: Value = serde_json::from_str(&told)?;
        let pods = told["pods"].as_array().context("the kubelet tells of no pods")?.iter();
        let own = pods.filter(|pod| pod["podRef"]["namespace"] == SHOP).filter_map(|pod| pod["containers"].as_array()).flatten();
        let used = own.filter(|container| container["name"] == name).filter_map(|container| container[figure[0]][figure[1]].as_u64()).max();
        used.with_context(|| format!("the kubelet tells nothing of the {} of {name}", figure[0]))
    }

    async fn known(&self) -> anyhow::Result<BTreeSet<String>> {
        story::known(&self.place.client().await?).await
    }

    /// Incidents that are not in `known`, oldest first.
    async fn fresh(&self, known: &BTreeSet<String>) -> anyhow::Result<Vec<Incident>> {
        let api: Api<Incident> = Api::namespaced(self.place.client().await?, SYSTEM_NAMESPACE);
        let mut fresh = api.list(&ListParams::default()).await?.items;
        fresh.retain(|incident| !known.contains(&incident.name_any()));
        fresh.sort_by_key(kube::ResourceExt::name_any);
        Ok(fresh)
    }

    async fn replicas(&self, name: &str) -> anyhow::Result<u64> {
        self.number(&format!("deployment/{name}"), "{.spec.replicas}").await
    }

    /// Most replicas of orders, as its Blueprint says now.
    async fn limit(&self) -> anyhow::Result<u64> {
        self.number("blueprint/orders", "{.spec.limits.maxReplicas}").await
    }

    async fn number(&self, object: &str, path: &str) -> anyhow::Result<u64> {
        let found = self.place.kubectl(&["-n", SHOP, "get", object, "-o", &format!("jsonpath={path}")]).await?;
        Ok(found.trim().parse()?)
    }

    /// The approval request that waits.
    async fn asked(&self) -> anyhow::Result<ApprovalRequest> {
        let api: Api<ApprovalRequest> = Api::namespaced(self.place.client().await?, SYSTEM_NAMESPACE);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(request) = api.list(&ListParams::default()).await?.items.pop() {
                return Ok(request);
            }
            // One kind, looked at as a person would.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("nobody was asked within {} s", PATIENCE.as_secs())
    }

    /// The person's own word, under their own name.
    async fn agree(&self, request: &ApprovalRequest) -> anyhow::Result<()> {
        let spec = ApprovalSpec {
            request: request.name_any(),
            change: request.spec.change.clone(),
            verdict: Verdict::Approve,
            user: PERSON.0.into(),
            groups: vec![PERSON.1.into()],
            comment: "the campaign runs until tonight".into(),
            slack: None,
        };
        let approval: Value = serde_json::to_value(Approval::named(spec).map_err(anyhow::Error::msg)?)?;
        let file = self.place.dir().join("approval.json");
        std::fs::write(&file, approval.to_string())?;
        self.place.kubectl(&["--as", PERSON.0, "--as-group", PERSON.1, "-n", SYSTEM_NAMESPACE, "create", "-f", &file.display().to_string()]).await?;
        Ok(())
    }

    /// The group may approve in the shop, and answer where requests live.
    async fn let_approve(&self) -> anyhow::Result<()> {
        let group = format!("--group={}", PERSON.1);
        for (namespace, role) in [(SHOP, "--clusterrole=assent-approver"), (SYSTEM_NAMESPACE, "--role=assent-approver")] {
            self.place.kubectl(&["-n", namespace, "create", "rolebinding", "devops-team-approves", role, &group]).await?;
        }
        Ok(())
    }
}

// === impl Scenario ===

impl Scenario {
    fn of((metric, required): (&str, f64), ours: f64, right: bool, note: &str) -> Self {
        Self { metric: metric.into(), required, ours: (ours * 10.0).round() / 10.0, unit: "s", met: right && ours <= required, note: note.trim().to_owned() }
    }

    /// As a line of a table.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{:<55} {:>7.1} s of {:>4} s  {}", self.metric, self.ours, self.required, if self.met { "met" } else { "MISSED" })
    }
}
