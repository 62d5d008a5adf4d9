//! Objectives, scaling, tuning and who else writes the workload.

use super::rules::time;
use super::{MAX_NAME, MAX_WORDS};
use crate::blueprint::problem::{Field, Problems};
use crate::blueprint::service::{Criticality, GitOps, Latency, MIN_GAP, Objectives, Priority, Saturation, Scaling, ShareObjective, Tuning, Weights};
use crate::blueprint::values::share;
use crate::ids::Millionths;

pub(super) const OBJECTIVES: &[&str] = &["latency", "errorRate", "availability", "saturation"];
pub(super) const LATENCY: &[&str] = &["percentile", "target", "window"];
pub(super) const SHARE: &[&str] = &["target", "window"];
pub(super) const SATURATION: &[&str] = &["cpu", "memory", "window"];
pub(super) const SCALING: &[&str] = &["targetUtilization", "scaleUpThreshold", "scaleDownThreshold", "window", "hysteresis", "maxStep", "weights"];
pub(super) const HYSTERESIS: &[&str] = &["up", "down"];
pub(super) const WEIGHTS: &[&str] = &["cpu", "memory", "latency"];
pub(super) const TUNING: &[&str] = &["percentile", "headroom", "raiseAbove", "lowerBelow", "minChange", "window"];
pub(super) const GITOPS: &[&str] = &["owner", "kind", "namespace", "name", "repository", "path"];

pub(super) const PRIORITIES: [(&str, Priority); 3] = [("low", Priority::Low), ("medium", Priority::Medium), ("high", Priority::High)];
pub(super) const CRITICALITIES: [(&str, Criticality); 4] =
    [("low", Criticality::Low), ("standard", Criticality::Standard), ("high", Criticality::High), ("critical", Criticality::Critical)];

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
const PERCENTILES: [u32; 5] = [50, 75, 90, 95, 99];

fn percentile(field: &Field<'_>, problems: &mut Problems) -> Option<u32> {
    let value = problems.integer(field, 1..=99)?;
    if !PERCENTILES.contains(&value) {
        problems.tell(field, "must be one of 50, 75, 90, 95, 99", "choose one of them");
        return None;
    }
    Some(value)
}

fn part(field: &Field<'_>, problems: &mut Problems) -> Option<Millionths> {
    problems.figure(field, share, "a share of at most 100%", "80%")
}

fn missing(field: &Field<'_>, hint: &str, problems: &mut Problems) {
    if !field.is_there() {
        problems.tell(field, "must be given", hint);
    }
}

pub(super) fn objectives(field: &Field<'_>, problems: &mut Problems) -> Objectives {
    problems.object(field, OBJECTIVES);
    let mut latency: Vec<Latency> = Vec::new();
    for item in problems.items(&field.at("latency"), 4) {
        problems.object(&item, LATENCY);
        let percentile = percentile(&item.at("percentile"), problems).unwrap_or(95);
        missing(&item.at("target"), "for example `200ms`", problems);
        let target = time(&item.at("target"), 0, 10 * MINUTE_MS, problems);
        let window_ms = time(&item.at("window"), 10_000, 90 * DAY_MS, problems).unwrap_or(5 * MINUTE_MS);
        if latency.iter().any(|other| other.percentile == percentile) {
            problems.tell(&item.at("percentile"), "is named twice", "one objective for a percentile");
        } else if target == Some(0) {
            problems.tell(&item.at("target"), "is never reached", "more than 0");
        } else if let Some(target_ms) = target {
            latency.push(Latency { percentile, target_ms, window_ms });
        }
    }
    let mut objective = |name: &str, default: u64, reachable: fn(u32) -> bool| {
        let at = field.at(name);
        problems.object(&at, SHARE);
        if !at.is_there() {
            return None;
        }
        missing(&at.at("target"), "for example `1%`", problems);
        let target = part(&at.at("target"), problems);
        let window_ms = time(&at.at("window"), 10_000, 90 * DAY_MS, problems).unwrap_or(default);
        if target.is_some_and(|target| !reachable(target.get())) {
            problems.tell(&at.at("target"), "says nothing, or is never reached", "an objective that can be met and missed");
            return None;
        }
        target.map(|target| ShareObjective { target, window_ms })
    };
    let error_rate = objective("errorRate", 5 * MINUTE_MS, |share| share < 1_000_000);
    let availability = objective("availability", 30 * DAY_MS, |share| share > 0 && share < 1_000_000);
    let full = field.at("saturation");
    problems.object(&full, SATURATION);
    let saturation = full.is_there().then(|| Saturation {
        cpu: part(&full.at("cpu"), problems),
        memory: part(&full.at("memory"), problems),
        window_ms: time(&full.at("window"), 10_000, 90 * DAY_MS, problems).unwrap_or(5 * MINUTE_MS),
    });
    Objectives { latency, error_rate, availability, saturation }
}

