//! Tables of rollouts, by their headers: what each pod did on each call edge, and the steps of each rollout. A cell that cannot be read
//! is missing; columns that nobody knows go on as signals, or as counts of a version's pods.

use std::collections::BTreeMap;

use anyhow::Context as _;
use assent_core::diagnosis::rollouts::{Sample, Seconds, Step};

/// Most signals of a table.
const MAX_SIGNALS: usize = 256;
/// Most rows of samples.
const MAX_SAMPLES: usize = 500_000;
/// Most steps.
const MAX_STEPS: usize = 10_000;
/// Most pods of a step.
const MAX_PODS: usize = 1_000;
/// Longest name.
const MAX_NAME: usize = 512;

const TIME: &[&str] = &["time", "timestamp", "ts"];
const POD: &[&str] = &["pod", "pod_name", "instance"];
const SERVICE: &[&str] = &["service", "service_name", "workload", "app"];
const VERSION: &[&str] = &["version", "revision"];
const CALLER: &[&str] = &["caller", "source", "client"];
const CALLEE: &[&str] = &["callee", "destination", "server"];
const START: &[&str] = &["start", "start_ts", "started"];
const DONE: &[&str] = &["done", "end", "done_ts", "finished"];
const CAME: &[&str] = &["new_pods", "came", "added_pods"];
const GONE: &[&str] = &["gone_pods", "gone", "removed_pods"];

/// Names of the signals, and one sample a row.
pub(super) fn samples(text: &str) -> anyhow::Result<(Vec<String>, Vec<Sample>)> {
    let (mut reader, header) = open(text)?;
    let (time, pod, service) = (header.must(TIME)?, header.must(POD)?, header.must(SERVICE)?);
    let (version, caller, callee) = (header.place(VERSION), header.place(CALLER), header.place(CALLEE));
    let known = [Some(time), Some(pod), Some(service), version, caller, callee];
    let columns = header.others(&known);
    anyhow::ensure!(!columns.is_empty(), "there is no column of a signal beside {}", header.names.join(", "));
    anyhow::ensure!(columns.len() <= MAX_SIGNALS, "{} columns of signals, and at most {MAX_SIGNALS} are read: leave out what is not needed", columns.len());
    let mut samples = Vec::new();
    let rows = each(&mut reader, MAX_SAMPLES, |row| {
        let (Some(time), Some(pod), Some(service)) = (seconds(cell(row, Some(time))), name(row, Some(pod)), name(row, Some(service))) else { return };
        samples.push(Sample {
            time,
            pod,
            service,
            version: name(row, version).unwrap_or_default(),
            caller: name(row, caller).unwrap_or_default(),
            callee: name(row, callee).unwrap_or_default(),
            values: columns.iter().map(|(place, _)| number(cell(row, Some(*place)))).collect(),
        });
    })?;
    anyhow::ensure!(rows == 0 || !samples.is_empty(), "no row has a time, a pod and a service: times are Unix seconds or timestamps");
    Ok((columns.into_iter().map(|(_, name)| name).collect(), samples))
}

