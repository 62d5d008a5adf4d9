//! `make bench-governance`: every success criterion of governed execution, measured on a real API server with the gate, the
//! executor and the director as processes, scripted seats, and pods that come up at a word. A part that stops at a surprise costs
//! its own rows only: they are written as not met, with what it said.

mod decisions;
mod ground;
mod people;
mod report;
mod requirements;
mod safety;
mod undoing;
mod violations;
mod whole;

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use ground::Ground;
pub use report::{Criterion, Section};

/// A part: its name, what it measures, and how.
type Part = (&'static str, &'static str, fn(Arc<Ground>) -> BoxFuture<'static, Vec<Section>>);

/// In this order: what stores how plans ended comes when nothing else is to run.
const PARTS: &[Part] = &[
    ("decisions", "SC-002 decision accuracy", |ground| async move { decisions::accuracy(&ground).await }.boxed()),
    ("alone", "SC-003 autonomous scaling", |ground| async move { decisions::alone(&ground).await }.boxed()),
    ("forbidden", "forbidden is blocked", |ground| async move { decisions::forbidden(&ground).await }.boxed()),
    ("intent", "SC-008 blueprint change response", |ground| async move { undoing::intent(&ground).await }.boxed()),
    ("people", "SC-009 approval reliability", |ground| async move { people::workflows(&ground).await }.boxed()),
    ("undoing", "SC-006 rollback effectiveness", |ground| async move { undoing::undoing(&ground).await }.boxed()),
    ("services", "SC-007 multi-service independence", |ground| async move { undoing::services(&ground).await }.boxed()),
    ("safety", "SC-010 safety mechanisms", |ground| async move { safety::mechanisms(&ground).await }.boxed()),
    ("violations", "SC-004 governance compliance", |ground| async move { violations::compliance(&ground).await }.boxed()),
    ("whole", "SC-005 auditability, decision, restart, 1,000 Blueprints", |ground| {
        async move {
            ground.no_executor().await;
            // Its closures' futures are for one thread.
            let whole = tokio::task::spawn_blocking(|| tokio::runtime::Handle::current().block_on(whole::whole())).await;
            whole.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic()))
        }
        .boxed()
    }),
];

/// Names of the parts.
#[must_use]
pub fn parts() -> Vec<&'static str> {
    PARTS.iter().map(|(name, ..)| *name).collect()
}

/// Measures these parts, or all, beside what was measured `before`; `keep` is given everything that was measured after each.
///
/// # Errors
/// If it cannot be kept.
pub async fn run(
    only: &[String],
    before: &[Section],
    say: &(dyn Fn(&str) + Sync),
    keep: &(dyn Fn(&[Section]) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<()> {
    let ground = Arc::new(Ground::start().await);
    say("servers, gate, ledger and seats are there");
    let mut sections = Vec::new();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    for (name, title, measure) in PARTS.iter().filter(|(name, ..)| wanted(name)) {
        let began = Instant::now();
        undoing::well(&ground);
        let measured = tokio::spawn(measure(ground.clone())).await.unwrap_or_else(|stopped| vec![stopped_at(title, stopped)]);
        told(&measured, say);
        say(&format!("{name}: {:.0} s", began.elapsed().as_secs_f64()));
        sections.extend(measured);
        keep(&sections)?;
    }
    let measured = requirements::coverage(&ground, &merged(before, &sections)).await;
    told(std::slice::from_ref(&measured), say);
    sections.push(measured);
    keep(&sections)
}

fn told(sections: &[Section], say: &(dyn Fn(&str) + Sync)) {
    for section in sections {
        section.rows.iter().for_each(|row| say(&row.line()));
        let failed = section.cases.iter().filter(|(.., holds)| !holds);
        failed.for_each(|(name, expected, seen, _)| say(&format!("  ✗ {name}: expected {expected}, seen {seen}")));
    }
}

/// What was measured now in place of what was measured before under the same title.
#[must_use]
pub fn merged(before: &[Section], now: &[Section]) -> Vec<Section> {
    let old = before.iter().filter(|old| !now.iter().any(|section| section.title == old.title));
    old.chain(now).cloned().collect()
}

fn stopped_at(title: &str, stopped: tokio::task::JoinError) -> Section {
    let words = match stopped.try_into_panic() {
        Ok(panic) => panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default(),
        Err(cancelled) => cancelled.to_string(),
    };
    let mut section = Section::new(title, "It stopped before its end.");
    section.rows.push(Criterion::unmeasured(title, "measured", &words));
    section
}
