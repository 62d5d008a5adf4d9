//! Live faults on the shop of a real node: what Assent said and did about each, against the truth, and what it raised while
//! nothing was wrong. Nothing here helps it: a fault is caused, and its objects and the audit log are read.

pub mod faults;
pub mod injection;
pub mod journal;
pub mod judging;
pub mod lifting;
pub mod report;

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::Incident;
use assent_cluster::image::{Builder, Image};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::images;
use crate::install::{self, Progress};
use crate::place::Place;
use crate::{shop, story};
use faults::Fault;
use injection::{Injected, Shop};
use journal::{Journal, QUIET, Record};

/// Windows that the seats learn from.
const LEARNING: Duration = Duration::from_secs(45);
/// After people were told, new trouble is an incident of its own.
const ANEW: Duration = Duration::from_secs(60);
/// Longest until an incident; a fault without one by then was missed.
const UNTIL_INCIDENT: Duration = Duration::from_secs(150);
/// Longest until its end.
const UNTIL_END: Duration = Duration::from_secs(330);
/// Customers a second, one after the other, while nothing is wrong.
const RATES: [u32; 6] = [20, 12, 26, 16, 8, 24];
/// How long each of them.
const RATE_TIME: Duration = Duration::from_secs(45);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// These faults.
    pub faults: Vec<&'static Fault>,
    /// So often each.
    pub runs: usize,
    /// A time without faults of so many minutes; none with 0.
    pub quiet_minutes: u64,
}

/// A node with Assent and the shop on it, which sells.
#[derive(Debug)]
pub struct Ground {
    place: Place,
    shop: Shop,
}

/// The images of the demo, and a release of the shop that does not work.
///
/// # Errors
/// As [`images::build`].
pub fn images() -> anyhow::Result<Vec<Image>> {
    let mut images = images::build()?;
    let shop = images::stripped("assent-shop");
    images.push(Builder::new("assent-shop", "v2").binary(shop, "/assent-shop").env("SHOP_BUG", "errors").build_blocking()?);
    Ok(images)
}

/// Measures what the journal does not have yet.
///
/// # Errors
/// If the node, Assent or the shop does not come up, or a fault cannot be caused or undone; what was measured is kept.
pub async fn run(wanted: &Wanted, journal: &mut Journal, say: Progress<'_>) -> anyhow::Result<()> {
    let missing = |journal: &Journal| wanted.faults.iter().any(|fault| (1..=wanted.runs).any(|run| !journal.has(fault.name, run)));
    let quiet = wanted.quiet_minutes > 0 && !journal.has(QUIET, 1);
    if !missing(journal) && !quiet {
        return Ok(());
    }
    let ground = Ground::start("live", say).await?;
    for run in 1..=wanted.runs {
        for fault in &wanted.faults {
            if !journal.has(fault.name, run) {
                say(&format!("{} {run}/{}: {}", fault.name, wanted.runs, fault.what));
                let record = ground.suffer(fault, run, say).await.with_context(|| format!("{}, run {run}", fault.name))?;
                say(&report::line(&record));
                journal.add(record)?;
            }
        }
    }
    if quiet {
        journal.add(ground.quiet(Duration::from_secs(60 * wanted.quiet_minutes), say).await?)?;
    }
    Ok(())
}

// === impl Ground ===

impl Ground {
    /// Brings everything up and lets the seats learn.
    ///
    /// # Errors
    /// If something does not come up.
    pub async fn start(name: &str, say: Progress<'_>) -> anyhow::Result<Self> {
        say("building binaries and images");
        let images = tokio::task::spawn_blocking(images).await??;
        let mut place = Place::from(assent_cluster::node(name).await?);
        place.prepare(&images, say).await?;
        install::assent(&place, say).await?;
        install::shop(&place, say).await?;
        let shop = Shop::remember(&place).await?;
        lifting::hurry(&place.client().await?).await?;
        // The baseline is a matter of time, not of an event: so many windows must have passed.
        tokio::time::sleep(LEARNING).await;
        Ok(Self { place, shop })
    }