/// One step a row. Beside the columns that are known, each is named by a version and counts its pods; which one is new shows in
/// the counts, and in the order of the columns where it does not.
pub(super) fn steps(text: &str) -> anyhow::Result<Vec<Step>> {
    let (mut reader, header) = open(text)?;
    let (service, start) = (header.must(SERVICE)?, header.must(START)?);
    let (done, came, gone) = (header.place(DONE), header.place(CAME), header.place(GONE));
    let columns = header.others(&[Some(service), Some(start), done, came, gone]);
    let mut steps: Vec<(Step, Vec<Option<u32>>)> = Vec::new();
    let rows = each(&mut reader, MAX_STEPS, |row| {
        let Some(service) = name(row, Some(service)) else { return };
        let (start, done) = (seconds(cell(row, Some(start))), seconds(cell(row, done)));
        let (Some(start), Some(done)) = (start.or(done), done.or(start)) else { return };
        let counts = columns.iter().map(|(place, _)| count(cell(row, Some(*place)))).collect();
        steps.push((Step { start, done, service, came: pods(row, came), gone: pods(row, gone), ..Step::default() }, counts));
    })?;
    anyhow::ensure!(rows == 0 || !steps.is_empty(), "no row has a service and a time: times are Unix seconds or timestamps");
    steps.sort_by_key(|(step, _)| (step.start, step.done));
    let mut by_service: BTreeMap<String, Vec<&Vec<Option<u32>>>> = BTreeMap::new();
    for (step, counts) in &steps {
        by_service.entry(step.service.clone()).or_default().push(counts);
    }
    let versions: BTreeMap<String, (Option<usize>, Option<usize>)> =
        by_service.into_iter().map(|(service, counts)| (service, old_and_new(&counts, columns.len()))).collect();
    let at = |place: Option<usize>| place.and_then(|place| columns.get(place)).map(|(_, name)| name.clone()).unwrap_or_default();
    let named = |(mut step, counts): (Step, Vec<Option<u32>>)| {
        let (old, new) = versions.get(&step.service).copied().unwrap_or_default();
        let count = |place: Option<usize>| place.and_then(|place| counts.get(place)).copied().flatten();
        (step.old, step.new) = (count(old), count(new));
        (step.old_version, step.new_version) = (at(old), at(new));
        step
    };
    Ok(steps.into_iter().map(named).collect())
}

/// Which columns count old and new pods of a service: pods of the new version grow most, those of the old one least.
fn old_and_new(counts: &[&Vec<Option<u32>>], columns: usize) -> (Option<usize>, Option<usize>) {
    let at = |place: usize, row: Option<&&Vec<Option<u32>>>| row.and_then(|row| row.get(place)).copied().flatten();
    let counted = (0..columns).filter(|place| counts.iter().any(|row| row.get(*place).copied().flatten().is_some()));
    let growth = |place: usize| i64::from(at(place, counts.last()).unwrap_or(0)) - i64::from(at(place, counts.first()).unwrap_or(0));
    let mut grown: Vec<(i64, usize)> = counted.map(|place| (growth(place), place)).collect();
    grown.sort_unstable();
    match (grown.first(), grown.last()) {
        (Some((_, old)), Some((_, new))) if old != new => (Some(*old), Some(*new)),
        (Some((_, only)), _) => (None, Some(*only)),
        _ => (None, None),
    }
}

struct Header {
    names: Vec<String>,
}

// === impl Header ===

impl Header {
    fn place(&self, wanted: &[&str]) -> Option<usize> {
        wanted.iter().find_map(|wanted| self.names.iter().position(|name| name.eq_ignore_ascii_case(wanted)))
    }

    fn must(&self, wanted: &[&str]) -> anyhow::Result<usize> {
        let first = wanted.first().copied().unwrap_or_default();
        self.place(wanted).with_context(|| format!("there is no column `{first}` among {}: name it so in the first line", self.names.join(", ")))
    }

    fn others(&self, known: &[Option<usize>]) -> Vec<(usize, String)> {
        let other = |(place, name): &(usize, &String)| !name.is_empty() && !known.contains(&Some(*place));
        self.names.iter().enumerate().filter(other).map(|(place, name)| (place, name.clone())).collect()
    }
}

fn open(text: &str) -> anyhow::Result<(csv::Reader<&[u8]>, Header)> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let names: Vec<String> = reader.headers().context("read the header")?.iter().take(2 * MAX_SIGNALS).map(|name| name.trim().to_owned()).collect();
    Ok((reader, Header { names }))
}

fn each(reader: &mut csv::Reader<&[u8]>, most: usize, mut take: impl FnMut(&csv::StringRecord)) -> anyhow::Result<usize> {
    let mut row = csv::StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut row).context("read a row")? {
        rows += 1;
        anyhow::ensure!(rows <= most, "more than {most} rows: cut the file to the time around the alert");
        take(&row);
    }
    Ok(rows)
}

