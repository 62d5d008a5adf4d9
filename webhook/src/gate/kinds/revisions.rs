//! What Blueprints said: written down by the director, and only as it is stored at that moment, so no history can be made up.

use assent_api::names::accounts;
use assent_api::resources::{Blueprint, BlueprintRevision, KEPT_REVISIONS};
use assent_core::refusal::{Refusal, Rule};
use assent_live::Live;
use kube::ResourceExt as _;

use super::record::{immutable, plain_metadata};
use super::{Verdict, only, parse, stranger};
use crate::review::Request;

pub(super) async fn revision(live: &Live, request: &Request) -> Verdict {
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return deletion(live, request).await,
        _ => return immutable(request),
    }
    only(request, accounts::DIRECTOR, "blueprint-revision")?;
    plain_metadata(&request.object)?;
    let written: BlueprintRevision = parse(&request.object)?;
    let stored = stored(live, &written).await?;
    let stored = stored.ok_or_else(|| refuse(format!("there is no Blueprint {}/{}", written.spec.namespace, written.spec.name)))?;
    let wanted = BlueprintRevision::of(&stored).map_err(refuse)?;
    if written.spec != wanted.spec || written.name_any() != wanted.name_any() {
        return Err(refuse(format!("Blueprint {}/{} is not so at generation {}", written.spec.namespace, written.spec.name, wanted.spec.generation)));
    }
    Ok("blueprint-revision")
}

async fn deletion(live: &Live, request: &Request) -> Verdict {
    if request.is_by_machine() && !request.is_by(accounts::DIRECTOR) {
        return Err(stranger(request, "the director, or a person"));
    }
    let old: BlueprintRevision = parse(&request.old_object)?;
    if !request.is_by_machine() || stored(live, &old).await?.is_none() {
        return Ok("blueprint-revision-gone");
    }
    let newer = live.blueprint_revisions().await?.iter().filter(|other| other.spec.uid == old.spec.uid && other.spec.generation > old.spec.generation).count();
    if newer < KEPT_REVISIONS {
        let reason = format!("the last {KEPT_REVISIONS} revisions of a Blueprint are kept, and only {newer} are newer");
        return Err(Refusal::new(Rule::Immutable, reason, "an older one"));
    }
    Ok("blueprint-revision-old")
}

/// The Blueprint that it is of, while that exists.
async fn stored(live: &Live, revision: &BlueprintRevision) -> Result<Option<Blueprint>, Refusal> {
    let blueprint = live.blueprint_named(&revision.spec.namespace, &revision.spec.name).await?;
    Ok(blueprint.filter(|blueprint| blueprint.uid().as_ref() == Some(&revision.spec.uid)))
}

fn refuse(reason: String) -> Refusal {
    Refusal::new(Rule::Payload, reason, "what the API server has stored, word for word")
}
