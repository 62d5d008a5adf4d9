//! Incidents of many kinds, made by hand: each names what broke it, where, of which domain, and what helps.

mod kinds;
mod traced;
mod unmoved;

use super::*;

/// Minutes of figures before it breaks.
const BREAKS: i64 = 100;
/// Minutes of figures in all.
const ENDS: i64 = 112;

/// An incident in the making; minutes count from the beginning of the figures.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) incident: Incident,
}

/// A story whose alert is about `metric` of `service`, three minutes after it broke.
pub(super) fn alert(service: &str, metric: &str) -> Story {
    let alert = Alert { service: Some(service.to_owned()), metric: metric.to_owned(), at: Some((BREAKS + 3) * 60), summary: String::new() };
    Story { incident: Incident { alert, ..Incident::default() } }
}

// === impl Story ===

impl Story {
    /// A figure that leaps from `usual` to `during`.
    pub(super) fn figure(self, service: &str, metric: &str, usual: f64, during: f64) -> Self {
        self.course(service, metric, |minute| if minute < BREAKS { usual } else { during })
    }

    /// A figure of any course, with a little noise.
    pub(super) fn course(mut self, service: &str, metric: &str, level: impl Fn(i64) -> f64) -> Self {
        let noise = |minute: i64| 1.0 + ((minute * 37 + metric.len() as i64 * 11) % 13 - 6) as f64 / 200.0;
        let samples = (0..ENDS).map(|minute| (minute * 60, level(minute) * noise(minute))).collect();
        self.incident.series.push(Series { service: service.to_owned(), metric: metric.to_owned(), samples });
        self
    }

    /// A request that fails at the last of `way`, with what that says.
    pub(super) fn failing(mut self, way: &[&str], error: &str) -> Self {
        let trace = format!("t{}", self.incident.spans.len());
        for (place, service) in way.iter().enumerate() {
            let last = place + 1 == way.len();
            self.incident.spans.push(Span {
                trace: trace.clone(),
                id: place.to_string(),
                parent: place.checked_sub(1).map(|above| above.to_string()),
                service: (*service).to_owned(),
                name: format!("do {service}"),
                duration: 1_000.0 - place as f64,
                failed: true,
                error: if last { error.to_owned() } else { String::new() },
            });
        }
        self
    }

    /// Severe lines, from when it breaks.
    pub(super) fn log(mut self, service: &str, text: &str, count: i64) -> Self {
        let lines = (0..count).map(|number| Line { at: BREAKS * 60 + 20 + number * 15, service: service.to_owned(), severe: true, text: text.to_owned() });
        self.incident.lines.extend(lines);
        self
    }

    /// A commit to `file`, deployed at `minute`.
    pub(super) fn deploy(mut self, minute: i64, service: &str, sha: &str, file: &str, diff: &str) -> Self {
        self.incident.commits.push(Commit { sha: sha.to_owned(), files: vec![file.to_owned()], diff: Some(diff.to_owned()) });
        self.incident.deploys.push(Deploy { at: minute * 60, service: service.to_owned(), commit: sha.to_owned() });
        self
    }

    /// A switch.
    pub(super) fn flag(mut self, minute: i64, service: &str, name: &str) -> Self {
        self.incident.flags.push(Flag { at: minute * 60, service: service.to_owned(), name: name.to_owned() });
        self
    }

    /// What somebody says of a service that is not ours.
    pub(super) fn notice(mut self, text: &str) -> Self {
        self.incident.notices.push(Notice { at: Some((BREAKS - 1) * 60), text: text.to_owned() });
        self
    }

    /// Two deployments that did nothing, one of them the last before it broke.
    pub(super) fn bystanders(self, service: &str) -> Self {
        self.deploy(
            BREAKS - 4,
            service,
            "tidy",
            "services/app/handler.go",
            "@@ handler\n-\treq := Request{}\n-\tif err := decode(r, &req); err != nil {\n-\t\treturn err\n-\t}\n+\treq, err := decodeRequest(r)\n+\tif err != nil {\n+\t\treturn err\n+\t}",
        )
        .deploy(BREAKS - 2, "frontend", "style", "web/static/app.css", "-.a { padding: 8px }\n+.a { padding: 9px }")
    }
}

/// Service, domain, commit and remedy of a finding.
pub(super) fn brief(finding: &Finding) -> (&str, Option<Domain>, &str, Option<Remedy>) {
    let first = finding.suspicions.first();
    (first.map_or("", |first| &first.service), first.map(|first| first.domain), finding.commit.as_deref().unwrap_or("none"), finding.remedy)
}

#[track_caller]
fn found(story: Story, service: &str, domain: Domain, commit: &str, remedy: Remedy) {
    let finding = judge(&story.incident);
    assert_eq!(brief(&finding), (service, Some(domain), commit, Some(remedy)), "{:#?}", finding.suspicions.first());
}
