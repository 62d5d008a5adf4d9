//! The word on single pods of a service: whether those that are named do as the service usually does, by what their own sidecars told.
//!
//! The first pods of a new template are few, so the service's sums hide them. They are judged by the same rule as the service, against
//! their share of its usual values. Probes make a pod look neither well nor ill: as few as they are, all that counts of them is their time,
//! which is in the service's usual time as well. So whom nobody else asks is no data, and that a pod refuses probes while it starts is not
//! held against it. What strangers are not answered counts for nothing either: a pod that only they ask and that hangs is no data.

use std::collections::BTreeSet;

use super::{Heard, Silence, Told};
use crate::ids::UnixMillis;
use crate::seats::Indicator;
use crate::seats::histogram::Histogram;
use crate::seats::network::judge::{BAD, BY_LEVEL, FEW, RECENT, Sums, Usual, failed, mean, signed};
use crate::seats::network::{Counts, View};
use crate::seats::window::{Ring, newest_closed, number, start};
use crate::target::Service;

// === impl View ===

impl View {
    /// The word on the pods of `service` with these UIDs, by their windows after the one of `since`.
    pub(in crate::seats::network) fn indicate_pods(&self, service: &Service, uids: &[String], since: UnixMillis, now: UnixMillis) -> Indicator {
        let settings = &self.settings;
        let newest = newest_closed(settings, now);
        let fresh = newest.saturating_sub(RECENT).saturating_add(1);
        let first = number(settings, since).saturating_add(1);
        let speaking = || self.pods.of(service).filter(|(_, told)| told.spoke(fresh, newest));
        let wanted: BTreeSet<&String> = uids.iter().collect();
        let named: Vec<(&String, &Told)> = speaking().filter(|(uid, told)| wanted.contains(uid) && told.spoke(first, newest)).collect();
        let missing = wanted.iter().find(|uid| !named.iter().any(|(other, _)| *other == **uid));

        let mut ring: Ring<Counts> = Ring::default();
        for (number, heard) in named.iter().flat_map(|(_, told)| told.windows.between(first, newest)) {
            if let Some(window) = ring.window(settings, start(settings, number), now) {
                window.merge(&heard.counts());
            }
        }
        // Errors need a few answers to mean anything, so who is asked rarely is judged by more windows than the newest.
        let mut answers = 0_u64;
        let enough = |(_, window): &(i64, &Counts)| {
            answers = answers.saturating_add(window.answered());
            answers >= FEW
        };
        let from = ring.between(first, newest).rev().find(enough).map_or(first, |(number, _)| number).min(fresh.max(first));
        // The window of `since` itself may hold some of what they did after it, so it teaches nothing.
        let learned = self.ring(service, now).and_then(|ring| self.usual(ring, number(settings, since).saturating_sub(1)).ok());
        let usual_of = |pods: usize| learned.map(|usual| usual.share(pods, speaking().count()));
        let (usual, of_one) = (usual_of(named.len()), usual_of(1));
        let sums = Sums::of(settings, &ring, (first, from, newest), usual.as_ref());
        // Each by itself: together, one that answers would hide it.
        let silent = named.iter().find_map(|(_, told)| told.silence(first, newest, of_one.as_ref()).map(|silence| (told, silence)));

        let known = sums.latest.answered().saturating_add(sums.latest.unanswered()) >= FEW;
        let ill = silent.is_some() || known && sums.ill;
        // Nobody is well for others of whom nothing is known.
        let well = !ill && missing.is_none() && sums.latest.answered() >= FEW;
        let summary = match (silent, missing) {
            (Some((told, silence)), _) => format!("pod {:.253} answers nothing, asked {} times", told.name, silence.asked),
            (None, _) if ill || well => answers_of(&named, &sums, usual.as_ref()),
            (None, Some(uid)) => format!("no sidecar of a pod {uid:.64} of {service} has told of anything since"),
            (None, None) => format!("{} asked too little to tell: {} times since", who(&named, "was", "were"), sums.all.requests),
        };
        Indicator { live: ill || well, healthy: well, summary, ..sums.indicator() }
    }
}

// === impl Told ===

impl Told {
    fn spoke(&self, from: i64, to: i64) -> bool {
        self.windows.between(from, to).next().is_some()
    }

    /// How it let down everybody who asked it lately, if it did, and if that is not what the service does on purpose.
    fn silence(&self, first: i64, newest: i64, usual: Option<&Usual>) -> Option<Silence> {
        let silence = Silence::take(&mut self.windows.between(first, newest).rev().peekable());
        let on_purpose = usual.is_some_and(|usual| signed(silence.most) <= usual.unanswered.median);
        (silence.let_down >= BAD && silence.is_of(FEW) && !on_purpose).then_some(silence)
    }
}

// === impl Heard ===

impl Heard {
    /// As the service's own windows are kept; of the spread of times nothing is known.
    fn counts(&self) -> Counts {
        Counts {
            requests: u64::from(self.asked),
            success: u64::from(self.success),
            server_error: u64::from(self.errors),
            no_response: u64::from(self.no_response),
            stalled: u64::from(self.stalled),
            latency: Histogram::of_mean(u64::from(self.timed), self.time_us),
        }
    }
}

/// One pod by its name, or how many they are, with the verb that fits.
fn who(named: &[(&String, &Told)], one: &str, many: &str) -> String {
    match named {
        [(_, told)] => format!("pod {:.253} {one}", told.name),
        _ => format!("{} pods {many}", named.len()),
    }
}

fn answers_of(named: &[(&String, &Told)], sums: &Sums, usual: Option<&Usual>) -> String {
    let latest = &sums.latest;
    let against = usual.map_or_else(|| BY_LEVEL.to_owned(), |usual| format!(", usual {} us", usual.latency.median));
    format!(
        "{} {} a window, {} of {} failed, {} unanswered, mean {} us{against}",
        who(named, "answers", "answer"),
        latest.answered() / sums.width.unsigned_abs().max(1),
        failed(latest),
        latest.answered().saturating_add(latest.no_response),
        latest.stalled,
        mean(&latest.latency),
    )
}