    /// Causes a fault in a healthy shop, waits for the end of its incident, undoes it, waits until the shop is healthy again, and
    /// says what was right.
    ///
    /// # Errors
    /// If it cannot be caused or undone, or the shop does not recover.
    pub async fn suffer(&self, fault: &Fault, number: usize, say: Progress<'_>) -> anyhow::Result<Record> {
        if injection::prepare(&self.place, fault).await.context("prepare it")? {
            // What that cost is not what is usual.
            tokio::time::sleep(2 * LEARNING).await;
            self.healthy().await?;
        }
        let client = self.place.client().await?;
        let known = story::known(&client).await?;
        let logged = self.logged()?;
        let started = Instant::now();
        let injected = Injected::of(&self.place, fault.cause).await.context("cause it")?;
        let mut record = self.watch(&known, started, say).await?;
        record.fault = fault.name.to_owned();
        record.run = number;
        // Under some faults even they cannot be asked.
        let customers = shop::customers(&self.place).await.map_or_else(|error| error.to_string(), |stats| stats.to_string());
        record.story.push(format!("customers before it was undone: {customers}"));
        self.shop.restore(&self.place, injected).await.context("undo it")?;
        self.healthy().await?;
        lifting::lift(&client).await?;

        let incidents = self.incidents(&known).await?;
        record.incidents = incidents.iter().map(kube::ResourceExt::name_any).collect();
        if let Some(first) = incidents.first() {
            judging::diagnosis(&client, first, &fault.truth, &mut record).await?;
        }
        let planned = judging::planned(&client, &incidents).await?;
        record.actions = planned.iter().map(|planned| format!("{} {}", planned.action, planned.object)).collect();
        record.right_remedy = record.to_incident.is_some() && fault.truth.is_met_by(&planned);
        let wrong = fault.truth.wrong(&self.written(logged)?, &planned);
        record.story.extend(wrong.iter().map(|write| format!("wrong write: {} for incident {}", write.object, write.incident)));
        record.wrong_writes = wrong.len();
        Ok(record)
    }

    /// Changes the customers' rate and nothing else; every incident is a false alarm.
    ///
    /// # Errors
    /// If the load generator does not answer.
    pub async fn quiet(&self, time: Duration, say: Progress<'_>) -> anyhow::Result<Record> {
        let known = story::known(&self.place.client().await?).await?;
        let (started, logged) = (Instant::now(), self.logged()?);
        for rate in RATES.iter().cycle() {
            if started.elapsed() >= time {
                break;
            }
            shop::rate(&self.place, *rate).await?;
            tokio::time::sleep(RATE_TIME.min(time.saturating_sub(started.elapsed()))).await;
            say(&format!("{} s without a fault, customers {}", started.elapsed().as_secs(), shop::customers(&self.place).await?));
        }
        let incidents = self.incidents(&known).await?;
        Ok(Record {
            fault: QUIET.to_owned(),
            run: 1,
            phase: format!("{} minutes", time.as_secs() / 60),
            wrong_writes: self.written(logged)?.len(),
            story: incidents.iter().map(|incident| format!("{}: {} ({})", incident.spec.service, incident.spec.symptom, incident.spec.summary)).collect(),
            incidents: incidents.iter().map(kube::ResourceExt::name_any).collect(),
            ..Record::default()
        })
    }

