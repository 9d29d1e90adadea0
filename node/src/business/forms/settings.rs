//! What of a form and its settings this node does not do, for staff to see before a visitor's answers get lost in it.

use angel_protocol::business::FORM_SETTINGS;
use angel_protocol::data::{Map, Value, cbor};
use angel_protocol::forms::{self, FORM};
use angel_protocol::ids::RepoPath;
use angel_protocol::tenants::Feature;

use super::super::{Business, BusinessError, nsid};
use crate::blocking;
use crate::mail::is_email;
use crate::tenants::Tenant;

impl Business {
    /// What is not done of what a form and its settings ask for, and why, in words.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn form_warnings(
        &self,
        tenant: &Tenant,
        settings: &Map,
        path: &RepoPath,
    ) -> Result<Vec<String>, BusinessError> {
        debug_assert_eq!(path.collection.as_str(), FORM_SETTINGS);
        let (repos, id) = (self.0.repos.clone(), tenant.id());
        let at = RepoPath::new(nsid(FORM), path.rkey.clone()).to_string();
        let found = blocking::run(move || repos.record_blocking(id, &at)).await?;
        let mut told = vec![];
        let Some(form) = found.and_then(|found| cbor::decode(&found.bytes).ok()) else {
            return Ok(vec!["form: there is no form of this key, so nobody can answer it".to_owned()]);
        };
        if let Some((path, why)) = forms::flaw(&form) {
            told.push(format!("form{path}: {why}; answers are taken in as if it were not there"));
        }
        let has = |kind: &str| match form.get("fields") {
            Some(Value::List(fields)) => {
                fields.iter().any(|field| field.get("type").and_then(Value::as_str) == Some(kind))
            }
            _ => false,
        };
        if has("file") {
            told.push(
                "form: files are answered by records of files that lie with the business; visitors cannot upload"
                    .to_owned(),
            );
        }
        let action = settings.get("submitAction");
        let says =
            |field: &str| action.and_then(|action| action.get(field)).and_then(Value::as_str).unwrap_or_default();
        let responds = action.and_then(|action| action.get("autoResponse")) == Some(&Value::Bool(true));
        let mut warn = |holds: bool, what: &str| {
            if holds {
                told.push(what.to_owned());
            }
        };
        let (mails, sends) = (says("type") == "email", self.0.mail.sends());
        warn(
            (mails || responds) && !sends,
            "submitAction: this node has no mail server (mail.smtp_url): no letter is sent",
        );
        warn(
            mails && !is_email(says("destination")),
            "submitAction/destination: this is no e-mail address: no letter is sent",
        );
        warn(responds && !has("email"), "submitAction/autoResponse: the form asks for no e-mail address");
        warn(says("type") == "integration", "submitAction: this node calls no integrations; the answers are kept");
        let workflow = settings.get("workflow");
        let integrations = workflow.and_then(|workflow| workflow.get("integrations"));
        let calls = matches!(integrations, Some(Value::List(integrations)) if !integrations.is_empty());
        warn(calls, "workflow/integrations: this node calls no integrations");
        let leads = workflow.and_then(|workflow| workflow.get("makesLeads")) == Some(&Value::Bool(true));
        let crm = self.0.tenants.check_feature(tenant.did(), Feature::Crm).is_ok();
        warn(
            leads && !has("email"),
            "workflow/makesLeads: the form asks for no e-mail address, by which leads are known",
        );
        warn(leads && !crm, "workflow/makesLeads: the plan has no leads; answers make none");
        let names = workflow.is_some_and(|workflow| workflow.get("assignTo").is_some());
        let gone = names && self.colleague(tenant, settings).is_none();
        warn(
            gone,
            "workflow/assignTo: this person does not belong to the business; answers and tasks are assigned to nobody",
        );
        if says("type") == "webhook" {
            told.append(&mut self.call_warnings(tenant, says("destination"), path.rkey.as_str()).await?);
        }
        Ok(told)
    }

    /// Why answers to a form are not sent to a URL, or a receiver cannot know them.
    async fn call_warnings(&self, tenant: &Tenant, url: &str, rkey: &str) -> Result<Vec<String>, BusinessError> {
        if self.0.tenants.check_feature(tenant.did(), Feature::Webhooks).is_err() {
            return Ok(vec!["submitAction: the plan has no webhooks; the answers are kept".to_owned()]);
        }
        let mut told = vec![];
        if let Err(error) = self.0.webhooks.check_target(url).await {
            told.push(format!("submitAction/destination: {error}; the answers are kept"));
        }
        if !self.0.webhooks.is_form_secret_told(tenant, rkey).await? {
            told.push(format!(
                "submitAction: nobody was told the secret that calls are signed with; \
                 co.kendev.tenants.rotateWebhookSecret tells one for form.{rkey}"
            ));
        }
        Ok(told)
    }
}
