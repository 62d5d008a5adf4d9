//! Strangers' names as numbers: so many of them, each so long. One that no longer fits is the same as any other such one.

use std::collections::{HashMap, HashSet};

use crate::sources::names::Names;
use crate::sources::otlp::wire::Resource;

const MAX_WORDS: usize = 8_192;
const MAX_SERVICES: usize = 1_024;
const MAX_LENGTH: usize = 128;

/// The number of a name. Zero is no name; one is any name that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Word(u32);

const OTHER: Word = Word(1);

/// Who sent a span.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Sender {
    namespace: String,
    deployment: String,
    pod: String,
    service: String,
}

/// All names. Those of senders and those of operations share their numbers.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: HashMap<String, Word>,
    texts: HashMap<Word, String>,
    senders: HashMap<Sender, Word>,
    last: u32,
}

// === impl Words ===

impl Words {
    pub(super) fn word(&mut self, text: &str) -> Word {
        let text = cut(text);
        if text.is_empty() {
            return Word::default();
        }
        if let Some(word) = self.words.get(text) {
            return *word;
        }
        if self.words.len() >= MAX_WORDS {
            return OTHER;
        }
        let word = self.next();
        self.words.insert(text.to_owned(), word);
        self.texts.insert(word, text.to_owned());
        word
    }

    pub(super) fn service(&mut self, resource: &Resource<'_>) -> Word {
        let sender = Sender {
            namespace: cut(resource.namespace).to_owned(),
            deployment: cut(resource.deployment).to_owned(),
            // Pods come and go; the name of a workload is enough where there is one.
            pod: if resource.deployment.is_empty() { cut(resource.pod).to_owned() } else { String::new() },
            service: cut(resource.service).to_owned(),
        };
        if sender == Sender::default() {
            return Word::default();
        }
        if let Some(word) = self.senders.get(&sender) {
            return *word;
        }
        if self.senders.len() >= MAX_SERVICES {
            return OTHER;
        }
        let word = self.next();
        self.senders.insert(sender, word);
        word
    }

    /// The workloads that numbers stand for: senders by what their resource says, peers by their name as a client knows it.
    pub(super) fn known<'a>(&self, names: &'a Names) -> HashMap<Word, &'a str> {
        let of_sender = |sender: &Sender| {
            if !sender.namespace.is_empty() && sender.namespace != names.namespace() {
                return None;
            }
            names.workload(&sender.deployment).or_else(|| names.pod(&sender.pod)).or_else(|| names.workload(&sender.service))
        };
        let senders = self.senders.iter().filter_map(|(sender, word)| Some((*word, of_sender(sender)?)));
        let peers = self.words.iter().filter_map(|(text, word)| Some((*word, of_peer(text, names)?)));
        peers.chain(senders).collect()
    }

    pub(super) fn text(&self, word: Word) -> &str {
        self.texts.get(&word).map_or("", String::as_str)
    }

    /// Whether names are close to their bounds.
    pub(super) fn is_crowded(&self) -> bool {
        self.words.len() >= MAX_WORDS * 7 / 8 || self.senders.len() >= MAX_SERVICES * 7 / 8
    }

    /// Forgets names that nothing is known under.
    pub(super) fn retain(&mut self, used: &HashSet<Word>) {
        self.words.retain(|_, word| used.contains(word));
        self.texts.retain(|word, _| used.contains(word));
        self.senders.retain(|_, word| used.contains(word));
    }

    fn next(&mut self) -> Word {
        self.last = self.last.max(OTHER.0) + 1;
        Word(self.last)
    }
}

/// `name`, `name.namespace`, `name.namespace.svc…`.
fn of_peer<'a>(text: &str, names: &'a Names) -> Option<&'a str> {
    let mut labels = text.split('.');
    let name = labels.next()?;
    let here = labels.next().is_none_or(|namespace| namespace == names.namespace());
    names.workload(name).filter(|_| here)
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_LENGTH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
