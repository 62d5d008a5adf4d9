//! What must not matter does not: the first service and the decision to abstain stay when all times shift, when the alert comes a step
//! earlier or later, and when hints of how the data was made are hidden. Whole folders are rewritten and read again, so that a new kind
//! of data is covered as soon as it is read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use assent_core::consensus::TallyConfiguration;
use assent_core::seats::recorded;
use serde_json::Value;

use crate::diagnose::read::Folder;

/// Ways of telling the same story.
const WAYS: [&str; 7] = [
    "37 seconds later",
    "a year later",
    "eleven days earlier",
    "alert a step later",
    "alert a step earlier",
    "earlier alerts hidden",
    "rows and modalities hidden",
];

/// What quiet windows have too.
const COMMON: [&str; 2] = ["metrics", "edges"];

/// First service, and whether it abstains.
type Answer = (String, Option<String>, bool);

/// Folders of recorded cases: in the folder that is named, which must be there, or where developers have them.
fn recorded_folders() -> Option<Vec<PathBuf>> {
    let named = std::env::var_os("ASSENT_RECORDED").map(PathBuf::from);
    let usual = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/rca"));
    let root = named.or_else(|| usual.is_dir().then_some(usual))?;
    let entries = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("cases.jsonl").is_file()).collect();
    folders.sort();
    Some(folders)
}

fn answers(root: &Path, only: &[&str]) -> Vec<Answer> {
    let only: Vec<String> = only.iter().map(|kind| (*kind).to_owned()).collect();
    let mut folder = Folder::open(root, &only).unwrap();
    let answer = |case: &crate::diagnose::read::Case, folder: &mut Folder| {
        let diagnosis = recorded::judge(&folder.recording(case).unwrap(), &TallyConfiguration::shipped(), &[]);
        (case.case.clone(), diagnosis.ranked.first().cloned(), diagnosis.abstain.is_some())
    };
    let cases = folder.cases().unwrap();
    cases.iter().map(|case| answer(case, &mut folder)).collect()
}

/// `original` again, its times `seconds` later and each line of its cases changed by `change`.
fn again(original: &Path, seconds: i64, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(original, copy.path(), seconds);
    let cases = copy.path().join("cases.jsonl");
    let text = std::fs::read_to_string(original.join("cases.jsonl")).unwrap();
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut case: Value = serde_json::from_str(line).unwrap();
        later(&mut case["alert_ts"], seconds);
        if let Some(known) = case.get_mut("earlier_alerts").and_then(Value::as_array_mut) {
            known.iter_mut().for_each(|time| later(time, seconds));
        }
        change(&mut case);
        writeln!(out, "{case}").unwrap();
    }
    std::fs::write(cases, out).unwrap();
    copy
}

fn copy_folder(from: &Path, to: &Path, seconds: i64) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        // What nobody may read is not there to be read.
        if name == "labels.jsonl" || name == "cases.jsonl" {
            continue;
        }
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&path, &target, seconds);
        } else if seconds == 0 {
            std::os::unix::fs::symlink(path.canonicalize().unwrap(), target).unwrap();
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = if Path::new(&name).extension().is_some_and(|end| end == "csv") { later_table(&text, seconds) } else { text };
            std::fs::write(target, later_timestamps(&text, seconds)).unwrap();
        }
    }
}

fn later(time: &mut Value, seconds: i64) {
    *time = match &*time {
        Value::Number(number) => Value::from(number.as_i64().unwrap() + seconds),
        Value::String(text) => Value::from(later_timestamps(text, seconds)),
        other => panic!("{other} is no time"),
    };
}

