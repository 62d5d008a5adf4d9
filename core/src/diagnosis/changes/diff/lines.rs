//! The lines of a diff without their comments and spaces.

use std::collections::BTreeMap;

use crate::diagnosis::changes::words::{clipped, words};

/// Most lines of a diff that are read.
const MAX_LINES: usize = 5_000;
/// Longest line that is read, in letters.
const MAX_LETTERS: usize = 400;

/// What a file is by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Code,
    Configuration,
    Dependency,
    Migration,
    /// Documents, tests, styles, what only the build or people read.
    Inert,
}

/// What a file is by its path.
pub(super) fn kind(path: &str) -> Kind {
    let path = format!("/{}", path.trim_start_matches('/').to_lowercase());
    let name = path.rsplit('/').next().unwrap_or_default();
    let inside = |folders: &[&str]| folders.iter().any(|folder| path.contains(folder));
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if [
        "go.mod",
        "go.sum",
        "package.json",
        "package-lock.json",
        "yarn.lock",
        "cargo.toml",
        "cargo.lock",
        "requirements.txt",
        "pom.xml",
        "build.gradle",
        "gemfile.lock",
        "poetry.lock",
    ]
    .contains(&name)
    {
        Kind::Dependency
    } else if inside(&["/docs/", "/doc/", "/test/", "/tests/", "/testdata/", "/__tests__/", "/.github/", "/.gitlab", "/examples/", "/e2e/"])
        || ends(&[".md", ".rst", ".adoc", ".css", ".scss", ".less", ".svg", ".png", ".html", ".tmpl", "codeowners", "license", ".gitignore"])
        || ends(&["_test.go", "_test.py", ".test.ts", ".test.js", ".spec.ts", ".spec.js", "test.java", "_spec.rb", "_test.rs"])
        || name.starts_with("test_")
        || name.starts_with(".golangci")
        || name.starts_with(".eslint")
    {
        Kind::Inert
    } else if inside(&["/migrations/", "/migration/", "/migrate/"]) || name.ends_with(".sql") {
        Kind::Migration
    } else if ends(&[".yaml", ".yml", ".toml", ".ini", ".conf", ".cfg", ".env", ".properties", ".json", ".tf", ".tfvars", ".hcl", ".cnf", ".cue"]) {
        Kind::Configuration
    } else {
        Kind::Code
    }
}

/// One line: how deep it stands, and what it says in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    depth: usize,
    text: String,
    new: bool,
}

/// The lines of a diff.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// As they are afterwards, a part of a file after the other.
    after: Vec<Placed>,
    added: Vec<String>,
    removed: Vec<String>,
    /// With letters as they were, of the same order as `added` and `removed`.
    written: (Vec<String>, Vec<String>),
}

// === impl Lines ===

impl Lines {
    pub(super) fn read(diff: &str) -> Self {
        let mut lines = Self::default();
        for line in diff.lines().take(MAX_LINES) {
            let line = clipped(line, MAX_LETTERS);
            if line.starts_with("+++") || line.starts_with("---") || line.starts_with("@@") || line.starts_with("diff ") || line.starts_with("index ") {
                // Another place begins: no loop reaches there.
                lines.after.push(Placed { depth: 0, text: String::new(), new: false });
                continue;
            }
            let (sign, rest) = match line.chars().next() {
                Some(sign @ ('+' | '-' | ' ')) => (sign, line.get(1..).unwrap_or_default()),
                _ => (' ', line),
            };
            let depth = rest.chars().take_while(|letter| letter.is_whitespace()).map(|letter| if letter == '\t' { 4 } else { 1 }).sum();
            let written = without_comment(rest);
            let text = written.to_lowercase();
            if text.is_empty() {
                continue;
            }
            if sign == '-' {
                lines.removed.push(text);
                lines.written.1.push(written);
                continue;
            }
            if sign == '+' {
                lines.added.push(text.clone());
                lines.written.0.push(written);
            }
            lines.after.push(Placed { depth, text, new: sign == '+' });
        }
        lines
    }

    pub(super) fn added(&self) -> &[String] {
        &self.added
    }

    pub(super) fn removed(&self) -> &[String] {
        &self.removed
    }

    /// Whether the same stands there in another order or with other spaces and comments, or nothing was there to read.
    pub(super) fn unchanged(&self) -> bool {
        let letters = |lines: &[String]| {
            let mut all: Vec<String> = lines.iter().map(|line| line.chars().filter(|letter| !letter.is_whitespace()).collect()).collect();
            all.sort();
            all
        };
        letters(&self.written.0) == letters(&self.written.1)
    }

