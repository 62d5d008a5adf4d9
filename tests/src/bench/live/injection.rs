//! Faults brought into a running shop from outside, and taken out again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::faults::{Cause, Fault};
use crate::install::SHOP;
use crate::place::Place;
use crate::{pods, shop};

/// Customers a second on a usual day.
const USUAL: u32 = 20;
/// As in the shop's manifest.
const PASSWORD: &str = "only-for-the-demo";
/// How long PostgreSQL stands still and how long it goes on.
const STILL: Duration = Duration::from_millis(450);
const GOING: Duration = Duration::from_millis(50);
const NAMES: &str = "jsonpath={.items[*].metadata.name}";
/// Namespace of the noisy neighbour.
const NEIGHBOUR: &str = "neighbour";

/// The shop as it was, to be put back after each fault.
#[derive(Debug)]
pub struct Shop {
    saved: PathBuf,
}

/// A fault that is there. Dropping it ends what runs for it; [`Shop::restore`] undoes it.
#[derive(Debug, Default)]
pub struct Injected {
    hogs: Vec<Child>,
    session: Option<PgConnection>,
    stutter: Option<(CancellationToken, AbortOnDropHandle<anyhow::Result<()>>)>,
    filtered: Vec<Pid>,
    undo: Option<&'static str>,
    neighbour: bool,
    /// Pods that answer nothing until they are gone.
    wedged: Vec<String>,
}

// === impl Shop ===

impl Shop {
    /// Remembers the Deployments and settings.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn remember(place: &Place) -> anyhow::Result<Self> {
        let listed = place.kubectl(&["-n", SHOP, "get", "deployment/orders", "deployment/storefront", "configmap/orders-settings", "-o", "json"]).await?;
        let mut list: Value = serde_json::from_str(&listed)?;
        for object in list["items"].as_array_mut().context("no Deployments are listed")? {
            *object = json!({
                "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"], "data": object["data"],
                "metadata": {"name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"], "labels": object["metadata"]["labels"]}
            });
            object.as_object_mut().context("an object is none")?.retain(|_, part| !part.is_null());
        }
        let saved = place.dir().join("shop-as-it-was.json");
        std::fs::write(&saved, json!({"apiVersion": "v1", "kind": "List", "items": list["items"]}).to_string())?;
        Ok(Self { saved })
    }

    /// Undoes a fault and whatever was done about it.
    ///
    /// # Errors
    /// If something cannot be undone.
    pub async fn restore(&self, place: &Place, injected: Injected) -> anyhow::Result<()> {
        injected.end(place).await?;
        shop::rate(place, USUAL).await?;
        place.kubectl(&["replace", "-f", &self.saved.display().to_string()]).await?;
        for name in ["deployment/orders", "deployment/storefront"] {
            place.kubectl(&["-n", SHOP, "rollout", "status", name, "--timeout=120s"]).await?;
        }
        Ok(())
    }
}

// === impl Injected ===

