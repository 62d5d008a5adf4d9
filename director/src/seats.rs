//! Asks the seats, all at the same time, in two rounds. A seat answers by creating its Ballot; what is counted is read back
//! from the API server, so neither a reply nor its absence decides anything. Who is late has abstained.

use std::time::Duration;

use assent_api::proto::seat_client::SeatClient;
use assent_api::proto::{CauseRequest, RemedyRequest};
use assent_api::resources::Ballot;
use assent_api::{cast, names};
use assent_core::consensus::{Roster, Seat};
use assent_core::ids::UnixMillis;
use assent_core::incident::{DELIBERATION_MS, Incident};
use assent_runtime::mtls;
use futures::future::join_all;
use tonic::transport::Channel;

use crate::director::{Director, Error};
use crate::store;

/// Where a seat's Service listens.
const PORT: u16 = 8443;
/// What is kept of the time for the second round.
const SECOND_ROUND_MS: i64 = 7_000;

enum Round {
    Cause,
    Remedy(Vec<Vec<u8>>),
}

/// Both rounds, until `deadline` at the latest; a later epoch begins when the seats have seen more. After a restart it goes on
/// with what time is left.
pub(crate) async fn ask(director: &Director, roster: &Roster, incident: &Incident, epoch: u32, deadline: UnixMillis) -> Result<(), Error> {
    let early = u64::try_from(deadline.plus(-DELIBERATION_MS).since(store::now())).unwrap_or(0);
    tokio::time::sleep(std::time::Duration::from_millis(early)).await;
    let context = incident.context.clone().unwrap_or_default().into_bytes();
    round(director, roster, &context, epoch, Round::Cause, deadline.plus(-SECOND_ROUND_MS)).await;
    let stored = director.ballots(&incident.uid).await?;
    let causes = cause_ballots(roster, &stored, epoch);
    if !causes.is_empty() {
        round(director, roster, &context, epoch, Round::Remedy(causes), deadline).await;
    }
    Ok(())
}

/// The signed cause ballots of this epoch, for each seat to verify itself.
fn cause_ballots(roster: &Roster, stored: &[Ballot], epoch: u32) -> Vec<Vec<u8>> {
    let of_round = stored.iter().filter(|ballot| ballot.spec.epoch == epoch && ballot.spec.round == "cause");
    let valid = of_round.filter(|ballot| match cast(ballot, roster) {
        Ok(_) => true,
        Err(refusal) => {
            tracing::warn!(ballot = ballot.spec.seat, %refusal, "cause ballot not passed on");
            false
        }
    });
    valid.filter_map(|ballot| serde_json::to_vec(&ballot.spec.signed).ok()).collect()
}

async fn round(director: &Director, roster: &Roster, context: &[u8], epoch: u32, round: Round, deadline: UnixMillis) {
    let left = u64::try_from(deadline.since(store::now())).unwrap_or(0);
    if left == 0 {
        return;
    }
    let calls = roster.seats.iter().map(|seat| async {
        let answer = tokio::time::timeout(Duration::from_millis(left), call(director, seat, context, epoch, &round, deadline)).await;
        match answer {
            Ok(Ok(ballot)) => tracing::debug!(seat = seat.name, ballot, "seat answered"),
            Ok(Err(reason)) => tracing::warn!(seat = seat.name, reason, "seat abstains: it did not answer"),
            Err(_) => tracing::warn!(seat = seat.name, "seat abstains: it is late"),
        }
    });
    join_all(calls).await;
}

async fn call(director: &Director, seat: &Seat, context: &[u8], epoch: u32, round: &Round, deadline: UnixMillis) -> Result<String, String> {
    let mut client = SeatClient::new(channel(director, seat)?);
    let (context, deadline_ms) = (context.to_vec(), deadline.0);
    let reply = match round {
        Round::Cause => client.cast_cause(CauseRequest { context, epoch, deadline_ms }).await,
        Round::Remedy(causes) => client.cast_remedy(RemedyRequest { context, epoch, deadline_ms, cause_ballots: causes.clone() }).await,
    };
    reply.map(|reply| reply.into_inner().ballot).map_err(|status| format!("{}: {}", status.code(), status.message()))
}

fn channel(director: &Director, seat: &Seat) -> Result<Channel, String> {
    let identity = director.workload.own_name().sibling(names::SYSTEM_NAMESPACE, &seat.account).map_err(|error| error.to_string())?;
    let address = director.addresses.get(&seat.name).cloned().unwrap_or_else(|| format!("{}.{}.svc:{PORT}", seat.account, names::SYSTEM_NAMESPACE));
    mtls::channel(&director.workload, &address, &identity).map_err(|error| error.to_string())
}