/// Columns of Unix times, by their headers.
fn later_table(text: &str, seconds: i64) -> String {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let times: Vec<bool> = headers.iter().map(|header| matches!(header, "time" | "start" | "done" | "timestamp")).collect();
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(&headers).unwrap();
    for row in reader.records().map(Result::unwrap) {
        let cell = |(place, cell): (usize, &str)| match cell.parse::<i64>() {
            Ok(time) if times.get(place) == Some(&true) => (time + seconds).to_string(),
            _ => cell.to_owned(),
        };
        writer.write_record(row.iter().enumerate().map(cell)).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

/// All `2026-06-18T15:06:00Z` in a text.
fn later_timestamps(text: &str, seconds: i64) -> String {
    const LENGTH: usize = "2026-06-18T15:06:00Z".len();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let time = rest.get(..LENGTH).filter(|word| first.is_ascii_digit() && word.as_bytes()[10] == b'T' && word.ends_with('Z'));
        if let Some(time) = time.and_then(|word| word.parse::<jiff::Timestamp>().ok()) {
            out.push_str(&(time + jiff::SignedDuration::from_secs(seconds)).to_string());
            rest = &rest[LENGTH..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The folder told in the way of this name.
fn told(way: &str, original: &Path) -> tempfile::TempDir {
    let hide = |case: &mut Value, keys: &[&str]| {
        keys.iter().for_each(|key| {
            case.as_object_mut().unwrap().remove(*key);
        });
    };
    let move_alert = |case: &mut Value, steps: i64| {
        let step = case.get("step_s").and_then(Value::as_i64).unwrap_or(60);
        later(&mut case["alert_ts"], steps * step);
    };
    match way {
        "37 seconds later" => again(original, 37, |_| ()),
        "a year later" => again(original, 31_536_000, |_| ()),
        "eleven days earlier" => again(original, -1_000_007, |_| ()),
        "alert a step later" => again(original, 0, |case| move_alert(case, 1)),
        "alert a step earlier" => again(original, 0, |case| move_alert(case, -1)),
        "earlier alerts hidden" => again(original, 0, |case| hide(case, &["earlier_alerts"])),
        "rows and modalities hidden" => again(original, 0, |case| hide(case, &["rows", "modalities"])),
        other => panic!("nobody tells `{other}`"),
    }
}

#[test]
fn first_service_and_abstention_do_not_depend_on_what_must_not_matter() {
    let Some(folders) = recorded_folders() else {
        eprintln!("SKIPPED: there is no folder of recorded cases; ASSENT_RECORDED names one");
        return;
    };
    assert!(!folders.is_empty(), "no folder of recorded cases");
    let reads: [&[&str]; 2] = [&[], &COMMON];
    let whole: Vec<[Vec<Answer>; 2]> = folders.iter().map(|folder| reads.map(|only| answers(folder, only))).collect();
    let mut changed = String::new();
    for way in WAYS {
        for (folder, before) in folders.iter().zip(&whole) {
            let again = told(way, folder);
            for (before, only) in before.iter().zip(reads) {
                let after = answers(again.path(), only);
                assert_eq!(before.len(), after.len(), "{}", folder.display());
                for (before, after) in before.iter().zip(after).filter(|(before, after)| *before != after) {
                    writeln!(changed, "{way}, reading {only:?} only: {before:?} became {after:?}").unwrap();
                }
            }
        }
    }
    assert!(changed.is_empty(), "{changed}");
}

/// The test above is worth nothing if rewriting changes nothing.
#[test]
fn a_folder_is_told_again_with_all_its_times_moved() {
    let original = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(original.path().join(name), text).unwrap();
    write("cases.jsonl", "{\"case\": \"a\", \"alert_ts\": 1000, \"earlier_alerts\": [400], \"rows\": 3}\n");
    write("labels.jsonl", "{\"case\": \"a\"}\n");
    write("table.csv", "time,web|requests,note\n1000,1000,\"a, b\"\n");
    write("events.json", "[{\"at\": \"2026-06-18T15:06:00Z\", \"text\": \"löst 2026-06-18\"}]");
    let copy = again(original.path(), 37, |_| ());
    let read = |name: &str| std::fs::read_to_string(copy.path().join(name)).unwrap();
    assert_eq!(read("table.csv"), "time,web|requests,note\n1037,1000,\"a, b\"\n");
    assert_eq!(read("events.json"), "[{\"at\": \"2026-06-18T15:06:37Z\", \"text\": \"löst 2026-06-18\"}]");
    let case: Value = serde_json::from_str(&read("cases.jsonl")).unwrap();
    assert_eq!((&case["alert_ts"], &case["earlier_alerts"][0]), (&Value::from(1037), &Value::from(437)));
    assert!(!copy.path().join("labels.jsonl").exists());
    let moved = told("alert a step earlier", original.path());
    let case: Value = serde_json::from_str(&std::fs::read_to_string(moved.path().join("cases.jsonl")).unwrap()).unwrap();
    assert_eq!(case["alert_ts"], Value::from(940));
}
