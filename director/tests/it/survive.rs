//! What a director that dies or is restarted leaves to its next start, and what it makes of a ledger that somebody edited.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assent_api::names::{self, accounts};
use assent_api::resources::{Ballot, Decision, decision_name};
use assent_core::ballot::Principal;
use assent_core::ledger::verify;
use assent_director::{Args, Metrics, Ports};
use assent_runtime::CancellationToken;
use assent_runtime::kube::{KubeArgs, client};
use assent_runtime::workload::testing::Authority;
use assent_tests::scripted::Says;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::bench::{self, Bench, SECRET, firing, post, within};

/// Set in the process that is the director, to the directory that it shares with the test.
const CHILD: &str = "ASSENT_TEST_DIRECTOR";

/// A director in a process of its own, which can be killed.
struct Process {
    child: Child,
    intake: SocketAddr,
}

// === impl Process ===

impl Process {
    fn start(bench: &Bench) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "survive::killed_after_its_answer_it_keeps_its_word", "--nocapture"])
            .env(CHILD, bench.directory())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let intake = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("intake at ").map(|address| address.parse().unwrap()));
        Self { child, intake: intake.unwrap() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing is flushed, nothing is given back.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that is killed.
async fn be_the_director(directory: &std::path::Path) {
    let args = bench::args(&directory.join("store"), &directory.join("token"), &[]);
    let kube = KubeArgs { kubeconfig: Some(directory.join("kubeconfig")), ..KubeArgs::default() };
    let workload = Authority::new().workload(names::SYSTEM_NAMESPACE, accounts::DIRECTOR);
    let ports = Ports::bind(&args).await.unwrap();
    let [intake, ..] = ports.addresses().unwrap();
    #[expect(clippy::print_stdout, reason = "how the test learns the port")]
    let ready = move || println!("intake at {intake}");
    assent_director::direct(args, client(&kube).await.unwrap(), workload, Metrics::default(), ports, CancellationToken::new(), ready).await.unwrap();
}

#[tokio::test]
async fn killed_after_its_answer_it_keeps_its_word() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return be_the_director(std::path::Path::new(&directory)).await;
    }
    let bench = Bench::start("killed").await;
    let kubeconfig = bench.cluster.kubeconfig_with_token(&bench.director_token().await);
    std::fs::write(bench.directory().join("kubeconfig"), kubeconfig).unwrap();
    let path = format!("/v1/alertmanager/{SECRET}");

    let first = Process::start(&bench);
    let (status, reply) = post(first.intake, &path, &firing("a", "orders")).await;
    drop(first);
    assert_eq!(status, 200, "{reply}");
    let uid = serde_json::from_str::<Value>(&reply).unwrap()["incidents"][0].as_str().unwrap().to_owned();

    // The sender comes again to the next one, which knows the alert.
    let second = Process::start(&bench);
    let (status, reply) = post(second.intake, &path, &firing("a", "orders")).await;
    assert!(status == 200 && reply.contains(&uid), "{status} {reply}");
    // No seat can be reached: that is no quorum, twice, and then a person's matter.
    let status = bench.reaches(&uid, "Escalated").await.status.unwrap();
    assert!(status.outcome.as_deref().unwrap().contains("0 of 4 seats"), "{status:?}");
    assert_eq!(bench.incidents().await.len(), 1);
    let decisions = bench.ours::<Decision>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(decisions.len(), 2, "one for each epoch, however often it was started");
}

#[tokio::test]
async fn restarted_while_the_seats_vote_it_counts_what_they_stored() {
    let bench = Bench::start("resumed").await;
    let says =
        [("network", Says::Healthy), ("compute", Says::Blames(Principal::Kubelet)), ("change", Says::Blames(Principal::ApiServer)), ("database", Says::Waits)];
    let seats = bench.seats(&says).await;
    let director = bench.direct(&seats.addresses).await;
    let uid = bench.report(director.addresses[1], "assent-seat-network", &bench.anomaly("network").await).await.unwrap();
    for seat in ["network", "compute", "change"] {
        let _: Ballot = bench.appears(&format!("{uid}-1-cause-{seat}")).await;
    }
    bench.reaches(&uid, "Investigating").await;
    director.stop().await;
    assert!(bench.ours::<Decision>().get_opt(&decision_name(&uid, 1)).await.unwrap().is_none());

    let director = bench.direct(&seats.addresses).await;
    seats.go.send_replace(true);
    let decision: Decision = bench.appears(&decision_name(&uid, 1)).await;
    assert_eq!((decision.spec.verdict.as_str(), decision.spec.ballots.len()), ("Act", 8), "{:?}", decision.spec);
    bench.reaches(&uid, "Remediating").await;
    let (entries, head) = director.ledger(None).await;
    assert_eq!(verify(&entries).unwrap(), head);
    assert_eq!(entries.iter().filter(|entry| entry.kind == "seats-asked").count(), 1, "asked twice, on record once");
    director.stop().await;
}

#[tokio::test]
async fn with_an_edited_ledger_it_only_tells_people() {
    let bench = Bench::start("edited").await;
    let says =
        [("network", Says::Healthy), ("compute", Says::Blames(Principal::Kubelet)), ("change", Says::Blames(Principal::ApiServer)), ("database", Says::Waits)];
    let seats = bench.seats(&says).await;
    let director = bench.direct(&seats.addresses).await;
    let anomaly = bench.anomaly("network").await;
    let uid = bench.report(director.addresses[1], "assent-seat-network", &anomaly).await.unwrap();
    bench.reaches(&uid, "Investigating").await;
    director.stop().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", bench.store().join("director.db").display())).await.unwrap();
    sqlx::query("UPDATE ledger SET entry = replace(entry, '38 of 40', '00 of 40') WHERE sequence = 1").execute(&pool).await.unwrap();
    pool.close().await;

    let director = bench.direct(&seats.addresses).await;
    seats.go.send_replace(true);
    let status = bench.reaches(&uid, "Escalated").await.status.unwrap();
    assert!(status.outcome.unwrap().contains("the ledger does not hold (entry 1 is not what was appended)"));
    let (code, reply) = director.alert("alertmanager", &firing("new", "stock")).await;
    assert_eq!(code, 200, "{reply}");
    let other = serde_json::from_str::<Value>(&reply).unwrap()["incidents"][0].as_str().unwrap().to_owned();
    bench.reaches(&other, "Escalated").await;
    assert!(bench.ours::<Decision>().list(&ListParams::default()).await.unwrap().items.is_empty());
    director.stop().await;
}

#[tokio::test]
async fn a_second_director_waits_until_the_first_gives_the_lease_up() {
    let bench = Bench::start("lease").await;
    let first = bench.direct(&[]).await;
    let args = Args { instance: "second".into(), store: bench.directory().join("other-store"), ..bench.args(&[]) };
    let (second, mut is_ready) = bench.contend(args).await;
    // Two of its turns at the lease; a wait, since what must not happen makes no event.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(is_ready.try_recv().is_err(), "both are at work");
    let leases: Api<Lease> = bench.ours();
    let holder = async || leases.get("assent-director").await.unwrap().spec.unwrap().holder_identity;
    assert_eq!(holder().await.as_deref(), Some("assent-director"));
    first.stop().await;
    within(is_ready).await.unwrap();
    assert_eq!(holder().await.as_deref(), Some("second"));
    second.stop().await;
    assert_eq!(holder().await, None);
}
