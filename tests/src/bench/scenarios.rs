//! Five scenarios of two services under Blueprints, on a real node, each timed: more replicas for more load while the other service is left
//! alone, fewer and taken back when that is felt, more than the limits allow once a person agrees, and what is never done.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Approval, ApprovalRequest, ApprovalSpec, RemediationPhase, Verdict};
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
/// Customers a second: usual, more than one replica is for, few, and more than one replica can serve.
const USUAL: u32 = 20;
const MORE: u32 = 37;
const FEW: u32 = 1;
const FLOOD: u32 = 160;
/// How long a number of customers has to show, and the most that come.
const STEADY: Duration = Duration::from_secs(50);
const MOST: u32 = 140;

/// Each scenario with the seconds that it may take.
const MORE_REPLICAS: (&str, f64) = ("1 autonomous scale-up, detection to verified", 120.0);
const BEYOND: (&str, f64) = ("2 beyond the limits, with a person's word", 900.0);
const FORBIDDEN: (&str, f64) = ("3 forbidden operation refused, alternatives named", 1.0);
const FELT: (&str, f64) = ("4 scale-down that is felt is taken back", 210.0);
const ALONE: (&str, f64) = ("5 two services, only the loaded one scaled", 120.0);

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

/// Runs all five.
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
    // One replica at the usual rate uses half of what it asks for, on whatever machine, and may use two thirds more than that.
    for name in ["orders", "storefront"] {
        let usual = scene.used(name).await?;
        say(&format!("{name} uses {usual}m at {USUAL} customers a second"));
        let (request, limit) = (format!("--requests=cpu={}m", 2 * usual), format!("--limits=cpu={}m", usual * 10 / 3));
        scene.place.kubectl(&["-n", SHOP, "set", "resources", &format!("deployment/{name}"), "-c", name, &request, &limit]).await?;
        scene.place.kubectl(&["-n", SHOP, "rollout", "status", &format!("deployment/{name}"), "--timeout=120s"]).await?;
    }
    scene.let_approve().await?;
    say("kubectl apply -f shop/scenarios/blueprints.yaml");
    scene.place.kubectl(&["apply", "-f", &scenarios().display().to_string()]).await?;
    // The baseline is a matter of time, not of an event.
    tokio::time::sleep(LEARNING).await;

    // One that does not end is a row as well, and the others go on.
    let mut done = vec![ended(FORBIDDEN, scene.forbidden(say).await)];
    match scene.more(say).await {
        Ok(both) => done.extend(both),
        Err(error) => done.push(ended(MORE_REPLICAS, Err(error))),
    }
    done.push(ended(FELT, scene.fewer(say).await));
    done.push(ended(BEYOND, scene.beyond(say).await));
    shop::rate(&scene.place, USUAL).await?;
    Ok(done)
}

