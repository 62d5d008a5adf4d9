//! The whole of Assent on a whole real node: three faults repaired by three different actions, a fourth that nobody may
//! repair, and what the processes cost and use meanwhile. One node and one order, since a cluster is minutes of work; a
//! binary of its own, so that nothing else runs beside it on a small machine.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::time::{Duration, Instant};

use assent_api::resources::Remediation;
use assent_tests::place::Place;
use assent_tests::shop::{Fault, calm, cause, customers, quiet};
use assent_tests::{images, install, privileges, seats, story, world};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

/// Most that a process may hold, idle.
const MOST_MB: u64 = 40;
/// Most that a sidecar may hold.
const SIDECAR_MB: u64 = 12;
/// Windows that the seats learn from.
const LEARNING: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn three_faults_are_repaired_by_three_actions_and_the_fourth_by_nobody() {
    if !assent_tests::nodes_can_run() {
        return;
    }
    let say = |line: &str| eprintln!("  {line}");
    let images = tokio::task::spawn_blocking(images::build).await.unwrap().unwrap();
    let mut place = Place::from(assent_cluster::node("heal").await.unwrap());
    place.prepare(&images, &say).await.unwrap();
    install::assent(&place, &say).await.unwrap();
    install::shop(&place, &say).await.unwrap();
    tokio::time::sleep(LEARNING).await;

    // Idle means before anything happened; the shop's load is what the sidecars are for.
    let figures = privileges::memory(place.node().unwrap()).await;
    eprintln!("resident memory, idle:\n{}", figures.iter().map(|f| format!("  {f}\n")).collect::<String>());
    for (fault, action) in [(Fault::BadRollout, "roll back"), (Fault::Wedge, "restart"), (Fault::Load, "scale to")] {
        let ending = suffer(&place, fault).await;
        assert_eq!(ending.phase, "Resolved", "{fault:?}: {:?}", ending.incident.status);
        let plans = plans(&place, &ending).await;
        assert!(plans.len() == 1 && plans[0].spec.action.starts_with(action), "{fault:?} was repaired by {plans:?}");
        calm(&place, fault).await.unwrap();
        quiet(&place).await.unwrap();
    }

    killed_at_every_step(&place).await;
    quiet(&place).await.unwrap();
    without_the_gate(&place).await;

    let before = workloads(&place).await;
    let ending = suffer(&place, Fault::FrozenDatabase).await;
    let after = workloads(&place).await;
    calm(&place, Fault::FrozenDatabase).await.unwrap();
    assert_eq!(ending.phase, "Escalated", "{:?}", ending.incident.status);
    assert_eq!(plans(&place, &ending).await.len(), 0, "something was planned");
    assert_eq!(before, after, "something was written");
    let hypotheses = ending.incident.status.clone().unwrap_or_default().hypotheses;
    assert!(hypotheses.len() >= 2, "a person is told {hypotheses:?}");

    for figure in &figures {
        let most = if figure.process == "assent-sidecar" { SIDECAR_MB } else { MOST_MB };
        assert!(figure.megabytes < most, "{figure} is not below {most} MB");
    }
    let unused = privileges::unused(place.node().unwrap()).await;
    assert!(unused.is_empty(), "granted and never used:\n{}", unused.join("\n"));
}

