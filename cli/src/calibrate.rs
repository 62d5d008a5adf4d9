//! `calibrate`: fits the tally to labelled cases, and shows how well its confidence holds and what each of its parts is worth. It writes
//! files for people to read and apply; nothing learns by itself.

mod compare;
pub mod data;
mod diagram;
mod fit;
#[cfg(test)]
mod invariance;
pub mod score;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use assent_core::consensus::TallyConfiguration;
use serde_json::json;

use crate::output::{Format, bold, dim, table};
use compare::{Row, Variant};
use data::Labelled;

/// Flags of `calibrate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent calibrate recorded/shop recorded/bookings
  kubectl assent calibrate recorded/* --out tally.yaml --diagram reliability.svg
  kubectl patch roster default --type merge --patch-file tally.yaml     after it was read by somebody

A folder is one that `diagnose --dataset` reads, with labels.jsonl beside cases.jsonl: {\"case\": ..., \"root\": [services], \"domain\": ...} a
line, `root` empty for a quiet window. What few labels say is not believed: then the shipped values stay.")]
pub struct CalibrateArgs {
    /// Folders of recorded cases with labels.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Where the configuration goes: a merge patch for the Roster.
    #[arg(long, value_name = "FILE", default_value = "tally.yaml")]
    out: PathBuf,
    /// Where the reliability diagram goes.
    #[arg(long, value_name = "FILE", default_value = "reliability.svg")]
    diagram: PathBuf,
    /// Read these kinds of data only, as in `diagnose`.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    only: Vec<String>,
    /// How to print the figures.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Fits, writes and prints.
pub(crate) fn run(args: &CalibrateArgs) -> anyhow::Result<()> {
    let (cases, notes) = data::read(&args.folders, &args.only)?;
    notes.iter().for_each(|note| anstream::eprintln!("note: {note}"));
    let cases: Vec<&Labelled> = cases.iter().collect();
    anyhow::ensure!(!cases.is_empty(), "no labelled case to learn from");
    let fitted = fit::fit(&cases);
    let shipped = compare::by_folder(compare::said(&fit::judge(&cases, &TallyConfiguration::shipped())));
    let judged = fit::judge(&cases, &fitted.configuration);
    let said = compare::said(&judged);
    let answers: Vec<_> = said.iter().map(|(case, said)| (&case.label, said.clone())).collect();
    let reliability = score::reliability(&answers);
    let (now, left_out, ablation) = (compare::by_folder(said), compare::left_out(&cases), compare::ablation(&cases, &fitted.configuration, &judged));
    write(&args.out, &configuration(&cases, &fitted)?)?;
    write(&args.diagram, &diagram::draw(&reliability, &subtitle(&reliability)))?;
    match args.output {
        Format::Json => {
            let all = json!({"configuration": fitted.configuration, "weights": fitted.reason, "shipped": shipped, "fitted": now, "leftOut": left_out, "ablation": ablation});
            anstream::println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Format::Table => {
            section("As shipped", &shipped);
            section("With the configuration that was written, on what it was learned from", &now);
            if left_out.is_empty() {
                anstream::println!("{}\n", dim("One application only: nothing to leave out."));
            } else {
                section("Each application with what only the others teach", &left_out);
            }
            anstream::println!("{}\n{}", bold("What each part is worth: first right · acted on · right of those"), parts(&ablation));
            anstream::println!("{}", fitted.reason);
        }
    }
    anstream::eprintln!("configuration: {}; diagram: {}", args.out.display(), args.diagram.display());
    Ok(())
}

/// A merge patch for the Roster, with a word on where it comes from.
fn configuration(cases: &[&Labelled], fitted: &fit::Fitted) -> anyhow::Result<String> {
    let mut folders: Vec<&str> = cases.iter().map(|case| case.folder.as_str()).collect();
    folders.dedup();
    let head = format!("# From {} labelled cases of {}.\n# {}.\n", cases.len(), folders.join(", ").escape_default(), fitted.reason);
    Ok(head + &serde_yaml_ng::to_string(&json!({"spec": {"tally": fitted.configuration}}))?)
}

fn subtitle(reliability: &assent_core::consensus::calibration::Reliability) -> String {
    match (reliability.error, reliability.band) {
        (Some(error), Some(band)) => format!("expected calibration error {error}; {band} is within chance (95 %)"),
        _ => "nothing was acted on".to_owned(),
    }
}

fn section(title: &str, rows: &[Row]) {
    const HEADER: [&str; 12] = ["CASES OF", "FAULTS", "QUIET", "AC@1", "AC@3", "AVG@5", "JOINT", "ACTED", "PRECISION", "FALSE ALARMS", "ECE", "ECE BAND 95 %"];
    let row = |Row { of, score }: &Row| {
        let figures =
            [score.first, score.first_three, score.average_five, score.joint, score.acted, score.precision, score.false_alarms, score.error, score.band];
        let counts = [of.clone(), score.faults.to_string(), score.quiet.to_string()];
        counts.into_iter().chain(figures.into_iter().map(figure)).collect()
    };
    anstream::println!("{}\n{}", bold(title), table(&HEADER, &rows.iter().map(row).collect::<Vec<_>>()));
}

fn parts(variants: &[Variant]) -> String {
    let folders = variants.first().map(|variant| variant.rows.iter().map(|row| row.of.to_uppercase()).collect::<Vec<_>>()).unwrap_or_default();
    let header: Vec<&str> = std::iter::once("").chain(folders.iter().map(String::as_str)).collect();
    let cell = |Row { score, .. }: &Row| format!("{} · {} · {}", figure(score.first), figure(score.acted), figure(score.precision));
    let row = |variant: &Variant| std::iter::once(variant.name.clone()).chain(variant.rows.iter().map(cell)).collect();
    table(&header, &variants.iter().map(row).collect::<Vec<_>>())
}

fn figure(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.3}"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use assent_api::resources::TallySpec;

    use super::*;

    #[test]
    fn a_folder_becomes_a_patch_for_the_roster_and_a_diagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cases.jsonl"), "{\"case\": \"a\", \"alert_ts\": 60}\n").unwrap();
        std::fs::write(path("labels.jsonl"), "{\"case\": \"a\", \"root\": [\"web\"]}\n").unwrap();
        let args = CalibrateArgs {
            folders: vec![folder.path().to_owned()],
            out: path("tally.yaml"),
            diagram: path("reliability.svg"),
            only: Vec::new(),
            output: Format::Json,
        };
        run(&args).unwrap();
        let patch: serde_json::Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path("tally.yaml")).unwrap()).unwrap();
        let tally: TallySpec = serde_json::from_value(patch["spec"]["tally"].clone()).unwrap();
        assert_eq!((tally.threshold_low, tally.weights.len()), (TallyConfiguration::shipped().threshold_low.get(), 0));
        assert!(std::fs::read_to_string(path("reliability.svg")).unwrap().starts_with("<svg"));
    }

    #[test]
    fn without_a_case_there_is_nothing_to_learn_from() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cases.jsonl"), "").unwrap();
        std::fs::write(folder.path().join("labels.jsonl"), "").unwrap();
        let (folders, [out, diagram]) = (vec![folder.path().to_owned()], ["tally.yaml", "reliability.svg"].map(|name| folder.path().join(name)));
        let error = run(&CalibrateArgs { folders, out: out.clone(), diagram, only: Vec::new(), output: Format::Json }).unwrap_err();
        assert!(error.to_string().contains("no labelled case") && !out.exists(), "{error:#}");
    }
}
