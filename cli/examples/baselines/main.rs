//! Recorded faults diagnosed by Assent and by three baselines of the literature, side by side: the same reader, the same measures, nobody
//! sees a label. Figures go to `target/bench/diagnosis.json`, never an assertion.
//!
//! ```sh
//! cargo run --release -p assent-cli --example baselines -- recorded/shop recorded/bookings
//! ```

mod columns;
mod nsigma;
mod robust;
mod rows;
mod walk;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use assent_cli::calibrate::data::{self, Labelled};
use assent_cli::calibrate::score::{Said, Score, score};
use assent_core::consensus::TallyConfiguration;
use assent_core::diagnosis::Recording;
use assent_core::seats::recorded;
use clap::Parser;
use rows::Row;

/// Who ranks the services of a recording, most suspect first.
type Ranks = fn(&Recording) -> Vec<String>;

const BASELINES: [(&str, Ranks); 3] =
    [("n-sigma", nsigma::rank), ("robust scorer (median, inter-quartile range)", robust::rank), ("random walk on the graph", walk::rank)];

/// Compares diagnoses of labelled cases with baselines.
#[derive(Parser)]
#[command(name = "baselines")]
struct Args {
    /// Folders of recorded cases with labels.
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.folders.is_empty() {
        println!("SKIPPED: no folder of recorded cases was named, so there is nothing to diagnose");
        return Ok(());
    }
    let mut rows = Vec::new();
    for folder in &args.folders {
        let (cases, notes) = data::read(std::slice::from_ref(folder), &[])?;
        notes.iter().for_each(|note| println!("note: {note}"));
        rows.extend(compare(&cases));
    }
    for row in &rows {
        println!("{}", row.line());
    }
    write(&rows)
}

/// All measures of one folder, ours beside each baseline's.
fn compare(cases: &[Labelled]) -> Vec<Row> {
    let Some(folder) = cases.first().map(|case| case.folder.as_str()) else { return Vec::new() };
    let configuration = TallyConfiguration::shipped();
    let ours = measure(cases, |recording| Said::of(&recorded::judge(recording, &configuration, &[])));
    let readable = cases.iter().any(|case| !case.recording.series.is_empty());
    let mut rows = Vec::new();
    for (name, rank) in BASELINES {
        let peer = readable.then(|| measure(cases, |recording| Said { ranked: rank(recording), ..Said::default() }));
        rows.extend(rows::beside(folder, &ours, name, peer.as_ref()));
    }
    rows
}

/// The score of a diagnosis, and the median time of a case with its reading.
fn measure(cases: &[Labelled], diagnose: impl Fn(&Recording) -> Said) -> (Score, Duration) {
    let (mut answers, mut times) = (Vec::new(), Vec::new());
    for case in cases {
        let began = Instant::now();
        let said = diagnose(&case.recording);
        times.push(case.reading + began.elapsed());
        answers.push((&case.label, said));
    }
    times.sort_unstable();
    (score(&answers), times.get(times.len() / 2).copied().unwrap_or_default())
}

fn write(rows: &[Row]) -> anyhow::Result<()> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"));
    std::fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
    let path = folder.join("diagnosis.json");
    std::fs::write(&path, serde_json::to_string_pretty(rows)?).with_context(|| format!("write `{}`", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}
