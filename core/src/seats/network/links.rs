//! The health of connections, call by call: refused, lossy, slow, or a callee that went silent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::judge::signed;
use super::{Link, View};
use crate::ballot::Edge;
use crate::ids::UnixMillis;
use crate::seats::baseline::Baseline;
use crate::seats::window::{Ring, newest_closed, number, start};
use crate::target::Service;

const RECENT: i64 = 3;
const SPREADS: i64 = 6;
/// Retransmitted segments in a window above the usual.
const RETRANSMITS_ABOVE: i64 = 10;
/// Round-trip time above the usual.
const RTT_ABOVE_US: i64 = 20_000;
/// Bytes in a usual window for silence to mean anything.
const TALKATIVE: i64 = 64;
/// Ports on which databases speak.
const DATABASE_PORTS: [u16; 3] = [5432, 6379, 3306];

/// What is wrong with a call's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Trouble {
    /// Connections cannot be opened.
    Unreachable,
    /// Connections cannot be opened at a port that never answered anybody, while the callee answers at another: the caller asks at
    /// the wrong place.
    WrongPort,
    /// Segments are lost.
    Loss,
    /// Segments are late.
    Delay,
    /// Bytes are taken, and none comes back.
    Silent,
}

/// One call in trouble, with the figures.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Troubled {
    pub(super) edge: Edge,
    pub(super) trouble: Trouble,
    pub(super) database: bool,
    pub(super) now: Link,
    pub(super) from: UnixMillis,
    pub(super) to: UnixMillis,
}

/// The connections of all calls now.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) troubled: Vec<Troubled>,
    judged: BTreeSet<Edge>,
}

// === impl Trouble ===

impl Trouble {
    /// Whether it lies between the two, as far as can be seen from their connections.
    pub(super) fn is_of_network(self) -> bool {
        matches!(self, Self::Unreachable | Self::Loss | Self::Delay)
    }
}

// === impl View ===

impl View {
    /// All calls with figures, those in trouble named.
    pub(super) fn connections(&self, since: UnixMillis, now: UnixMillis) -> Links {
        let mut links = Links::default();
        let newest = newest_closed(&self.settings, now);
        for ((edge, port), ring) in &self.links {
            let fresh = newest.saturating_sub(RECENT).saturating_add(1);
            let mut sum = Link::default();
            let mut any = false;
            for (_, window) in ring.between(fresh, newest) {
                sum.merge(window);
                any = true;
            }
            if !any {
                continue;
            }
            links.judged.insert(edge.clone());
            let before = number(&self.settings, since).min(fresh).saturating_sub(1);
            let http = self.told_by_callee.get(&edge.callee).is_some_and(|ring| ring.between(i64::MIN, newest).any(|(_, w)| w.requests > 0));
            if let Some(trouble) = self.trouble(ring, &sum, before, http) {
                let trouble = if trouble == Trouble::Unreachable && self.is_wrong_port(&edge.callee, *port) { Trouble::WrongPort } else { trouble };
                links.troubled.push(Troubled {
                    edge: edge.clone(),
                    trouble,
                    database: DATABASE_PORTS.contains(&sum.port),
                    now: sum,
                    from: start(&self.settings, fresh),
                    to: start(&self.settings, newest.saturating_add(1)),
                });
            }
        }
        links
    }

    /// Whether nobody was ever answered at this port of `callee`, as far as is remembered, while somebody was at another one.
    fn is_wrong_port(&self, callee: &Service, port: u16) -> bool {
        let answered = |at_port: bool| {
            let rings = self.links.iter().filter(|((edge, other), _)| edge.callee == *callee && (*other == port) == at_port);
            rings.flat_map(|(_, ring)| ring.between(i64::MIN, i64::MAX)).any(|(_, window)| window.received > 0)
        };
        !answered(true) && answered(false)
    }

    fn trouble(&self, ring: &Ring<Link>, now: &Link, before: i64, http: bool) -> Option<Trouble> {
        if now.connect_failed >= 3 && now.connect_failed >= now.opened {
            return Some(Trouble::Unreachable);
        }
        let settings = &self.settings;
        let past = |value: fn(&Link) -> u64, floor: i64| {
            let values = ring.between(i64::MIN, before).filter(|(n, _)| !self.masks.cover(start(settings, *n))).map(|(_, w)| signed(value(w))).collect();
            Baseline::learn(values, floor, settings.learn)
        };
        let above = |usual: Baseline, value: i64, least: i64| value.saturating_sub(usual.median) >= least && usual.above(value) >= SPREADS;
        let retransmits = past(|w| w.retransmits, 2)?;
        if above(retransmits, signed(now.retransmits) / RECENT, RETRANSMITS_ABOVE) {
            return Some(Trouble::Loss);
        }
        let rtt = past(|w| w.rtt_us, 2_000)?;
        if above(rtt, signed(now.rtt_us), RTT_ABOVE_US) {
            return Some(Trouble::Delay);
        }
        // Of a callee that speaks HTTP the answers themselves are judged.
        let received = past(|w| w.received, 1)?;
        (!http && received.median >= TALKATIVE && now.received == 0 && now.sent > 0).then_some(Trouble::Silent)
    }
}

// === impl Links ===

impl Links {
    /// Callees that take bytes and answer none.
    pub(super) fn silent(&self) -> impl Iterator<Item = &Troubled> {
        self.troubled.iter().filter(|troubled| troubled.trouble == Trouble::Silent)
    }

    /// Calls of `caller` to ports where nobody listens.
    pub(super) fn misdirected<'a>(&'a self, caller: &'a Service) -> impl Iterator<Item = &'a Troubled> {
        self.troubled.iter().filter(move |troubled| troubled.trouble == Trouble::WrongPort && troubled.edge.caller == *caller)
    }

    /// The services to blame for calls in trouble (silence and wrong ports apart), with the share of their calls that are, in millionths:
    /// first whoever has most of them, then whoever is left. A lone call is blamed on its callee.
    pub(super) fn blamed(&self) -> Vec<(Service, u64, Vec<&Troubled>)> {
        let mut left: Vec<&Troubled> = self.troubled.iter().filter(|troubled| troubled.trouble.is_of_network()).collect();
        let mut blamed = Vec::new();
        while !left.is_empty() {
            let mut counts: BTreeMap<&Service, (usize, usize)> = BTreeMap::new();
            for troubled in &left {
                counts.entry(&troubled.edge.callee).or_default().0 += 1;
                counts.entry(&troubled.edge.caller).or_default().1 += 1;
            }
            let Some((service, (callee, caller))) =
                counts.into_iter().max_by_key(|(service, (callee, caller))| (callee + caller, *callee, std::cmp::Reverse(*service)))
            else {
                break;
            };
            let service = service.clone();
            let of_all = self.judged.iter().filter(|edge| edge.callee == service || edge.caller == service).count().max(1);
            let share = u64::try_from((callee + caller) * 1_000_000 / of_all).unwrap_or(0);
            let (mine, rest) = left.into_iter().partition(|troubled| troubled.edge.callee == service || troubled.edge.caller == service);
            left = rest;
            blamed.push((service, share, mine));
        }
        blamed
    }
}