fn ended((metric, required): (&str, f64), scenario: anyhow::Result<Scenario>) -> Scenario {
    scenario.unwrap_or_else(|error| Scenario::of((metric, required), required, false, &format!("{error:#}")))
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

    /// 1 and 5: more replicas for one service, and the other is left alone.
    async fn more(&self, say: Progress<'_>) -> anyhow::Result<Vec<Scenario>> {
        say(&format!("1  customers: {USUAL} a second, now {MORE}"));
        let known = self.known().await?;
        let started = Instant::now();
        let following = self.follow(&known, started, say, None);
        let (ending, grown) = tokio::join!(following, self.grow(&known, MORE, say));
        let ending = ending?;
        grown?;
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
        Ok(vec![Scenario::of(MORE_REPLICAS, took - detected, right, &note), Scenario::of(ALONE, took - detected, alone, &beside)])
    }

    /// 4: fewer replicas while hardly anybody asks; then everybody comes at once, answers are late, and it is taken back.
    async fn fewer(&self, say: Progress<'_>) -> anyhow::Result<Scenario> {
        say(&format!("4  customers: {FEW} a second"));
        let known = self.known().await?;
        let started = Instant::now();
        shop::rate(&self.place, FEW).await?;
        let (applied, mut when) = mpsc::unbounded_channel();
        let flooding = async {
            when.recv().await.context("it was never applied")?;
            say(&format!("   and {FLOOD} a second as soon as one replica is gone"));
            shop::rate(&self.place, FLOOD).await
        };
        let following = self.follow(&known, started, say, Some(applied));
        let (ending, flooded) = tokio::join!(following, flooding);
        let ending = ending?;
        flooded?;
        let replicas = self.replicas("orders").await?;
        let right = ending.phase == "RolledBack" && replicas == 2;
        let outcome = ending.incident.status.clone().unwrap_or_default().outcome.unwrap_or_default();
        let took = ending.timeline.closed.unwrap_or_default() - ending.timeline.incident.unwrap_or_default();
        let scenario = Scenario::of(FELT, took, right, &format!("{} with {replicas} replicas: {outcome}", ending.phase));
        shop::rate(&self.place, USUAL).await?;
        Ok(scenario)
    }

    /// 2: more than the limits allow, once a person agrees.
    async fn beyond(&self, say: Progress<'_>) -> anyhow::Result<Scenario> {
        let known = self.known().await?;
        let started = Instant::now();
        let rate = 2 * MORE - USUAL / 2;
        say(&format!("2  customers: {rate} a second, with two replicas of at most two"));
        let answering = async {
            let request = self.asked().await?;
            say(&format!("   {} asks: {} on {}", request.name_any(), request.spec.action, request.spec.target));
            self.agree(&request).await?;
            say(&format!("   {} of {} agrees", PERSON.0, PERSON.1));
            Ok::<_, anyhow::Error>(())
        };
        let following = self.follow(&known, started, say, None);
        let (ending, answered, grown) = tokio::join!(following, answering, self.grow(&known, rate, say));
        let ending = ending?;
        answered?;
        grown?;
        let replicas = self.replicas("orders").await?;
        let right = ending.phase == "Resolved" && replicas == 3;
        let took = ending.timeline.closed.unwrap_or_default() - ending.timeline.incident.unwrap_or_default();
        Ok(Scenario::of(BEYOND, took, right, &format!("{} with {replicas} replicas", ending.phase)))
    }

    /// More customers until there is an incident: enough for the replicas to be full on whatever machine, and never so many at once
    /// that they are late, which would be trouble.
    async fn grow(&self, known: &BTreeSet<String>, from: u32, say: Progress<'_>) -> anyhow::Result<()> {
        let mut rate = from;
        while rate <= MOST {
            shop::rate(&self.place, rate).await?;
            let until = Instant::now() + STEADY;
            while Instant::now() < until {
                if self.known().await?.difference(known).next().is_some() {
                    return Ok(());
                }
                // One kind, looked at as a person would.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            rate += from.div_ceil(8);
            say(&format!("   and {rate} a second, since the replicas are not full yet"));
        }
        bail!("with {MOST} customers a second the replicas are not full")
    }

    /// Follows the next incident; `applied` hears when its write is done.
    async fn follow(
        &self,
        known: &BTreeSet<String>,
        started: Instant,
        say: Progress<'_>,
        applied: Option<mpsc::UnboundedSender<()>>,
    ) -> anyhow::Result<Ending> {
        let client = self.place.client().await?;
        let word = format!("remediation {:?}", RemediationPhase::Applied);
        let tell = |at: f64, line: &str| {
            say(&format!("   {at:5.1} s  {line}"));
            if let Some(applied) = applied.as_ref().filter(|_| line.contains(&word)) {
                // Whoever waited may be gone.
                let _ = applied.send(());
            }
        };
        story::follow(&client, known, started, PATIENCE, &tell).await
    }

    /// Thousandths of a processor that the service's own container uses: the least of three looks.
    async fn used(&self, name: &str) -> anyhow::Result<u64> {
        let mut least = u64::MAX;
        for _ in 0..3 {
            least = least.min(self.told(name).await?);
            // Kubelets measure every ten seconds.
            tokio::time::sleep(Duration::from_secs(11)).await;
        }
        Ok(least)
    }

    async fn told(&self, name: &str) -> anyhow::Result<u64> {
        let nodes = self.place.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await?;
        let told = self.place.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{}/proxy/stats/summary", nodes.trim())]).await?;
        let told: Value = serde_json::from_str(&told)?;
        let pods = told["pods"].as_array().context("the kubelet tells of no pods")?.iter();
        let own = pods.filter(|pod| pod["podRef"]["namespace"] == SHOP).filter_map(|pod| pod["containers"].as_array()).flatten();
        let used = own.filter(|container| container["name"] == name).filter_map(|container| container["cpu"]["usageNanoCores"].as_u64()).max();
        Ok((used.context("the kubelet tells nothing of it")? / 1_000_000).max(20))
    }

    async fn known(&self) -> anyhow::Result<BTreeSet<String>> {
        story::known(&self.place.client().await?).await
    }

    async fn replicas(&self, name: &str) -> anyhow::Result<u64> {
        let found = self.place.kubectl(&["-n", SHOP, "get", &format!("deployment/{name}"), "-o", "jsonpath={.spec.replicas}"]).await?;
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
