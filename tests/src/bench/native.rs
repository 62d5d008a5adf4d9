//! Through a real API server: its own policies, ours behind its webhook call, and what the call itself and the server alone
//! cost. Each is a dry-run creation of the same pod by the same client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::ground::Ground;
use super::guardrails::{Direct, Gate, one_and_many};
use super::load::{self, Load, Question};
use super::process::{self, GENERATOR, SERVER, Server, free_port};
use super::rows::{Figures, Row};
use super::{CONNECTIONS, RUNS, TIME, policies};

/// Share of the native policies' highest rate that everything is compared at.
const SHARE: f64 = 0.7;
/// A change of configuration reaches the server's caches within moments, and offers no event.
const SETTLING: Duration = Duration::from_secs(2);

/// What was seen of one configuration.
#[derive(Debug)]
struct Through {
    p50: Figures,
    p99: Figures,
    most: Figures,
}

/// Everything that goes through the API server; our sixteen guardrails are in force.
///
/// # Errors
/// If something is not admitted or refused as it must be.
pub async fn measure(ground: &Ground, direct: &Direct, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    ground.pin(SERVER)?;
    let rows = all(ground, direct, say).await;
    ground.pin(GENERATOR)?;
    rows
}

async fn all(ground: &Ground, direct: &Direct, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    let sixteen = policies::pod_security();
    let native: Vec<Value> = sixteen.iter().flat_map(|policy| [policy.native(), policy.binding(true, &policy.name, None)]).collect();
    ground.apply_all(&native).await?;
    // The controller manager checks their types on the same core, once.
    let list = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let checked = |policy: &Value| policy["status"]["observedGeneration"].is_number();
    let all = async || ground.list(list).await.is_ok_and(|found| found["items"].as_array().is_some_and(|items| items.iter().all(checked)));
    ground.eventually("native policies are type-checked", all).await?;
    let (by_native, rate) = through(ground, true, None).await?;
    ground.delete_all(&native).await?;
    say(&format!("native policies: p99 {:?} ms at {rate:.0} requests a second", by_native.p99.0));
    let (alone, _) = through(ground, false, Some(rate)).await?;
    say(&format!("no policy: p99 {:?} ms", alone.p99.0));
    let (allowed, ours) = {
        let allow = block_in_place(|| always_allow(ground))?;
        let configuration = configuration(ground, allow.1, "allow");
        ground.apply(&configuration).await?;
        let allowed = through(ground, false, Some(rate)).await?.0;
        ground.delete_all(&[configuration]).await?;
        drop(allow);
        say(&format!("a webhook that always allows: p99 {:?} ms", allowed.p99.0));
        let gate = block_in_place(|| Gate::start(ground))?;
        let configuration = self::configuration(ground, gate.address, "guardrails");
        ground.apply(&configuration).await?;
        let ours = through(ground, true, Some(rate)).await?.0;
        ground.delete_all(&[configuration]).await?;
        say(&format!("our guardrails: p99 {:?} ms", ours.p99.0));
        (allowed, ours)
    };
    let mut rows = Vec::new();
    let note = format!("dry-run creations through the API server at {rate:.0} requests a second, its audit log on");
    for (name, peer) in
        [("native ValidatingAdmissionPolicy v1.34.4", &by_native), ("no policy (baseline)", &alone), ("always-allow webhook (baseline)", &allowed)]
    {
        rows.push(Row::ours("api_p50_ms", "ms", &ours.p50).beside(name, &peer.p50).noting(note.clone()));
        rows.push(Row::ours("api_p99_ms", "ms", &ours.p99).beside(name, &peer.p99).noting(note.clone()));
        rows.push(Row::ours("api_most_per_s", "1/s", &ours.most).beside(name, &peer.most).noting("more is better; eight connections without a pause"));
    }
    rows.push(native_bindings(ground, direct, say).await?);
    Ok(rows)
}

/// What bindings cost in the server itself, for the row of ours.
async fn native_bindings(ground: &Ground, direct: &Direct, say: &dyn Fn(&str)) -> anyhow::Result<Row> {
    let (one, many) = one_and_many(true);
    let question = ground.creation(&policies::good_pod())?;
    ground.apply_all(&one).await?;
    settled(ground, true).await?;
    // A rate that the large set sustains as well; found by asking it first.
    ground.apply_all(&many).await?;
    tokio::time::sleep(SETTLING).await;
    let rate = super::most(&question)?.median().context("a rate")? * SHARE;
    let load = Load { rate: Some(rate), connections: CONNECTIONS, time: TIME };
    let p99 = |seen: Vec<load::Seen>| -> Figures { seen.iter().map(|seen| seen.quantile(0.99)).collect() };
    let lots = p99(super::several(&question, load, RUNS)?);
    ground.delete_all(&many).await?;
    tokio::time::sleep(SETTLING).await;
    let few = p99(super::several(&question, load, RUNS)?);
    ground.delete_all(&one).await?;
    settled(ground, false).await?;
    let ratio: Figures = lots.0.iter().zip(&few.0).map(|(lots, few)| lots / few).collect();
    say(&format!("native p99 with one binding {:?}, with 1,024 {:?} ms", few.0, lots.0));
    let note = format!("native through the API server at {rate:.0} requests a second: {:.2} ms with 1,024", lots.median().unwrap_or_default());
    Ok(Row::ours("bindings_1024_over_1_p99", "ratio", &direct.bindings).beside("native ValidatingAdmissionPolicy v1.34.4", &ratio).noting(note))
}

/// Figures at `rate`, or at a share of the highest, which is returned.
async fn through(ground: &Ground, refuses: bool, rate: Option<f64>) -> anyhow::Result<(Through, f64)> {
    settled(ground, refuses).await?;
    let question = ground.creation(&policies::good_pod())?;
    super::must_say(&question)?;
    let most = super::most(&question)?;
    let rate = rate.or_else(|| Some(most.median()? * SHARE)).context("a rate")?;
    let seen = super::several(&question, Load { rate: Some(rate), connections: CONNECTIONS, time: TIME }, RUNS)?;
    let of = |share: f64| seen.iter().map(|seen| seen.quantile(share)).collect();
    Ok((Through { p50: of(0.5), p99: of(0.99), most }, rate))
}

/// Waits until a bad pod is refused, or is not.
async fn settled(ground: &Ground, refuses: bool) -> anyhow::Result<()> {
    let bad = Question { good: if refuses { "\"reason\":" } else { "\"kind\":\"Pod\"" }, ..ground.creation(&policies::bad_pod())? };
    let what = if refuses { "a bad pod is refused" } else { "nothing is refused any more" };
    ground.eventually(what, async || super::must_say(&bad).is_ok()).await?;
    // The others of the same change follow.
    tokio::time::sleep(SETTLING).await;
    Ok(())
}

fn always_allow(ground: &Ground) -> anyhow::Result<(Server, SocketAddr)> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = process::program(&std::env::current_exe()?);
    command.arg("allow").arg(format!("--listen={address}")).arg(format!("--files={}", ground.files().display()));
    let mut server = Server::start(&mut command, &ground.log("allow"))?;
    server.until("listening", Duration::from_secs(20), || std::net::TcpStream::connect(address).is_ok())?;
    Ok((server, address))
}

fn configuration(ground: &Ground, address: SocketAddr, path: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "bench"},
        "webhooks": [{
            "name": "bench.assent.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 10,
            "clientConfig": {"url": format!("https://localhost:{}/{path}", address.port()), "caBundle": ground.bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"]}],
        }]
    })
}
