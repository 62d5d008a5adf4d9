//! What there is to verify: the ledger, and the objects of one incident. Read from the cluster, or from a file that an earlier
//! run saved; read once, then only computed on.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use assent_api::names::{INCIDENT, SYSTEM_NAMESPACE};
use assent_api::resources::{Ballot, Decision, Remediation};
use assent_core::canonical::Digest;
use assent_core::ids::IncidentUid;
use assent_core::ledger::{Entry, Head, Proof};
use http_body_util::{BodyExt as _, Limited};
use kube::api::ListParams;
use kube::{Api, Client};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The director's read-only ledger port, through the API server.
const PORT: &str = "/api/v1/namespaces/assent-system/services/assent-director:ledger/proxy/v1";
/// Header that says which head the answer leads to.
const HEAD: &str = "assent-ledger-head";
/// Longest ledger or bundle that is read, in bytes.
const MAX_LEDGER: usize = 256 << 20;

/// The whole record of one incident, enough to prove its decision again without a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// The incident.
    pub incident: IncidentUid,
    /// Every entry, not only the incident's: a head is over all of them.
    pub ledger: Vec<Entry>,
    /// The head that the director announced, if it did.
    pub head: Option<Head>,
    /// Its ballots as they are in the cluster, without their bookkeeping.
    pub ballots: Vec<Ballot>,
    /// Its decisions.
    pub decisions: Vec<Decision>,
    /// Its plans.
    pub remediations: Vec<Remediation>,
    /// Whether the three lists above were read at all.
    pub live: bool,
}

/// Where the ledger is read from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LedgerArgs {
    /// Ledger in a file, one entry per line, instead of the director's; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

// === impl LedgerArgs ===

impl LedgerArgs {
    /// All entries, and the head that they should lead to.
    pub(crate) async fn read(&self, client: Option<&Client>) -> anyhow::Result<(Vec<Entry>, Option<Head>)> {
        match (&self.ledger, client) {
            (Some(path), _) => Ok((entries(&text(path)?)?, None)),
            (None, Some(client)) => fetch(client).await,
            (None, None) => bail!("name a ledger with --ledger, or a cluster"),
        }
    }
}

// === impl Bundle ===

impl Bundle {
    /// Reads everything of `incident` from the cluster; the ledger from a file if one is named.
    pub(crate) async fn read(client: &Client, incident: &IncidentUid, ledger: &LedgerArgs) -> anyhow::Result<Self> {
        let ((ledger, head), ballots, decisions, remediations) = tokio::try_join!(
            ledger.read(Some(client)),
            list::<Ballot>(client, incident),
            list::<Decision>(client, incident),
            list::<Remediation>(client, incident)
        )?;
        Ok(Self { incident: incident.clone(), ledger, head, ballots, decisions, remediations, live: true })
    }

    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        serde_json::from_str(&text(path)?).with_context(|| format!("read bundle `{}`", path.display()))
    }

    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string(self).context("write the bundle")?;
        std::fs::write(path, text).with_context(|| format!("write bundle `{}`", path.display()))
    }

    /// The incident's own entries.
    pub(crate) fn story(&self) -> impl Iterator<Item = &Entry> {
        self.ledger.iter().filter(|entry| entry.incident == self.incident)
    }
}

/// Reads an Incident-UID that a person typed.
pub(crate) fn incident(text: &str) -> Result<IncidentUid, String> {
    IncidentUid::try_from(text.to_owned())
}

async fn list<K>(client: &Client, incident: &IncidentUid) -> anyhow::Result<Vec<K>>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let params = ListParams::default().labels(&format!("{INCIDENT}={incident}"));
    let mut items = api.list(&params).await.with_context(|| format!("list {}", K::plural(&())))?.items;
    for item in &mut items {
        item.meta_mut().managed_fields = None;
    }
    Ok(items)
}

/// The newest head of the director's ledger, and its proof that it extends the one at `since`, if it is that long. Neither is
/// checked here.
pub(crate) async fn extension(client: &Client, since: u64) -> anyhow::Result<(Head, Option<Proof>)> {
    #[derive(Deserialize)]
    struct Answer {
        head: Head,
        proof: Option<Proof>,
    }
    let (text, _) = ask(client, &format!("proof/{since}")).await?;
    let Answer { head, proof } = serde_json::from_str(&text).context("the director's answer is no proof")?;
    Ok((head, proof))
}

async fn fetch(client: &Client) -> anyhow::Result<(Vec<Entry>, Option<Head>)> {
    let (text, head) = ask(client, "ledger").await?;
    Ok((entries(&text)?, head))
}

async fn ask(client: &Client, what: &str) -> anyhow::Result<(String, Option<Head>)> {
    let request = http::Request::get(format!("{PORT}/{what}")).body(kube::client::Body::empty()).context("ask for the ledger")?;
    let response = client.send(request).await.context("ask the director for its ledger, through the API server")?;
    let status = response.status();
    let head = response.headers().get(HEAD).and_then(|value| value.to_str().ok()).and_then(announced);
    let body = Limited::new(response.into_body(), MAX_LEDGER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read the ledger: {error}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    if !status.is_success() {
        let reason: String = text.trim().chars().take(300).collect();
        bail!("the director's ledger cannot be read through the API server ({status}): {}", crate::describe::plain(&reason));
    }
    Ok((text.into_owned(), head))
}

fn announced(text: &str) -> Option<Head> {
    let (sequence, hash) = text.split_once(':')?;
    Some(Head { sequence: sequence.parse().ok()?, hash: Digest::try_from(hash.to_owned()).ok()? })
}

fn entries(text: &str) -> anyhow::Result<Vec<Entry>> {
    text.lines().filter(|line| !line.trim().is_empty()).enumerate().map(|(at, line)| entry(line, at)).collect()
}

fn entry(line: &str, before: usize) -> anyhow::Result<Entry> {
    serde_json::from_str(line).with_context(|| format!("line {} of the ledger is no entry", before + 1))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let most = u64::try_from(MAX_LEDGER)?;
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(most + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).with_context(|| format!("open `{}`", path.display()))?.take(most + 1).read_to_string(&mut text)
    };
    let size = read.with_context(|| format!("read `{}`", path.display()))?;
    ensure!(size <= MAX_LEDGER, "`{}` is larger than {MAX_LEDGER} bytes", path.display());
    Ok(text)
}