impl Injected {
    /// Causes a fault.
    ///
    /// # Errors
    /// If it cannot be caused.
    pub async fn of(place: &Place, cause: Cause) -> anyhow::Result<Self> {
        let mut injected = Self::default();
        match cause {
            Cause::Kubectl(calls) => {
                for call in calls {
                    place.kubectl(&[&["-n", SHOP], *call].concat()).await?;
                }
            }
            Cause::Shop(fault) => {
                if fault == shop::Fault::Wedge {
                    injected.wedged = pods::names(place, SHOP, "app=orders").await?;
                }
                shop::cause(place, fault).await?;
            }
            Cause::WedgeOne => {
                // A connection stays with the pod that it was made to, so the older one answers.
                let pods = place.kubectl(&["-n", SHOP, "get", "pods", "-l", "app=orders", "--sort-by=.metadata.creationTimestamp", "-o", NAMES]).await?;
                let oldest = pods.split_whitespace().next().context("no pod of orders runs")?.to_owned();
                shop::wedge(place, &oldest).await?;
                injected.wedged.push(oldest);
            }
            Cause::Hog => {
                for process in containers(place, "orders").await? {
                    injected.hogs.push(hog(process)?);
                }
            }
            Cause::Stutter => {
                let processes = pods::processes(place, SHOP, "postgres-0", "postgres").await?;
                let first = *processes.first().context("PostgreSQL has no process")?;
                let token = CancellationToken::new();
                injected.stutter = Some((token.clone(), AbortOnDropHandle::new(tokio::spawn(stutter(first, token)))));
            }
            Cause::Drop => {
                for process in containers(place, "orders").await? {
                    filter(process).await?;
                    injected.filtered.push(process);
                }
            }
            Cause::Sql { fault, undo, .. } => {
                sql(place, fault).await?;
                injected.undo = Some(undo);
            }
            Cause::Session(statements) => {
                let mut session = connect(place).await?;
                sqlx::raw_sql(statements).execute(&mut session).await.context(statements)?;
                injected.session = Some(session);
            }
            Cause::Neighbour => {
                injected.neighbour = true;
                neighbour(place).await?;
            }
        }
        Ok(injected)
    }

    async fn end(mut self, place: &Place) -> anyhow::Result<()> {
        for hog in &mut self.hogs {
            if let Some(group) = hog.id() {
                // It may have ended with its container.
                let _ended = nix::sys::signal::killpg(Pid::from_raw(i32::try_from(group)?), Signal::SIGKILL);
            }
            hog.wait().await?;
        }
        if let Some((token, task)) = self.stutter.take() {
            token.cancel();
            task.await??;
        }
        for process in self.filtered {
            // A restarted pod has taken its rules along.
            if Path::new(&format!("/proc/{process}/ns/net")).exists() {
                run(Command::new("nsenter").args([&format!("--net=/proc/{process}/ns/net"), "nft", "delete table inet live"])).await?;
            }
        }
        if let Some(session) = self.session.take() {
            session.close().await.context("end the session")?;
        }
        if let Some(undo) = self.undo {
            sql(place, undo).await?;
        }
        for pod in self.wedged {
            // Where the repair took it away there is nothing to do.
            place.kubectl(&["-n", SHOP, "delete", "pod", &pod, "--ignore-not-found", "--wait=false"]).await?;
        }
        if self.neighbour {
            place.kubectl(&["delete", "namespace", NEIGHBOUR, "--timeout=90s"]).await?;
        }
        Ok(())
    }
}

/// Makes what a fault needs to be there long before; whether there was such a thing.
///
/// # Errors
/// If it cannot be made.
pub async fn prepare(place: &Place, fault: &Fault) -> anyhow::Result<bool> {
    if let Cause::Sql { before, .. } = fault.cause {
        sql(place, before).await?;
        return Ok(true);
    }
    if fault.replicas > 1 {
        place.kubectl(&["-n", SHOP, "scale", "deployment/orders", &format!("--replicas={}", fault.replicas)]).await?;
        place.kubectl(&["-n", SHOP, "rollout", "status", "deployment/orders", "--timeout=120s"]).await?;
    }
    Ok(fault.replicas > 1)
}

/// The first process of the container of each pod of `app`.
async fn containers(place: &Place, app: &str) -> anyhow::Result<Vec<Pid>> {
    let mut first = Vec::new();
    for pod in pods::names(place, SHOP, &format!("app={app}")).await? {
        first.extend(pods::processes(place, SHOP, &pod, app).await?.first());
    }
    Ok(first)
}

/// A busy process that the kernel counts to the container of `process`, and that ends with it.
fn hog(process: Pid) -> anyhow::Result<Child> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    let joins: String = groups
        .lines()
        .filter_map(|line| line.splitn(3, ':').skip(1).collect::<Vec<_>>().try_into().ok())
        .map(|[controllers, path]: [&str; 2]| {
            let folder = if controllers.is_empty() { "." } else { controllers.trim_start_matches("name=") };
            format!("g=/sys/fs/cgroup/{folder}{path}/cgroup.procs; [ ! -e $g ] || echo $$ > $g; ")
        })
        .collect();
    let busy = format!("{joins} exec nsenter --target {process} --pid -- /bin/sh -c 'while :; do :; done'");
    // A group of its own, since nsenter leaves the work to a child.
    Command::new("/bin/sh").args(["-ec", &busy]).process_group(0).kill_on_drop(true).spawn().context("start a busy process")
}

