//! The ledger for whoever wants to verify it: `GET /v1/ledger` and `GET /v1/ledger/UID`, one entry per line, and `GET
//! /v1/proof/SEQUENCE`, the proof that the newest head extends the one at SEQUENCE. Read-only. What it says is checked by whoever
//! reads it, so this port asks nobody who they are; a NetworkPolicy says who reaches it.

use assent_core::ids::IncidentUid;
use assent_runtime::telemetry::chain;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;

use crate::store::Store;

/// Header with the newest head when the answer began, `SEQUENCE:HASH`.
const HEAD: &str = "assent-ledger-head";

/// The routes.
pub(crate) fn router(store: Store) -> Router {
    Router::new()
        .route("/v1/ledger", get(|State(store): State<Store>| entries(store, None)))
        .route(
            "/v1/ledger/{incident}",
            get(|State(store): State<Store>, Path(uid): Path<String>| async move {
                match IncidentUid::try_from(uid) {
                    Ok(uid) => entries(store, Some(uid)).await,
                    Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
                }
            }),
        )
        .route("/v1/proof/{since}", get(|State(store): State<Store>, Path(since): Path<u64>| proof(store, since)))
        .with_state(store)
}

/// No proof is no failure: a ledger that was lost is shorter than what is asked for.
async fn proof(store: Store, since: u64) -> Response {
    match store.extension(since).await {
        Ok((head, proof)) => axum::Json(json!({"head": head, "proof": proof})).into_response(),
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &crate::store::Error) -> Response {
    tracing::error!(error = chain(error), "ledger not exported");
    (StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be read").into_response()
}

async fn entries(store: Store, incident: Option<IncidentUid>) -> Response {
    let head = match store.head().await {
        Ok(head) => format!("{}:{}", head.sequence, head.hash),
        Err(error) => return unreadable(&error),
    };
    // Page by page, so that neither memory nor the store's one connection is held for the whole answer.
    let pages = futures::stream::try_unfold(0, move |after| {
        let (store, incident) = (store.clone(), incident.clone());
        async move {
            let page = store.entries(after, incident.as_ref()).await?;
            let Some((last, _)) = page.last() else { return Ok::<_, crate::store::Error>(None) };
            let last = *last;
            let text: String = page.into_iter().flat_map(|(_, entry)| [entry, "\n".to_owned()]).collect();
            Ok(Some((text, last)))
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson".to_owned()), (header::HeaderName::from_static(HEAD), head)], Body::from_stream(pages)).into_response()
}