/// The director, the executor and the gate are killed (`kill -9`) as the incident travels. It ends once, was applied once, and
/// the record holds.
async fn killed_at_every_step(place: &Place) {
    let client = place.client().await.unwrap();
    let known = story::known(&client).await.unwrap();
    let broken = Instant::now();
    cause(place, Fault::BadRollout).await.unwrap();
    let tell = |at: f64, line: &str| {
        eprintln!("{at:6.1} s  {line}");
        let victims: &[&str] = match line.trim_start() {
            line if line.starts_with("incident") && !line.contains("Resolved") => &["assent-director"],
            line if line.starts_with("decision Act") => &["assent-executor"],
            line if line.contains("admitted") => &["assent-gate", "assent-executor"],
            line if line.starts_with("remediation Applied") => &["assent-director", "assent-executor"],
            _ => &[],
        };
        for victim in victims {
            let killed = privileges::kill(place.node().unwrap(), victim);
            eprintln!("          kill -9 {victim} ({killed} processes)");
        }
    };
    let ending = story::follow(&client, &known, broken, Duration::from_secs(400), &tell).await.unwrap();
    assert_eq!(ending.phase, "Resolved", "{:?}", ending.incident.status);
    let uid = ending.incident.name_any();
    assert_eq!(plans(place, &ending).await.len(), 1, "one incident, one plan");
    let writes = privileges::writes(&std::fs::read_to_string(place.audit_log().unwrap()).unwrap(), &uid);
    assert_eq!(writes, 1, "the action was applied {writes} times");
    let verified =
        std::process::Command::new(images::program("kubectl-assent")).env("KUBECONFIG", place.kubeconfig_path()).args(["verify", &uid]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// No gate runs: the executor's user is refused, and customers are served, pods are made, workloads change as ever.
async fn without_the_gate(place: &Place) {
    let gate = |replicas: &'static str| async move {
        place.kubectl(&["-n", "assent-system", "scale", "deployment/assent-gate", replicas]).await.unwrap();
        place.kubectl(&["-n", "assent-system", "rollout", "status", "deployment/assent-gate", "--timeout=90s"]).await.unwrap();
    };
    gate("--replicas=0").await;
    place.kubectl(&["-n", "assent-system", "wait", "pod", "-l", "app.kubernetes.io/name=assent-gate", "--for=delete", "--timeout=60s"]).await.unwrap();
    let token = place.kubectl(&["-n", "assent-system", "create", "token", "assent-executor"]).await.unwrap();
    let thief = place.client_with_token(token.trim()).await.unwrap();
    let path = "/apis/apps/v1/namespaces/shop/deployments/orders/scale";
    let mut scale = world::get(&place.client().await.unwrap(), path).await.unwrap();
    // Within what the native policies permit, so that it is the missing gate that refuses.
    scale["spec"]["replicas"] = serde_json::json!(5);
    let refusal = world::impersonated(&thief, &[seats::incident().as_str()], "PUT", &format!("{path}?fieldManager=assent-executor"), &scale).await.unwrap_err();
    assert!(refusal.contains("failed calling webhook"), "{refusal}");
    // A person's change: a second storefront comes up, with its sidecar, while customers go on.
    place.kubectl(&["-n", install::SHOP, "scale", "deployment/storefront", "--replicas=2"]).await.unwrap();
    place.kubectl(&["-n", install::SHOP, "rollout", "status", "deployment/storefront", "--timeout=90s"]).await.unwrap();
    // The customers' figures are of the last ten seconds.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let stats = customers(place).await.unwrap();
    assert!(stats["window"]["failed"] == 0 && stats["window"]["ok"].as_u64().unwrap() > 0, "without the gate customers see {stats}");
    eprintln!("without the gate: executor refused ({}), customers {stats}", refusal.get(..60).unwrap_or(&refusal));
    place.kubectl(&["-n", install::SHOP, "scale", "deployment/storefront", "--replicas=1"]).await.unwrap();
    gate("--replicas=3").await;
}

async fn suffer(place: &Place, fault: Fault) -> story::Ending {
    let client = place.client().await.unwrap();
    let known = story::known(&client).await.unwrap();
    let broken = Instant::now();
    cause(place, fault).await.unwrap();
    eprintln!("{fault:?}");
    let ending = story::follow(&client, &known, broken, Duration::from_secs(240), &|at, line| eprintln!("{at:6.1} s  {line}")).await;
    let customers = customers(place).await;
    let ending = ending.unwrap_or_else(|error| panic!("{fault:?}: {error}; customers {customers:?}"));
    eprintln!("{fault:?}: {:?}; customers {customers:?}", ending.timeline);
    ending
}

async fn plans(place: &Place, ending: &story::Ending) -> Vec<Remediation> {
    let api: Api<Remediation> = Api::namespaced(place.client().await.unwrap(), "assent-system");
    let of_incident = format!("assent.dev/incident-uid={}", ending.incident.name_any());
    api.list(&ListParams::default().labels(&of_incident)).await.unwrap().items
}

/// Every Deployment of the shop by generation: what a write would raise.
async fn workloads(place: &Place) -> String {
    place
        .kubectl(&["-n", install::SHOP, "get", "deployments,statefulsets", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.generation} {end}"])
        .await
        .unwrap()
}
