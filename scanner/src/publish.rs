//! Writing reports: each by server-side apply, only when it says something else than before; what no scan confirms any more is
//! deleted. Only reports of our own name are touched, and only they are granted.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, ValidationDirective};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};

use crate::pages::{ReadError, Reader};
use crate::report::{self, DIGEST, Format, NAME, Written};
use crate::status::Reporting;

/// Field manager of reports and statuses.
pub(crate) const MANAGER: &str = "assent-scanner";
const PAGE: u32 = 200;
/// Largest list of served resources, in bytes.
const MAX_DISCOVERY: usize = 1024 * 1024;

/// Where a report is; none for what is in no namespace.
type Place = Option<String>;

/// Writes reports, and remembers what it wrote.
pub(crate) struct Publisher {
    client: Client,
    format: Format,
    /// Generations as they were written: another one means that somebody else wrote.
    written: BTreeMap<Place, i64>,
}

/// One round of writing.
#[derive(Debug)]
pub(crate) struct Round {
    api: report::Api,
    /// Digest and generation of what stands.
    standing: BTreeMap<Place, (String, i64)>,
    confirmed: BTreeSet<Place>,
    /// Reports that were written or deleted.
    pub(crate) changed: u64,
    /// Reports that could not be.
    pub(crate) failed: u64,
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn new(client: Client, format: Format) -> Self {
        Self { client, format, written: BTreeMap::new() }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Begins a round; `Err` of what there is to say where there are no reports to write.
    pub(crate) async fn begin(&self, reader: &mut Reader) -> Result<Result<Round, Reporting>, ReadError> {
        let Some(api) = self.format.api() else { return Ok(Err(Reporting::Off)) };
        if !served(&api, reader).await? {
            return Ok(Err(Reporting::NotServed));
        }
        let mut standing = BTreeMap::new();
        for objects in [self.all(&api, api.namespaced), self.all(&api, api.cluster)] {
            let mut params = ListParams::default().fields(&format!("metadata.name={NAME}")).limit(PAGE);
            loop {
                reader.turn().await;
                let list = objects
                    .list_metadata(&params)
                    .await
                    .map_err(|error| ReadError::Failed { path: format!("reports of {}", api.group), reason: error.to_string() })?;
                for item in list.items {
                    let digest = item.metadata.annotations.unwrap_or_default().remove(DIGEST).unwrap_or_default();
                    standing.insert(item.metadata.namespace, (digest, item.metadata.generation.unwrap_or_default()));
                }
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(Ok(Round { api, standing, confirmed: BTreeSet::new(), changed: 0, failed: 0 }))
    }

    /// Makes the report of a place be this one.
    pub(crate) async fn put(&mut self, round: &mut Round, report: Written, reader: &mut Reader) {
        let place = report.namespace;
        round.confirmed.insert(place.clone());
        let standing = round.standing.get(&place);
        let ours = |generation: &i64| self.written.get(&place).is_none_or(|written| written == generation);
        if standing.is_some_and(|(digest, generation)| *digest == report.digest && ours(generation)) {
            return;
        }
        reader.turn().await;
        let params = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply(MANAGER).force() };
        match self.at(&round.api, place.as_deref()).patch(NAME, &params, &Patch::Apply(&report.object)).await {
            Ok(stored) => {
                round.changed += 1;
                self.written.insert(place, stored.metadata.generation.unwrap_or_default());
            }
            Err(error) if is_going(&error) => tracing::debug!(place = shown(&place), "its namespace goes away"),
            Err(error) => failed(round, &place, &error),
        }
    }

    /// Deletes what nothing confirmed in this round.
    pub(crate) async fn finish(&mut self, round: &mut Round, reader: &mut Reader) -> Reporting {
        let stale: Vec<Place> = round.standing.keys().filter(|place| !round.confirmed.contains(*place)).cloned().collect();
        for place in stale {
            reader.turn().await;
            match self.at(&round.api, place.as_deref()).delete(NAME, &DeleteParams::default()).await {
                Ok(_) => round.changed += 1,
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => failed(round, &place, &error),
            }
        }
        self.written.retain(|place, _| round.confirmed.contains(place));
        if round.failed > 0 { Reporting::Failed } else { Reporting::Written }
    }

    fn all(&self, api: &report::Api, kind: (&str, &str)) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(api, kind))
    }

    fn at(&self, api: &report::Api, place: Option<&str>) -> Api<DynamicObject> {
        match place {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource(api, api.namespaced)),
            None => self.all(api, api.cluster),
        }
    }
}

fn resource(api: &report::Api, (kind, plural): (&str, &str)) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(api.group, api.version, kind), plural)
}

/// Whether the API server serves both kinds.
async fn served(api: &report::Api, reader: &mut Reader) -> Result<bool, ReadError> {
    let list = match reader.get(&format!("/apis/{}/{}", api.group, api.version), MAX_DISCOVERY).await {
        Ok(list) => list,
        Err(error) if error.is_final() => return Ok(false),
        Err(error) => return Err(error),
    };
    let resources = list.get("resources").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok([api.namespaced.1, api.cluster.1].iter().all(|plural| resources.iter().any(|one| one.get("name").is_some_and(|name| name == plural))))
}

/// Whether the place of a report is being deleted.
fn is_going(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || (status.code == 403 && status.message.contains("being terminated")))
}

fn failed(round: &mut Round, place: &Place, error: &kube::Error) {
    round.failed += 1;
    tracing::warn!(place = shown(place), error = assent_runtime::telemetry::chain(error), "a report could not be written");
}

fn shown(place: &Place) -> &str {
    place.as_deref().unwrap_or("cluster")
}