fn cell(row: &csv::StringRecord, place: Option<usize>) -> &str {
    place.and_then(|place| row.get(place)).unwrap_or_default().trim()
}

fn name(row: &csv::StringRecord, place: Option<usize>) -> Option<String> {
    let cell = cell(row, place);
    (!cell.is_empty() && cell.len() <= MAX_NAME).then(|| cell.to_owned())
}

fn pods(row: &csv::StringRecord, place: Option<usize>) -> Vec<String> {
    let names = cell(row, place).split(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | '|'));
    names.filter(|name| !name.is_empty() && name.len() <= MAX_NAME).take(MAX_PODS).map(str::to_owned).collect()
}

fn number(cell: &str) -> Option<f64> {
    cell.trim_end_matches('%').trim_end().parse().ok().filter(|value: &f64| value.is_finite())
}

fn count(cell: &str) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
    number(cell).filter(|value| (0.0..1e6).contains(value)).map(|value| value as u32)
}

/// Whole seconds of Unix time, or a timestamp; fractions are dropped.
fn seconds(cell: &str) -> Option<Seconds> {
    let whole = || cell.parse::<Seconds>().ok();
    #[expect(clippy::cast_possible_truncation, reason = "bounded")]
    let broken = || number(cell).filter(|value| value.abs() < 1e15).map(|value| value.floor() as Seconds);
    whole().or_else(broken).or_else(|| cell.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names_and_strangers_are_signals() {
        let text = "latency,service,ts,pod,gc_pause,callee,version\n12.5,web,1790086400,web-0,,web,1.4\noops,web,2026-09-22T14:00:00Z,web-0,3,web,\n";
        let (signals, samples) = samples(text).unwrap();
        assert_eq!(signals, ["latency", "gc_pause"]);
        assert_eq!(samples[0].values, [Some(12.5), None]);
        assert_eq!((samples[0].version.as_str(), samples[0].caller.as_str(), samples[0].callee.as_str()), ("1.4", "", "web"));
        assert_eq!((samples[1].time, samples[1].values.as_slice()), (1_790_085_600, [None, Some(3.0)].as_slice()));
    }

    #[test]
    fn the_new_version_is_the_one_that_grows() {
        let text = "start,done,service,canary,stable,new_pods,gone_pods\n200,240,web,2,1,web-b web-c,\n100,140,web,1,2,web-a,web-0\n90,95,cart,,3,,\n";
        let steps = steps(text).unwrap();
        assert_eq!(steps.iter().map(|step| step.start).collect::<Vec<_>>(), [90, 100, 200]);
        let web = &steps[1];
        assert_eq!((web.old, web.new, web.old_version.as_str(), web.new_version.as_str()), (Some(2), Some(1), "stable", "canary"));
        assert_eq!((&web.came, &web.gone), (&vec!["web-a".to_owned()], &vec!["web-0".to_owned()]));
        assert_eq!(steps[2].came, ["web-b", "web-c"]);
        assert_eq!((steps[0].old, steps[0].new), (None, Some(3)));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let error = |text: &str| format!("{:#}", samples(text).unwrap_err());
        assert!(error("pod,service,latency\n").contains("no column `time`"));
        assert!(error("time,pod,service\n").contains("no column of a signal"));
        assert!(error("time,pod,service,latency\nyesterday,web-0,web,3\n").contains("Unix seconds"));
        assert!(format!("{:#}", steps("service,done\n").unwrap_err()).contains("no column `start`"));
        let wide = (0..300).map(|column| format!(",s{column}")).collect::<String>();
        assert!(error(&format!("time,pod,service{wide}\n")).contains("at most 256"));
    }

    #[test]
    fn an_empty_table_is_no_error() {
        assert_eq!(samples("time,pod,service,latency\n").unwrap().1, Vec::new());
        assert_eq!(steps("start,done,service,v1,v2,new_pods,gone_pods\n").unwrap(), Vec::new());
    }
}
