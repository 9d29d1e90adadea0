//! The lead that answers make, or tell more of (FRM-05, LEA-06).

use std::collections::BTreeMap;

use angel_protocol::business::{LEAD, lead};
use angel_protocol::data::{Map, Value};
use angel_protocol::forms;
use angel_protocol::ids::RepoPath;
use angel_protocol::tenants::Feature;

use super::super::leads::{NewActivity, score};
use super::super::{Business, BusinessError, Change, nsid, text};
use super::{NewSubmission, OpenForm, is_of_the_record, priority};
use crate::accounts::Account;
use crate::clock;

/// What answers tell a lead.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The lead.
    pub(super) lead: Option<String>,
    /// What is written of it.
    pub(super) writes: Vec<Change>,
    /// What it had not known, field by field.
    pub(super) copied: BTreeMap<String, String>,
    /// The lead, if it was there before and is scored differently now.
    pub(super) scored: Option<String>,
}

impl Business {
    /// What a lead is told by answers to a form that makes leads: a new one, or the one with the e-mail address. Whoever
    /// sends answers has proved nothing, so they fill in what a lead lacks, and change nothing that it says.
    ///
    /// Nothing, where the plan has no leads: the answers are taken in without.
    pub(super) async fn told_lead(
        &self,
        account: &Account,
        form: &OpenForm,
        settings: &Map,
        wish: &NewSubmission,
    ) -> Result<Told, BusinessError> {
        let tenant = &form.tenant;
        let makes = settings.get("workflow").and_then(|workflow| workflow.get("makesLeads"));
        if makes != Some(&Value::Bool(true)) || self.0.tenants.check_feature(tenant.did(), Feature::Crm).is_err() {
            return Ok(Told::default());
        }
        let Some(said) = forms::lead::of(&Value::Map(form.entry.record.clone()), &wish.answers) else {
            return Ok(Told::default());
        };
        let email = said.get("email").map(String::as_str).unwrap_or_default();
        let known = self.lead_of(tenant.did(), email).await?;
        let was = known.as_ref().map(|lead| score(&lead.record));
        let mut record = match &known {
            Some(lead) => lead.record.clone(),
            None => self.new_lead(form, settings, wish),
        };
        let mut copied = BTreeMap::new();
        for (field, value) in said {
            let lacks = record.get(field).and_then(Value::as_str).is_none_or(|had| had.trim().is_empty());
            if lacks {
                record.insert(field.to_owned(), text(value.as_str()));
                copied.insert(field.to_owned(), value);
            }
        }
        if let (Some(did), None) = (&wish.submitter, &known) {
            copied.insert("user".to_owned(), did.to_string());
        }
        let path = match &known {
            Some(lead) => lead.path.clone(),
            None => {
                let newest = self.entries(tenant.did(), LEAD, None, 1, |_| true).await?.entries.pop();
                RepoPath::new(nsid(LEAD), self.next_key(newest.as_ref())?)
            }
        };
        let lead = format!("at://{}/{path}", tenant.did());
        let activity = NewActivity {
            kind: "form-submission".to_owned(),
            // What the form is called is public; what was answered is in the submission alone.
            subject: format!("answered the form {}", form.name()).chars().take(SUBJECT_CHARS_MAX).collect(),
            outcome: None,
            next_action: None,
        };
        let (by, was_there) = (tenant.did(), known.is_some());
        let writes = self.staged_activity(account, tenant, by, (path, known), record, activity).await;
        match writes {
            Ok(writes) => {
                let scored = was.filter(|was| writes.first().map(|(_, lead, _)| score(lead)) != Some(*was));
                let scored = scored.filter(|_| was_there).map(|_| lead.clone());
                Ok(Told { lead: Some(lead), writes, copied, scored })
            }
            Err(error) if is_of_the_record(&error) => {
                tracing::warn!(form = form.uri(), "answers were taken in without the lead that they would have made");
                Ok(Told::default())
            }
            Err(error) => Err(error),
        }
    }

    /// A lead of whom nothing is known yet but where they came from.
    fn new_lead(&self, form: &OpenForm, settings: &Map, wish: &NewSubmission) -> Map {
        let mut record = Map::from([
            ("firstName".to_owned(), text("")),
            ("lastName".to_owned(), text("")),
            ("source".to_owned(), text("website")),
            ("status".to_owned(), text("new")),
            ("priority".to_owned(), text(priority(settings))),
            ("tenant".to_owned(), text(form.tenant.did().as_str())),
            ("createdAt".to_owned(), text(clock::now().to_string())),
        ]);
        if let Some(colleague) = self.colleague(&form.tenant, settings) {
            record.insert("assignedTo".to_owned(), text(colleague));
        }
        if let Some(did) = &wish.submitter {
            record.insert("user".to_owned(), text(did.as_str()));
        }
        let utm = |field: &str| wish.utm.as_ref().and_then(|utm| utm.get(field)).and_then(serde_json::Value::as_str);
        let from: Map = ["utmSource", "utmMedium", "utmCampaign"]
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), text(utm(field)?))))
            .collect();
        if !from.is_empty() {
            record.insert("sourceDetails".to_owned(), Value::Map(from));
        }
        record
    }
}

/// The longest subject of an activity, in characters (`records.md` 7.12).
const SUBJECT_CHARS_MAX: usize = 200;

/// Takes away from a lead what it learned from answers alone: each of the fields that still says it. What a lead must
/// have is left empty, and the address is one that is nobody's.
pub(super) fn forget(record: &mut Map, rkey: &str, copied: &[(String, String)]) {
    for (field, value) in copied {
        let says = record.get(field).and_then(Value::as_str);
        let is_it = match field.as_str() {
            "email" => says.is_some_and(|says| lead::is_same_email(says, value)),
            _ => says == Some(value.as_str()),
        };
        if !is_it {
            continue;
        }
        match field.as_str() {
            "email" => drop(record.insert(field.clone(), text(forms::lead::forgotten_email(rkey)))),
            "firstName" | "lastName" => drop(record.insert(field.clone(), text(""))),
            _ => drop(record.remove(field)),
        }
    }
}
