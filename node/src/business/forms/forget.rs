//! Answers go when their time is over, and with them what a lead learned from them alone (FRM-04).

use angel_protocol::business::{FORM_SUBMISSION, LEAD};
use angel_protocol::data::{Map, Value};
use angel_protocol::forms;
use angel_protocol::ids::RepoPath;

use super::super::{Business, BusinessError, Change, Entry, address, text};
use super::lead;
use crate::permissioned::PermissionedWrite;
use crate::repos::{Action, NewRecord, Swap};
use crate::tenants::{Tenant, workspace};

/// Other submissions of one lead that are looked at for what they say too.
const OTHERS_MAX: usize = 100;

impl Business {
    /// Deletes a submission, and of the lead that was told by it what it learned from these answers and from no others that
    /// are still kept. What is gone already is no error. A business that is suspended forgets as others do.
    ///
    /// # Errors
    /// [`BusinessError::Changed`] when somebody changes the lead at the same moment: try again. Otherwise the store fails.
    pub(crate) async fn forget_submission(&self, tenant: &Tenant, path: &RepoPath) -> Result<(), BusinessError> {
        if path.collection.as_str() != FORM_SUBMISSION {
            return Err(BusinessError::RecordNotFound);
        }
        let account = self.0.accounts.by_did(tenant.did()).await?.ok_or(BusinessError::RecordNotFound)?;
        let _turn = self.turn(tenant).await;
        let Some(before) = self.entry(tenant.did(), path).await? else { return Ok(()) };
        let mut changes = vec![];
        if let Some((did, at)) = before.record.get("lead").and_then(Value::as_str).and_then(|uri| address(uri, LEAD))
            && did == *tenant.did()
            && let Some(known) = self.entry(&did, &at).await?
        {
            changes = self.forgotten(tenant, &before, known).await?;
        }
        let gone =
            PermissionedWrite { path: path.clone(), action: Action::Delete, swap: Some(Swap::Record(before.cid)) };
        let mut writes = vec![gone];
        for (path, record, cid) in changes {
            let action = Action::Put(NewRecord::new(&Value::Map(record)));
            writes.push(PermissionedWrite { path, action, swap: cid.map(Swap::Record) });
        }
        self.0.permissioned.write(&account, &workspace(tenant.did()), writes).await?;
        Ok(())
    }

    /// The lead without what it learned from a submission, and other submissions that say the same: those it has it from
    /// now on, so that it goes with the last of them.
    async fn forgotten(&self, tenant: &Tenant, submission: &Entry, known: Entry) -> Result<Vec<Change>, BusinessError> {
        let account = self.0.accounts.by_did(tenant.did()).await?.ok_or(BusinessError::RecordNotFound)?;
        let copied = copied(&submission.record);
        if copied.is_empty() {
            return Ok(vec![]);
        }
        let lead = submission.record.get("lead").cloned();
        let of_lead = |record: &Map| record.get("lead") == lead.as_ref();
        let mut others = self.entries(tenant.did(), FORM_SUBMISSION, None, OTHERS_MAX, of_lead).await?.entries;
        others.retain(|other| other.path != submission.path);
        let mut alone = vec![];
        let mut heirs: Vec<Option<Map>> = vec![None; others.len()];
        for (field, value) in copied {
            match others.iter().position(|other| tells(&other.record, &field, &value)) {
                Some(at) => inherit(heirs[at].get_or_insert_with(|| others[at].record.clone()), &field, &value),
                None => alone.push((field, value)),
            }
        }
        let mut changes: Vec<Change> = vec![];
        for (other, heir) in others.into_iter().zip(heirs) {
            if let Some(record) = heir {
                let before = Some(&other.record);
                let record = self.judged(&account, tenant.did(), FORM_SUBMISSION, record, before).await?;
                changes.push((other.path, record, Some(other.cid)));
            }
        }
        let mut record = known.record.clone();
        lead::forget(&mut record, known.path.rkey.as_str(), &alone);
        if record != known.record {
            let record = self.judged(&account, tenant.did(), LEAD, record, Some(&known.record)).await?;
            changes.push((known.path, record, Some(known.cid)));
        }
        Ok(changes)
    }
}

/// What a lead learned from a submission.
fn copied(record: &Map) -> Vec<(String, String)> {
    let Some(Value::List(copied)) = record.get("copied") else { return vec![] };
    let says = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
    copied.iter().filter_map(|one| Some((says(one, "field")?, says(one, "value")?))).collect()
}

/// Whether a submission says what a field of a lead says.
fn tells(record: &Map, field: &str, value: &str) -> bool {
    if field == "user" {
        return record.get("submitter").and_then(Value::as_str) == Some(value);
    }
    let Some(Value::List(answers)) = record.get("answers") else { return false };
    let mut said = answers.iter().filter_map(|answer| answer.get("value").and_then(Value::as_str));
    said.any(|answer| forms::lead::says(answer, field, value))
}

fn inherit(record: &mut Map, field: &str, value: &str) {
    let one = Map::from([("field".to_owned(), text(field)), ("value".to_owned(), text(value))]);
    match record.entry("copied".to_owned()).or_insert_with(|| Value::List(vec![])) {
        Value::List(copied) => copied.push(Value::Map(one)),
        other => *other = Value::List(vec![Value::Map(one)]),
    }
}