/// Stops and continues a process with its children, as they are each time, until cancelled; it goes on afterwards.
async fn stutter(first: Pid, token: CancellationToken) -> anyhow::Result<()> {
    let mut last = Vec::new();
    while !token.is_cancelled() {
        last = family(first)?;
        send(&last, Signal::SIGSTOP);
        tokio::time::sleep(STILL).await;
        send(&last, Signal::SIGCONT);
        token.run_until_cancelled(tokio::time::sleep(GOING)).await;
    }
    send(&last, Signal::SIGCONT);
    Ok(())
}

fn family(first: Pid) -> anyhow::Result<Vec<Pid>> {
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
    let children = children.split_whitespace().filter_map(|child| child.parse().ok()).map(Pid::from_raw);
    Ok(std::iter::once(first).chain(children).collect())
}

fn send(processes: &[Pid], signal: Signal) {
    for process in processes {
        // A session that has just ended needs no signal.
        let _gone = nix::sys::signal::kill(*process, signal);
    }
}

/// Drops three of ten packets from everywhere but the pod itself and its node, whose probes go on.
async fn filter(process: Pid) -> anyhow::Result<()> {
    let net = format!("--net=/proc/{process}/ns/net");
    let routes = run(Command::new("nsenter").args([&net, "ip", "-4", "route", "show", "default"])).await?;
    let gateway = routes.split_whitespace().skip_while(|word| *word != "via").nth(1).with_context(|| format!("no gateway in `{routes}`"))?;
    let rules = format!(
        "add table inet live; add chain inet live arriving {{ type filter hook prerouting priority -300; policy accept; }}; \
         add rule inet live arriving iifname != \"lo\" ip saddr != {gateway} numgen random mod 10 < 3 drop"
    );
    run(Command::new("nsenter").args([&net, "nft", &rules])).await?;
    Ok(())
}

/// Busy loops that asked for a share of the node which the shop's small requests cannot hold against.
async fn neighbour(place: &Place) -> anyhow::Result<()> {
    place.kubectl(&["create", "namespace", NEIGHBOUR]).await?;
    let busy = "for i in 1 2 3 4 5 6; do (while :; do :; done) & done; wait";
    let image = "--image=localhost/assent-postgres:15";
    place.kubectl(&["-n", NEIGHBOUR, "create", "deployment", "noise", image, "--replicas=0", "--", "/bin/sh", "-c", busy]).await?;
    place.kubectl(&["-n", NEIGHBOUR, "set", "resources", "deployment/noise", "--requests=cpu=400m"]).await?;
    place.kubectl(&["-n", NEIGHBOUR, "scale", "deployment/noise", "--replicas=1"]).await?;
    Ok(())
}

/// A session at PostgreSQL's socket in its container: no sidecar sees it.
async fn connect(place: &Place) -> anyhow::Result<PgConnection> {
    let processes = pods::processes(place, SHOP, "postgres-0", "postgres").await?;
    let first = processes.first().context("PostgreSQL has no process")?;
    let options = PgConnectOptions::new().socket(format!("/proc/{first}/root/tmp")).port(5432).username("shop").password(PASSWORD).database("postgres");
    options.connect().await.context("connect to PostgreSQL's socket")
}

/// Runs statements in a session of their own.
async fn sql(place: &Place, statements: &'static str) -> anyhow::Result<()> {
    let mut session = connect(place).await?;
    sqlx::raw_sql(statements).execute(&mut session).await.context(statements)?;
    session.close().await.context("end the session")
}

async fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().await.with_context(|| format!("start {command:?}"))?;
    anyhow::ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
