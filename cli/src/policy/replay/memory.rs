//! The objects of a log as its own earlier answers showed them: what an `oldObject` is recovered from. Bounded in bytes; the
//! longest unchanged is forgotten first, and what changed without being shown is forgotten at once.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

/// Most bytes of objects that are remembered.
const MAX_BYTES: usize = 256 << 20;

/// Group, plural, namespace and name.
pub(super) type Key = (String, String, String, String);

/// An object as it was last seen.
#[derive(Debug)]
struct Known {
    turn: u64,
    text: Box<str>,
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    known: HashMap<Key, Known>,
    /// Turns in which something was learned; those that were overtaken mean nothing any more.
    turns: VecDeque<(u64, Key)>,
    turn: u64,
    bytes: usize,
    most: usize,
    pub(super) forgotten: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(MAX_BYTES)
    }
}

// === impl Memory ===

impl Memory {
    fn of(most: usize) -> Self {
        Self { known: HashMap::new(), turns: VecDeque::new(), turn: 0, bytes: 0, most, forgotten: 0 }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Value> {
        // It was written from a value, so it reads as one.
        self.known.get(key).and_then(|known| serde_json::from_str(&known.text).ok())
    }

    pub(super) fn learn(&mut self, key: Key, object: &Value) {
        self.forget(&key);
        let text = object.to_string().into_boxed_str();
        self.turn += 1;
        self.bytes += text.len();
        self.turns.push_back((self.turn, key.clone()));
        self.known.insert(key, Known { turn: self.turn, text });
        while self.bytes > self.most {
            let Some((turn, oldest)) = self.turns.pop_front() else { break };
            if self.known.get(&oldest).is_some_and(|known| known.turn == turn) {
                self.forget(&oldest);
                self.forgotten += 1;
            }
        }
        // Overtaken turns of objects that change often would pile up.
        if self.turns.len() > 2 * self.known.len() + 1024 {
            let known = &self.known;
            self.turns.retain(|(turn, key)| known.get(key).is_some_and(|known| known.turn == *turn));
        }
    }

    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(known) = self.known.remove(key) {
            self.bytes = self.bytes.saturating_sub(known.text.len());
        }
    }

    /// Forgets all of a resource in a namespace, or in every one.
    pub(super) fn forget_all(&mut self, group: &str, resource: &str, namespace: &str) {
        let gone = |key: &Key| key.0 == group && key.1 == resource && (namespace.is_empty() || key.2 == namespace);
        let keys: Vec<Key> = self.known.keys().filter(|key| gone(key)).cloned().collect();
        keys.iter().for_each(|key| self.forget(key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        (String::new(), "pods".into(), "shop".into(), name.into())
    }

    #[test]
    fn memory_is_bounded_and_forgets_what_changed_longest_ago() {
        let mut memory = Memory::of(400);
        let object = |fill: usize| json!({"a": "x".repeat(fill)});
        for name in ["one", "two", "three"] {
            memory.learn(key(name), &object(100));
        }
        memory.learn(key("one"), &object(100));
        memory.learn(key("four"), &object(100));
        assert_eq!((memory.get(&key("two")), memory.forgotten), (None, 1));
        assert!(memory.get(&key("one")).is_some() && memory.bytes <= 400);
        memory.learn(key("huge"), &object(1000));
        assert!(memory.bytes <= 400 && memory.get(&key("huge")).is_none());
        for _ in 0..5000 {
            memory.learn(key("one"), &object(1));
        }
        assert!(memory.turns.len() < 2048);
        memory.forget_all("", "pods", "shop");
        assert_eq!((memory.get(&key("one")), memory.bytes), (None, 0));
    }
}
