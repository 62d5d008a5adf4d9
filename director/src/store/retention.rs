//! What the store may forget: alerts, effects and incidents that are long over. The ledger forgets nothing.

use assent_core::ids::{IncidentUid, UnixMillis};

use super::incidents::uids;
use super::{Error, Store, commit, doing};

impl Store {
    /// Incidents that ended before `before`, oldest first, at most `most`.
    pub(crate) async fn ended_before(&self, before: UnixMillis, most: i64) -> Result<Vec<IncidentUid>, Error> {
        let rows = sqlx::query_scalar("SELECT uid FROM incidents WHERE over = 1 AND published = revision AND changed_at < ? ORDER BY changed_at LIMIT ?")
            .bind(before.0)
            .bind(most)
            .fetch_all(&self.pool)
            .await;
        uids(rows.map_err(doing("list ended incidents"))?)
    }

    /// Forgets one incident with its alerts and effects; its ledger entries stay.
    pub(crate) async fn forget(&self, uid: &IncidentUid) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for statement in ["DELETE FROM alerts WHERE incident = ?", "DELETE FROM outbox WHERE incident = ?", "DELETE FROM incidents WHERE uid = ? AND over = 1"]
        {
            sqlx::query(statement).bind(uid.to_string()).execute(&mut *transaction).await.map_err(doing("forget an incident"))?;
        }
        commit(transaction).await
    }

    /// Forgets alerts that belong to no incident and came before `before`.
    pub(crate) async fn forget_strays(&self, before: UnixMillis) -> Result<(), Error> {
        let query = sqlx::query("DELETE FROM alerts WHERE incident IS NULL AND received_at < ?").bind(before.0);
        query.execute(&self.pool).await.map_err(doing("forget stray alerts")).map(drop)
    }
}