    /// Pairs of a removed line with the added one that says most of the same, where some does; as they were written.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs = Vec::new();
        let added: Vec<Vec<String>> = self.written.0.iter().map(|line| names(line)).collect();
        for old in self.written.1.iter().take(400) {
            let was = names(old);
            let likeness = |new: &[String]| {
                let common = was.iter().filter(|word| new.contains(word)).count();
                // In thousandths, so that it orders.
                common * 2_000 / (was.len() + new.len()).max(1)
            };
            let best = added.iter().zip(&self.written.0).take(400).map(|(new, line)| (likeness(new), line)).filter(|(alike, _)| *alike >= 500);
            if let Some((_, new)) = best.reduce(|best, next| if next.0 > best.0 { next } else { best })
                && new != old
            {
                pairs.push((old.as_str(), new.as_str()));
            }
        }
        pairs
    }

    /// New calls that leave the process inside a loop.
    pub(super) fn calls_in_loops(&self) -> bool {
        self.inside_loops().any(|line| line.new && leaves(&line.text) && !self.removed.contains(&line.text))
    }

    /// New loops inside loops.
    pub(super) fn nested_loops_added(&self) -> bool {
        self.inside_loops().any(|line| line.new && begins_loop(&line.text))
    }

    fn inside_loops(&self) -> impl Iterator<Item = &Placed> {
        let mut open: Vec<usize> = Vec::new();
        self.after.iter().filter(move |line| {
            if line.text.is_empty() {
                open.clear();
                return false;
            }
            open.retain(|depth| line.depth > *depth);
            let inside = !open.is_empty();
            if begins_loop(&line.text) {
                open.push(line.depth);
            }
            inside
        })
    }

    /// Whether something that outlives a call is added to.
    pub(super) fn grows_what_stays(&self) -> bool {
        let outlives = |line: &Placed| line.depth == 0 || line.text.contains("static ") || is_field(&line.text);
        let stays = self.after.iter().filter(|line| line.new && outlives(line) && holds_many(&line.text)).filter_map(|line| declared(&line.text));
        let names: Vec<String> = stays.collect();
        let grows = |text: &str, name: &str| {
            ["append(", ".push(", ".add(", ".put(", ".append(", ".insert(", ".set("].iter().any(|call| text.contains(call)) && text.contains(name)
                || text.contains(&format!("{name}[")) && text.contains("] =") && !text.contains("] ==")
        };
        let own = |text: &str| {
            ["self.", "this.", "static ", "global "].iter().any(|word| text.contains(word))
                && [".append(", ".push(", ".add("].iter().any(|call| text.contains(call))
        };
        self.added.iter().any(|line| names.iter().any(|name| grows(line, name)) || own(line))
    }

    /// Whether a dependency is somewhere else.
    pub(super) fn endpoints_differ(&self) -> bool {
        self.pairs().iter().any(|(old, new)| {
            let (was, is) = (places(old), places(new));
            !was.is_empty() && !is.is_empty() && was != is
        })
    }

    /// Whether `true` and `false`, or on and off, changed places.
    pub(super) fn switches_differ(&self) -> bool {
        let first = |all: &[String], on: &[&str], off: &[&str]| {
            all.iter().find_map(|word| if on.contains(&word.as_str()) { Some(true) } else { off.contains(&word.as_str()).then_some(false) })
        };
        let position = |line: &str| {
            let all = words(line);
            first(&all, &["true"], &["false"]).or_else(|| first(&all, &["on", "enabled"], &["off", "disabled"]))
        };
        self.pairs().iter().any(|(old, new)| position(old).zip(position(new)).is_some_and(|(was, is)| was != is))
    }

    /// Whether a key has another value.
    pub(super) fn values_differ(&self) -> bool {
        let key = |line: &str| line.split([':', '=']).next().map(|key| key.trim().to_owned());
        let tight = |line: &str| line.split_whitespace().collect::<String>();
        self.pairs().iter().any(|(old, new)| key(old) == key(new) && tight(old) != tight(new))
    }
}

