//! The rule of a stock HorizontalPodAutoscaler by its published algorithm, on CPU alone with the defaults of its behaviour:
//! desired = ceil(current × use / target), 10 % tolerance, the highest recommendation of five minutes before fewer, and per
//! fifteen seconds at most twice as many or four more.

use std::collections::VecDeque;

use super::service::Service;

/// How often it looks.
pub(crate) const PERIOD_S: i64 = 15;
const TARGET_PERCENT: i64 = 70;
const STABILISATION_S: i64 = 300;
const MAX_AGE_S: i64 = 60;

#[derive(Clone, Debug, Default)]
pub(crate) struct Autoscaler {
    recommendations: VecDeque<(i64, u32)>,
}

// === impl Autoscaler ===

impl Autoscaler {
    pub(crate) fn look(&mut self, service: &Service, now_s: i64) -> Option<u32> {
        let newest = service.samples.back()?;
        let fresh = now_s - newest.at.0 / 1000 <= MAX_AGE_S;
        let used = i64::try_from(newest.cpu_milli.filter(|_| fresh && newest.ready > 0)?).unwrap();
        let recommended = self.recommend(service, used, i64::from(newest.ready)).clamp(service.nature.min, service.nature.max);
        self.recommendations.push_back((now_s, recommended));
        while self.recommendations.front().is_some_and(|(at, _)| *at <= now_s - STABILISATION_S) {
            self.recommendations.pop_front();
        }
        let replicas = service.replicas;
        if recommended > replicas {
            return Some(recommended.min((2 * replicas).max(replicas + 4)));
        }
        let stable = self.recommendations.iter().map(|(_, recommended)| *recommended).max().unwrap_or(recommended).min(replicas);
        (stable < replicas).then_some(stable)
    }

    fn recommend(&self, service: &Service, used: i64, ready: i64) -> u32 {
        let wanted = |replicas: i64| 1000 * used * 100 / (service.nature.request_milli * TARGET_PERCENT * replicas);
        let tolerated = |ratio: i64| (900..=1100).contains(&ratio);
        let ratio = wanted(ready);
        let all = i64::from(service.replicas);
        if tolerated(ratio) {
            return service.replicas;
        }
        if ratio < 1000 || ready >= all {
            return u32::try_from((ratio * ready + 999) / 1000).unwrap();
        }
        // Replicas that are not ready use nothing yet: if that turns the answer, it is none.
        let ratio = wanted(all);
        if ratio < 1000 || tolerated(ratio) { service.replicas } else { u32::try_from((ratio * all + 999) / 1000).unwrap() }
    }
}
