//! Blueprints (PRV-06): a tenant described in a record, checked before anything is made, and kept with the tenant. The same
//! blueprint asked for twice is the same tenant.

use angel_protocol::data::{Map, Value, record_from_json};
use angel_protocol::ids::{Nsid, RepoPath, Tid};
use angel_protocol::lexicon::Schemas;
use angel_protocol::rules::secrets;
use angel_protocol::tenants::Template;
use angel_protocol::time::Timestamp;
use serde_json::Value as Json;

use super::transfer::workspace;
use super::{ProvisionError, Provisioner, Tenant};
use crate::accounts::Account;
use crate::repos::{Action, NewRecord, RepoWrite};

const COLLECTION: &str = "co.kendev.tenants.blueprint";

/// What a tenant is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Blueprint(Map);

impl Blueprint {
    /// Reads one for a tenant that begins as `template`.
    ///
    /// # Errors
    /// [`ProvisionError::Blueprint`], with what is wrong.
    pub(crate) fn read(json: &Json, template: Template) -> Result<Self, ProvisionError> {
        let wrong = ProvisionError::Blueprint;
        let value = record_from_json(json).map_err(|error| wrong(error.to_string()))?;
        let Value::Map(map) = value else { return Err(wrong("it is no object".to_owned())) };
        let blueprint = Self(map);
        let record = blueprint.record(Timestamp::from_millis(0));
        let schema = Schemas::builtin().record(COLLECTION).expect("a collection of ours has a lexicon");
        schema.validate(&record).map_err(|error| wrong(error.to_string()))?;
        if let Some((path, kind)) = secrets::find(&record) {
            return Err(wrong(format!("{path}: this looks like {kind}; name the secret instead")));
        }
        let base = record.get("baseTemplate").and_then(Value::as_str).unwrap_or_default();
        if Template::from_name(base) != Some(template) {
            let text = format!("its base is {base}, and the tenant is to begin as {}", template.name());
            return Err(wrong(text));
        }
        Ok(blueprint)
    }

    /// The record of a tenant that was made at this moment.
    fn record(&self, created_at: Timestamp) -> Value {
        let mut map = self.0.clone();
        map.insert("$type".to_owned(), Value::String(COLLECTION.to_owned()));
        map.insert("createdAt".to_owned(), Value::String(created_at.to_string()));
        Value::Map(map)
    }
}

/// Where a tenant's blueprint is: its key follows from when the tenant was made.
fn path(tenant: &Tenant) -> RepoPath {
    let collection: Nsid = COLLECTION.parse().expect("a collection of ours is an NSID");
    RepoPath::new(collection, Tid::new(tenant.row().created_at.as_millis() * 1000, 0).into())
}

impl Provisioner {
    /// Keeps the blueprint of a tenant in its workspace. Doing it again changes nothing.
    pub(super) async fn keep_blueprint(
        &self,
        tenant: &Tenant,
        account: &Account,
        blueprint: &Blueprint,
    ) -> Result<(), ProvisionError> {
        let workspace = self.workspace(account).await?;
        let record = NewRecord::new(&blueprint.record(tenant.row().created_at));
        let write = RepoWrite { path: path(tenant), action: Action::Put(record), swap: None };
        self.permissioned.write(account, &workspace, vec![write]).await?;
        Ok(())
    }

    /// Whether a tenant was made by this very blueprint.
    pub(super) async fn is_made_by(&self, tenant: &Tenant, blueprint: &Blueprint) -> Result<bool, ProvisionError> {
        let kept = self.permissioned.read(&workspace(tenant.did()), tenant.did(), &path(tenant)).await?;
        let cid = NewRecord::new(&blueprint.record(tenant.row().created_at)).cid();
        Ok(kept.is_some_and(|record| record.cid == cid))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blueprint_is_checked_before_anything_is_made() {
        let good = json!({
            "identity": { "name": "Bakery", "domain": "bakery.example" },
            "monetization": { "pricingStrategy": "freemium" },
            "governance": { "agentApprovalProcess": "manual" },
            "baseTemplate": "basic-business",
        });
        let read = |json: &Json| Blueprint::read(json, Template::BasicBusiness).map_err(|error| error.to_string());
        let blueprint = read(&good).expect("it is one");
        assert_eq!(blueprint, read(&good).expect("the same again"));
        let mut other = good.clone();
        other["baseTemplate"] = "non-profit".into();
        assert!(read(&other).expect_err("another base").contains("its base is non-profit"));
        let mut lacking = good.clone();
        lacking["governance"] = json!({});
        assert!(read(&lacking).expect_err("lacks a field").contains("governance"));
        let mut secret = good;
        secret["aiSettings"] = json!({ "customModels": [format!("sk_live_{}", "4eC39HqLyjWDarjtT1zdp7dc")] });
        let told = read(&secret).expect_err("a secret");
        assert!(told.contains("/aiSettings/customModels/0") && !told.contains("4eC39"), "{told}");
        assert!(read(&json!([])).is_err());
    }
}
