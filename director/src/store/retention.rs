//! What the store may forget: alerts, effects and incidents that are long over. The ledger forgets nothing.

use assent_core::ids::{IncidentUid, UnixMillis};

use super::incidents::uids;
use super::{Error, Store};

impl Store {
    /// Incidents that ended before `before`, oldest first, at most `most`.
    pub(crate) async fn ended_before(&self, before: UnixMillis, most: i64) -> Result<Vec<IncidentUid>, Error> {
        let sql = "SELECT uid FROM incidents WHERE over = 1 AND published = revision AND changed_at < $1 ORDER BY changed_at LIMIT $2";
        uids(&self.database.rows("list ended incidents", sql, [before.into(), most.into()]).await?)
    }

    /// Forgets one incident with its alerts and effects; its ledger entries stay.
    pub(crate) async fn forget(&self, uid: &IncidentUid) -> Result<(), Error> {
        let mut writer = self.begin().await?;
        for statement in
            ["DELETE FROM alerts WHERE incident = $1", "DELETE FROM outbox WHERE incident = $1", "DELETE FROM incidents WHERE uid = $1 AND over = 1"]
        {
            writer.execute("forget an incident", statement, [uid.into()]).await?;
        }
        writer.commit().await
    }

    /// Forgets alerts that belong to no incident and came before `before`.
    pub(crate) async fn forget_strays(&self, before: UnixMillis) -> Result<(), Error> {
        self.database.execute("forget stray alerts", "DELETE FROM alerts WHERE incident IS NULL AND received_at < $1", [before.into()]).await
    }
}