    /// Follows the first incident; without one in time, or without its end, the record says so.
    async fn watch(&self, known: &BTreeSet<String>, started: Instant, say: Progress<'_>) -> anyhow::Result<Record> {
        let told: Mutex<Vec<String>> = Mutex::default();
        let tell = |at: f64, line: &str| {
            let line = format!("{at:6.1} s  {line}");
            say(&line);
            told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        };
        let nobody = || told.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let (client, mut record) = (self.place.client().await?, Record::default());
        let followed = tokio::select! {
            ending = story::follow(&client, known, started, UNTIL_END, &tell) => Some(ending),
            () = missed(started, nobody) => None,
        };
        match followed {
            Some(Ok(ending)) => {
                record.phase = ending.phase;
                record.to_incident = ending.timeline.incident;
                record.to_end = ending.timeline.closed;
            }
            // Whether there was an incident is asked of the cluster; that it did not end is a finding, no failure.
            Some(Err(error)) => {
                let incidents = self.incidents(known).await?;
                ensure!(!incidents.is_empty(), error);
                record.phase = "not ended".to_owned();
                record.to_incident = told.lock().unwrap_or_else(PoisonError::into_inner).first().and_then(|line| line.split_whitespace().next()?.parse().ok());
            }
            None => "missed".clone_into(&mut record.phase),
        }
        record.story = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(record)
    }

    /// Until customers are served, the echo is over and no incident is open.
    async fn healthy(&self) -> anyhow::Result<()> {
        shop::quiet(&self.place).await?;
        let started = Instant::now();
        while self.incidents(&BTreeSet::new()).await?.iter().any(|incident| !is_closed(incident)) {
            ensure!(started.elapsed() < UNTIL_END, "an incident does not end");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Trouble that begins sooner after people were told belongs to the incident before.
        let told = self.incidents(&BTreeSet::new()).await?.iter().filter_map(told_at).max();
        if let Some(told) = told {
            let until = told + ANEW;
            tokio::time::sleep(until.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default()).await;
        }
        Ok(())
    }

    /// Incidents that are not `known`, oldest first.
    async fn incidents(&self, known: &BTreeSet<String>) -> anyhow::Result<Vec<Incident>> {
        let api: Api<Incident> = Api::namespaced(self.place.client().await?, SYSTEM_NAMESPACE);
        let mut incidents = api.list(&ListParams::default()).await?.items;
        incidents.retain(|incident| !known.contains(&incident.name_any()));
        // UUIDv7: names sort by time.
        incidents.sort_by_key(kube::ResourceExt::name_any);
        Ok(incidents)
    }

    /// How long the audit log is.
    fn logged(&self) -> anyhow::Result<u64> {
        let path = self.place.audit_log().context("the audit log cannot be read from here")?;
        Ok(std::fs::metadata(&path).with_context(|| format!("look at `{}`", path.display()))?.len())
    }

    /// What was written as the executor's user since the audit log was so long.
    fn written(&self, since: u64) -> anyhow::Result<Vec<judging::Written>> {
        let path = self.place.audit_log().context("the audit log cannot be read from here")?;
        let mut file = std::fs::File::open(&path).with_context(|| format!("open `{}`", path.display()))?;
        // One that is shorter now was begun anew, and what stood between is not known.
        ensure!(file.metadata()?.len() >= since, "`{}` was begun anew", path.display());
        file.seek(SeekFrom::Start(since))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(judging::written(&String::from_utf8_lossy(&text)))
    }
}

fn is_closed(incident: &Incident) -> bool {
    let conditions = incident.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.kind == "Closed" && condition.status == "True")
}

/// When people were told of an incident that ended so.
fn told_at(incident: &Incident) -> Option<jiff::Timestamp> {
    let status = incident.status.as_ref().filter(|status| status.phase.as_deref() == Some("Escalated"))?;
    let closed = status.conditions.iter().find(|condition| condition.kind == "Closed")?;
    closed.last_transition_time.parse().ok()
}

/// Returns when there was nobody to follow for too long.
async fn missed(started: Instant, nobody: impl Fn() -> bool) {
    tokio::time::sleep(UNTIL_INCIDENT.saturating_sub(started.elapsed())).await;
    if !nobody() {
        std::future::pending::<()>().await;
    }
}
