//! A random walk on the graph: whoever looks for the cause starts at the entry, goes to callees the more likely the further they stray,
//! stays where nobody below strays more, and now and then turns back. The longer it is somewhere, the more suspect.

use std::collections::BTreeMap;

use assent_core::diagnosis::Recording;

use crate::columns::{ranked, scores};
use crate::nsigma;

/// How likely the walk begins anew at each step.
const ANEW: f64 = 0.15;
/// How likely it turns back to a caller, relative to going on.
const BACK: f64 = 0.2;
/// Steps, far more than it takes to settle.
const STEPS: usize = 100;

/// Services, most suspect first.
pub(crate) fn rank(recording: &Recording) -> Vec<String> {
    // Distances reach from ones to millions: their logarithm is what differs between neighbours.
    let strays: BTreeMap<String, f64> = scores(recording, nsigma::score).into_iter().map(|(service, score)| (service, score.ln_1p())).collect();
    let known = recording.alert.entry.as_deref().filter(|entry| strays.contains_key(*entry));
    let starts: Vec<&str> = known.map_or_else(|| heads(recording, &strays), |entry| vec![entry]);
    if starts.is_empty() {
        return ranked(strays);
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of services")]
    let start: BTreeMap<&str, f64> = starts.iter().map(|service| (*service, 1.0 / starts.len() as f64)).collect();
    let ways = ways(recording, &strays);
    let mut at: BTreeMap<&str, f64> = start.clone();
    for _ in 0..STEPS {
        let mut next: BTreeMap<&str, f64> = start.iter().map(|(service, part)| (*service, part * ANEW)).collect();
        for (service, mass) in &at {
            for (to, chance) in ways.get(service).into_iter().flatten() {
                *next.entry(to).or_default() += mass * chance * (1.0 - ANEW);
            }
        }
        at = next;
    }
    // Beginning somewhere makes nobody suspect. What the walk never reaches comes last, by how far it strays.
    let most = strays.values().copied().fold(0.0, f64::max).max(1.0);
    let suspect = |service: &String| at.get(service.as_str()).copied().unwrap_or(0.0) - start.get(service.as_str()).copied().unwrap_or(0.0) * ANEW;
    ranked(strays.iter().map(|(service, stray)| (service.clone(), suspect(service) + stray / most * 1e-6)).collect())
}

/// Where to go from each service, with how likely.
fn ways<'a>(recording: &'a Recording, strays: &'a BTreeMap<String, f64>) -> BTreeMap<&'a str, Vec<(&'a str, f64)>> {
    let stray = |service: &str| strays.get(service).copied().unwrap_or(0.0);
    let edges = recording.edges();
    let mut ways: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for service in strays.keys().map(String::as_str) {
        let below: Vec<&str> = edges.iter().filter(|(caller, callee)| *caller == service && strays.contains_key(*callee)).map(|(_, callee)| *callee).collect();
        let above = edges.iter().filter(|(caller, callee)| *callee == service && strays.contains_key(*caller)).map(|(caller, _)| *caller);
        let most = below.iter().map(|callee| stray(callee)).fold(0.0, f64::max);
        let mut to: Vec<(&str, f64)> = below.iter().map(|callee| (*callee, stray(callee))).collect();
        to.extend(above.map(|caller| (caller, BACK * stray(caller))));
        to.push((service, (stray(service) - most).max(f64::MIN_POSITIVE)));
        let sum: f64 = to.iter().map(|(_, weight)| weight).sum();
        ways.insert(service, to.into_iter().map(|(to, weight)| (to, weight / sum)).collect());
    }
    ways
}

/// Services that nobody calls: where users come in, when the entry is no service.
fn heads<'a>(recording: &'a Recording, strays: &BTreeMap<String, f64>) -> Vec<&'a str> {
    let edges = recording.edges();
    let callers = edges.iter().map(|(caller, _)| *caller).filter(|caller| strays.contains_key(*caller));
    let mut heads: Vec<&str> = callers.filter(|caller| !edges.iter().any(|(_, callee)| callee == caller)).collect();
    heads.dedup();
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::tests::chain;

    #[test]
    fn the_walk_ends_at_the_deepest_stray() {
        assert_eq!(rank(&chain())[0], "store");
    }

    #[test]
    fn what_strays_outside_of_the_way_from_the_entry_is_no_suspect() {
        let mut recording = chain();
        recording.graph.remove(&("cart".to_owned(), "store".to_owned()));
        assert_eq!(rank(&recording)[0], "cart");
    }

    #[test]
    fn ways_from_a_service_are_a_whole() {
        let recording = chain();
        let strays: BTreeMap<String, f64> = scores(&recording, nsigma::score);
        for (service, to) in ways(&recording, &strays) {
            let sum: f64 = to.iter().map(|(_, chance)| chance).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{service}: {sum}");
        }
    }
}