/// The line without comment and outer spaces; the letters of a web address are none.
fn without_comment(line: &str) -> String {
    let line = line.trim();
    if ["//", "#", "--", "/*", "* ", "*/", "<!--"].iter().any(|mark| line.starts_with(mark)) && !line.starts_with("#include") {
        return String::new();
    }
    let end = line
        .match_indices("//")
        .map(|(at, _)| at)
        .chain(line.match_indices(" #").map(|(at, _)| at))
        .filter(|at| !line.get(..*at).unwrap_or_default().ends_with(':'))
        .min();
    line.get(..end.unwrap_or(line.len())).unwrap_or(line).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words without figures.
fn names(line: &str) -> Vec<String> {
    words(line).into_iter().filter(|word| !word.starts_with(|letter: char| letter.is_ascii_digit())).collect()
}

fn begins_loop(text: &str) -> bool {
    text.starts_with("for ")
        || text.starts_with("for(")
        || text.starts_with("while")
        || ["foreach", ".map(", ".each ", ".each(", " for ", "flatmap("].iter().any(|mark| text.contains(mark))
}

/// Calls whose names say that they fetch, ask or send.
fn leaves(text: &str) -> bool {
    const ASKING: &[&str] = &[
        "query", "select", "fetch", "find", "load", "lookup", "request", "execute", "http", "rpc", "get", "call", "send", "post", "exec", "read", "list",
        "count", "resolve",
    ];
    const OUTSIDE: &[&str] = &[
        "db",
        "ctx",
        "client",
        "repo",
        "repository",
        "store",
        "catalog",
        "dao",
        "session",
        "api",
        "service",
        "await",
        "grpc",
        "http",
        "redis",
        "cache",
        "sql",
        "conn",
        "objects",
        "remote",
        "tx",
    ];
    let all = words(text);
    text.contains('(') && ASKING.iter().any(|word| all.iter().any(|own| own.starts_with(word))) && OUTSIDE.iter().any(|word| all.iter().any(|own| own == word))
}

/// A line that looks whether something failed.
pub(super) fn checks_failure(text: &str) -> bool {
    ["err != nil", "err == nil", "catch", "except", "error)"].iter().any(|check| text.contains(check))
}

/// A name with a type and no value.
fn is_field(text: &str) -> bool {
    !text.contains('=')
        && !text.contains('(')
        && text.split_once(' ').is_some_and(|(_, kind)| kind.trim_start().starts_with("map[") || kind.trim_start().starts_with("[]"))
}

fn holds_many(text: &str) -> bool {
    ["[]", "map[", "= {}", "= []", "new map", "hashmap", "new list", "arraylist", "vec<", "dict(", "list(", "new set", "hashset", "queue"]
        .iter()
        .any(|mark| text.contains(mark))
        && !["func ", "fn ", "def ", "type ", "return ", "case "].iter().any(|mark| text.starts_with(mark))
}

/// The name that a declaration gives: the last word before a value, or the first where there is none.
fn declared(text: &str) -> Option<String> {
    let skipped = ["var", "let", "const", "static", "private", "public", "final", "pub", "mut", "global", "export"];
    let before = text.split(['=', ':']).next()?;
    let mut names = before.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).filter(|word| word.len() > 2 && !skipped.contains(word));
    let name = if text.contains('=') { names.next_back() } else { names.next() };
    name.map(str::to_owned)
}

/// Hosts, ports and addresses in a line.
fn places(line: &str) -> Vec<String> {
    line.split([' ', '"', '\'', ',', '(', ')', '='])
        .filter(|word| {
            word.contains("://")
                || (word.contains(':') && word.rsplit(':').next().is_some_and(|port| port.len() >= 2 && port.chars().all(|digit| digit.is_ascii_digit())))
                || is_host(word)
        })
        .map(str::to_lowercase)
        .collect()
}

fn is_host(word: &str) -> bool {
    let ending = word.rsplit('.').next().unwrap_or_default();
    word.matches('.').count() >= 2
        && !word.contains('(')
        && ["local", "svc", "com", "net", "io", "internal", "org", "dev", "cloud", "cluster"].contains(&ending)
}

/// How many of the lines hold one of the phrases.
pub(super) fn count(lines: &[String], phrases: &[&str]) -> usize {
    lines.iter().filter(|line| phrases.iter().any(|phrase| line.contains(phrase))).count()
}

/// How often each of those lines stands there.
pub(super) fn holding<'a>(lines: &'a [String], phrases: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let held: Vec<&'a String> = lines.iter().filter(|line| phrases.iter().any(|phrase| line.contains(phrase))).collect();
    for line in held {
        *counts.entry(line.split_whitespace().collect::<String>()).or_default() += 1;
    }
    counts
}