pub(super) fn scaling(field: &Field<'_>, problems: &mut Problems) -> Scaling {
    problems.object(field, SCALING);
    let default = Scaling::default();
    let (target, up, down) = (field.at("targetUtilization"), field.at("scaleUpThreshold"), field.at("scaleDownThreshold"));
    let hold = field.at("hysteresis");
    problems.object(&hold, HYSTERESIS);
    let scaling = Scaling {
        target: part(&target, problems).unwrap_or(default.target),
        up: part(&up, problems).unwrap_or(default.up),
        down: part(&down, problems).unwrap_or(default.down),
        window_ms: time(&field.at("window"), 10_000, 60 * MINUTE_MS, problems).unwrap_or(default.window_ms),
        up_for_ms: time(&hold.at("up"), 0, DAY_MS, problems).unwrap_or(default.up_for_ms),
        down_for_ms: time(&hold.at("down"), 1_000, DAY_MS, problems).unwrap_or(default.down_for_ms),
        step: problems.integer(&field.at("maxStep"), 1..=100).unwrap_or(default.step),
        weights: weights(&field.at("weights"), problems).unwrap_or(default.weights),
    };
    let gap = scaling.up.get().saturating_sub(scaling.down.get());
    if gap < MIN_GAP {
        let place = if down.is_there() { &down } else { &up };
        problems.tell(
            place,
            format!("is less than 10 points below scaleUpThreshold ({})", scaling.up),
            "thresholds further apart: close ones swing to and fro",
        );
    } else if scaling.target >= scaling.up || scaling.target <= scaling.down {
        let place = [&target, &up, &down].into_iter().find(|place| place.is_there()).unwrap_or(&target);
        let rule =
            format!("targetUtilization ({}) must lie between scaleDownThreshold ({}) and scaleUpThreshold ({})", scaling.target, scaling.down, scaling.up);
        problems.tell(place, rule, "a target between the thresholds, or it scales again at once");
    }
    scaling
}

fn weights(field: &Field<'_>, problems: &mut Problems) -> Option<Weights> {
    problems.object(field, WEIGHTS);
    if !field.is_there() {
        return None;
    }
    let mut weight = |name: &str| problems.integer(&field.at(name), 0..=100).unwrap_or(0);
    let weights = Weights { cpu: weight("cpu"), memory: weight("memory"), latency: weight("latency") };
    let sum = weights.cpu + weights.memory + weights.latency;
    if sum != 100 {
        problems.tell(field, format!("add up to {sum}"), "parts of a hundred; one that is left out is 0");
        return None;
    }
    Some(weights)
}

pub(super) fn tuning(field: &Field<'_>, problems: &mut Problems) -> Tuning {
    problems.object(field, TUNING);
    let default = Tuning::default();
    let tuning = Tuning {
        percentile: percentile(&field.at("percentile"), problems).unwrap_or(default.percentile),
        headroom: part(&field.at("headroom"), problems).unwrap_or(default.headroom),
        raise_above: part(&field.at("raiseAbove"), problems).unwrap_or(default.raise_above),
        lower_below: part(&field.at("lowerBelow"), problems).unwrap_or(default.lower_below),
        min_change: part(&field.at("minChange"), problems).unwrap_or(default.min_change),
        window_ms: time(&field.at("window"), 10 * MINUTE_MS, 30 * DAY_MS, problems).unwrap_or(default.window_ms),
    };
    if tuning.raise_above.get().saturating_sub(tuning.lower_below.get()) < MIN_GAP {
        let place = if field.at("lowerBelow").is_there() { field.at("lowerBelow") } else { field.at("raiseAbove") };
        problems.tell(&place, format!("is less than 10 points below raiseAbove ({})", tuning.raise_above), "thresholds further apart");
    }
    tuning
}

pub(super) fn gitops(field: &Field<'_>, problems: &mut Problems) -> Option<GitOps> {
    problems.object(field, GITOPS);
    if !field.is_there() {
        return None;
    }
    missing(&field.at("owner"), "`ArgoCD` or `Flux`", problems);
    let owner = problems.choice(&field.at("owner"), &[("ArgoCD", "ArgoCD"), ("Flux", "Flux")]);
    let flux = owner == Some("Flux");
    let kinds: &[(&str, &str)] = if flux { &[("Kustomization", "Kustomization"), ("HelmRelease", "HelmRelease")] } else { &[("Application", "Application")] };
    let kind = problems.choice(&field.at("kind"), kinds).unwrap_or(if flux { "Kustomization" } else { "Application" });
    let namespace = problems.needed(&field.at("namespace"), 63, "the namespace of the owner's object");
    let name = problems.needed(&field.at("name"), MAX_NAME, "the name of the owner's object");
    let repository = problems.text(&field.at("repository"), MAX_WORDS).map(str::to_owned);
    let path = problems.text(&field.at("path"), MAX_WORDS).map(str::to_owned);
    if path.as_deref().is_some_and(|path| path.starts_with('/') || path.split('/').any(|part| part == "..")) {
        problems.tell(&field.at("path"), "must lie inside the repository", "a relative path without `..`");
    }
    Some(GitOps { owner: owner?.to_owned(), kind: kind.to_owned(), namespace: namespace?.to_owned(), name: name?.to_owned(), repository, path })
}
