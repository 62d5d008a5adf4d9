//! What traces say: who calls whom, where failures begin, who gave up first, who calls the same thing again and again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Incident, Span};

/// Equal calls below one span that are too many.
const MANY: u32 = 10;

/// What was read from the traces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Calls<'a> {
    /// Caller and callee.
    pub(super) edges: BTreeSet<(&'a str, &'a str)>,
    /// Share of failures that begin at a service: it failed and nothing below it did.
    pub(super) origins: BTreeMap<&'a str, f64>,
    /// Services that gave up on a callee that still worked.
    pub(super) abandoning: BTreeSet<&'a str>,
    /// Callees that were left alone.
    pub(super) abandoned: BTreeSet<&'a str>,
    /// Services that send many equal calls for one request.
    pub(super) repeating: BTreeSet<&'a str>,
}

pub(super) fn read(incident: &Incident) -> Calls<'_> {
    let mut calls = Calls::default();
    let mut spans: Vec<&Span> = incident.spans.iter().collect();
    spans.sort_by(|a, b| (&a.trace, &a.id, &a.service, &a.name).cmp(&(&b.trace, &b.id, &b.service, &b.name)).then(a.duration.total_cmp(&b.duration)));
    let by_id: BTreeMap<(&str, &str), &Span> = spans.iter().copied().map(|span| ((span.trace.as_str(), span.id.as_str()), span)).collect();
    // Some recorders write one constant as the trace of all but the first span.
    let by_span: BTreeMap<&str, &Span> = spans.iter().copied().map(|span| (span.id.as_str(), span)).collect();
    let parent = |span: &Span| {
        let id = span.parent.as_deref()?;
        by_id.get(&(span.trace.as_str(), id)).or_else(|| by_span.get(id)).copied().filter(|parent| parent.id != span.id)
    };
    let mut failing_above: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut equal: BTreeMap<(&str, &str, &str, &str), u32> = BTreeMap::new();
    for span in spans.iter().copied() {
        let Some(above) = parent(span) else { continue };
        let gave_up = above.failed && above.duration < span.duration * 0.97;
        if above.service != span.service {
            calls.edges.insert((&above.service, &span.service));
            if gave_up {
                calls.abandoning.insert(&above.service);
                calls.abandoned.insert(&span.service);
            }
        }
        if span.failed && !gave_up {
            failing_above.insert((above.trace.as_str(), above.id.as_str()));
        }
        *equal.entry((above.trace.as_str(), above.id.as_str(), span.service.as_str(), span.name.as_str())).or_default() += 1;
    }
    for ((trace, id, _, _), count) in equal {
        if count >= MANY
            && let Some(span) = by_id.get(&(trace, id))
        {
            calls.repeating.insert(&span.service);
        }
    }
    let mut origins: BTreeMap<&str, u32> = BTreeMap::new();
    for span in spans.iter().copied().filter(|span| span.failed && !failing_above.contains(&(span.trace.as_str(), span.id.as_str()))) {
        let left = parent(span).is_some_and(|above| above.failed && above.duration < span.duration * 0.97);
        if !left {
            *origins.entry(&span.service).or_default() += 1;
        }
    }
    let all: u32 = origins.values().sum();
    calls.origins = origins.into_iter().map(|(service, count)| (service, f64::from(count) / f64::from(all.max(1)))).collect();
    calls
}
