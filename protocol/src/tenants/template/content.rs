//! What the templates are made of.

use serde_json::{Value as Json, json};

use super::{Seed, Setting, Template};
use crate::data::from_json;
use crate::ids::{Nsid, RecordKey, RepoPath, Tid};

/// The records so far.
pub(super) struct Draft<'a> {
    setting: &'a Setting<'a>,
    created_at: String,
    seeds: Vec<Seed>,
    next: u64,
}

/// A field of a form: its name, its label, its type, whether it has to be filled in.
type Field<'a> = (&'a str, &'a str, &'a str, bool);

impl<'a> Draft<'a> {
    pub(super) fn new(setting: &'a Setting<'a>) -> Self {
        Self { setting, created_at: setting.created_at.to_string(), seeds: Vec::new(), next: 0 }
    }

    pub(super) fn finish(self) -> Vec<Seed> {
        self.seeds
    }

    /// Adds a record under the next timestamp key, and tells its URI.
    fn add(&mut self, collection: &'static str, record: Json) -> String {
        // A clock id of its own: no record that is written later gets one of these keys.
        let key = Tid::new(self.setting.created_at.as_millis() * 1000 + self.next, CLOCK_ID);
        self.next += 1;
        self.add_at(collection, key.into(), record)
    }

    fn add_at(&mut self, collection: &'static str, rkey: RecordKey, mut record: Json) -> String {
        record["$type"] = collection.into();
        record["createdAt"] = self.created_at.as_str().into();
        let path = RepoPath::new(nsid(collection), rkey);
        let uri = format!("at://{}/{path}", self.setting.tenant);
        let record = from_json(&record).expect("texts, whole numbers, lists and maps are of the data model");
        self.seeds.push(Seed { path, record });
        uri
    }

    pub(super) fn profile(&mut self) {
        let Setting { name, slug, domain, business_type, .. } = self.setting;
        let profile = json!({
            "name": name,
            "domain": domain,
            "slug": slug.as_str(),
            "domainAliases": [{ "domain": domain, "type": "subdomain", "isActive": true, "isPrimary": true }],
            "businessType": business_type,
            "settings": { "allowPublicSignup": false },
        });
        self.add_at("co.kendev.tenants.profile", key("self"), profile);
    }

    pub(super) fn space(&mut self, template: Template) -> String {
        let Setting { tenant, name, slug, .. } = self.setting;
        let (kind, industry) = match template {
            Template::EcommerceStore => ("retail", "retail"),
            Template::ServiceProvider => ("service", "professional-services"),
            Template::CreativeAgency => ("creator", "content-creation"),
            Template::SaasCompany => ("business", "technology"),
            Template::BasicBusiness | Template::NonProfit | Template::Custom => ("business", "general"),
        };
        let sells = template == Template::EcommerceStore;
        let serves = template == Template::ServiceProvider;
        let subscribes = template == Template::SaasCompany;
        let space = json!({
            "name": name,
            "description": format!("The public space of {name}."),
            "slug": slug.as_str(),
            "tenant": tenant,
            "businessIdentity": { "type": kind, "industry": industry, "companySize": "small" },
            "commerceSettings": {
                "enableEcommerce": sells, "enableServices": serves, "enableSubscriptions": subscribes,
            },
            "monetization": { "enabled": false, "donationsEnabled": template == Template::NonProfit },
            "visibility": "public",
            "memberApproval": "automatic",
        });
        self.add("co.kendev.spaces.space", space)
    }

    pub(super) fn channel(&mut self, space: &str, name: &str, description: &str) {
        let channel = json!({
            "name": name,
            "description": description,
            "tenant": self.setting.tenant,
            "space": space,
            "channelType": "chat",
            "reportType": "general",
            "accessControl": { "visibility": "public" },
        });
        self.add("co.kendev.spaces.channel", channel);
    }

    /// The pages and the form of every business.
    pub(super) fn basics(&mut self) {
        let name = self.setting.name;
        let fields = [("name", "Your name", "text", true), ("email", "Your e-mail address", "email", true), MESSAGE];
        let contact = self.form("Contact", "How to reach us.", &fields);
        self.page("Home", "home", "landing", &format!("Welcome to {name}."), None);
        self.page("About", "about", "about", &format!("Who we are at {name}, and what we do."), None);
        self.page("Contact", "contact", "contact", "Write to us, and we will answer.", Some(&contact));
    }

    fn page(&mut self, title: &str, slug: &str, kind: &str, text: &str, form: Option<&str>) {
        let mut page = json!({
            "title": title,
            "content": { "text": text, "format": "plain" },
            "slug": slug,
            "tenant": self.setting.tenant,
            "published": true,
            "pageType": kind,
        });
        if let Some(form) = form {
            page["cta"] = json!({ "contactForm": form });
        }
        self.add("co.kendev.content.page", page);
    }

    fn form(&mut self, name: &str, description: &str, fields: &[Field<'_>]) -> String {
        let field = |(id, label, kind, required): &Field<'_>| json!({ "id": id, "name": id, "label": label, "type": kind, "required": required });
        let form = json!({
            "name": name,
            "description": description,
            "tenant": self.setting.tenant,
            "fields": fields.iter().map(field).collect::<Vec<_>>(),
            "compliance": { "gdprCompliant": true, "consentRequired": true, "dataRetention": 365 },
        });
        let uri = self.add("co.kendev.content.form", form);
        let settings = json!({
            "form": uri,
            "submitAction": { "type": "database", "destination": "submissions", "autoResponse": false },
        });
        let rkey = self.seeds.last().map(|seed| seed.path.rkey.clone()).unwrap_or_else(|| key("self"));
        self.add_at("co.kendev.content.formSettings", rkey, settings);
        uri
    }

    fn category(&mut self, name: &str, slug: &'static str) -> String {
        let tenant = self.setting.tenant;
        let category = json!({ "name": name, "slug": slug, "kind": "product", "tenant": tenant });
        self.add_at("co.kendev.content.category", key(slug), category)
    }

    fn product(&mut self, title: &str, slug: &str, kind: &str, price: u64, more: &Json) -> String {
        let mut product = json!({
            "title": title,
            "description": { "text": "An example: change it, or take it away.", "format": "plain" },
            "slug": slug,
            "tenant": self.setting.tenant,
            "productType": kind,
            "pricing": { "currency": "USD", "basePrice": price },
            "status": "draft",
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            product[field] = value.clone();
        }
        self.add("co.kendev.business.product", product)
    }

    pub(super) fn store(&mut self) {
        let new = self.category("New", "new");
        let favourites = self.category("Favourites", "favourites");
        let shipped = |category: &str| {
            json!({
                "categories": [category],
                "inventory": { "trackQuantity": true, "allowBackorder": false },
                "shipping": { "requiresShipping": true, "freeShipping": false, "shippingClass": "standard" },
            })
        };
        self.product("First product", "first-product", "physical", 1_900, &shipped(&new));
        self.product("Second product", "second-product", "physical", 4_900, &shipped(&favourites));
        let download = json!({ "categories": [new], "shipping": { "requiresShipping": false } });
        self.product("A download", "a-download", "digital_download", 900, &download);
        let order = ("order", "Order number", "text", true);
        let reason = ("reason", "What is wrong", "textarea", true);
        self.form("Returns", "Send something back.", &[order, ("email", "Your e-mail address", "email", true), reason]);
    }

    pub(super) fn services(&mut self) {
        let Setting { tenant, name, .. } = self.setting;
        let organization = json!({
            "name": name,
            "tenant": tenant,
            "organizationType": "sole_proprietorship",
            "industry": "services",
            "status": "active",
        });
        let organization = self.add("co.kendev.business.organization", organization);
        let service = |title: &str, minutes: u32, kind: &str| {
            json!({
                "serviceName": title, "duration": minutes, "isActive": true, "requiresAppointment": true,
                "serviceType": kind, "requiresBay": true,
            })
        };
        let day = |(day, closed): (&str, bool)| {
            if closed {
                json!({ "dayOfWeek": day, "isClosed": true })
            } else {
                json!({ "dayOfWeek": day, "openTime": "09:00", "closeTime": "17:00", "isClosed": false })
            }
        };
        let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let schedule: Vec<_> = days.into_iter().zip(0..).map(|(name, at)| day((name, at > 4))).collect();
        let unknown = "to be filled in";
        let venue = json!({
            "name": name,
            "tenant": tenant,
            "organization": organization,
            "venueType": "service_territory",
            "location": {
                "address": {
                    "street": unknown, "city": unknown, "state": unknown, "zipCode": "00000", "country": "US",
                },
                "timezone": "UTC",
            },
            "businessHours": { "schedule": schedule },
            "services": [
                service("Consultation", 30, "quote_consultation"),
                service("Standard service", 60, "general_service"),
                service("At your place", 120, "mobile_service"),
            ],
            "bayManagement": {
                "totalBays": 1,
                "bays": [{ "bayName": "Bay 1", "bayType": "general_workstation", "isActive": true }],
            },
            "isActive": false,
            "status": "pending",
        });
        self.add("co.kendev.business.venue", venue);
        let what = ("what", "What do you need?", "textarea", true);
        self.form("Quote", "Ask what it would cost.", &[NAME, EMAIL, what, ("when", "When?", "date", false)]);
    }

    pub(super) fn agency(&mut self, space: &str) {
        let (tenant, name) = (self.setting.tenant, self.setting.name);
        let post = json!({
            "title": "Hello",
            "content": { "text": format!("{name} is open for work."), "format": "plain" },
            "status": "published",
            "publishedAt": self.created_at,
            "slug": "hello",
            "tenant": tenant,
        });
        self.add("co.kendev.content.post", post);
        let project = json!({
            "name": "First project",
            "status": "planning",
            "priority": "medium",
            "budget": { "currency": "USD" },
            "space": space,
            "tenant": tenant,
        });
        let project = self.add("co.kendev.business.project", project);
        for title in ["Kick-off", "Research", "Concept", "Production", "Delivery"] {
            let task = json!({
                "title": title, "status": "todo", "priority": "medium", "project": project, "tenant": tenant,
            });
            self.add("co.kendev.business.task", task);
        }
        let campaign = json!({
            "name": "First campaign",
            "type": "content",
            "status": "draft",
            "budget": { "currency": "USD" },
            "tenant": tenant,
        });
        self.add("co.kendev.business.campaign", campaign);
        let goal = ("goal", "What do you want to achieve?", "textarea", true);
        self.form("Brief", "Tell us about your project.", &[NAME, EMAIL, goal, ("budget", "Budget", "text", false)]);
    }

    pub(super) fn software(&mut self, space: &str) {
        self.channel(space, "support", "Ask, and somebody answers.");
        let terms = json!({
            "pricing": { "currency": "USD", "basePrice": 2_900, "subscription": { "interval": "monthly", "trialPeriod": 14 } },
        });
        self.product("Subscription", "subscription", "subscription", 2_900, &terms);
        self.page("Roadmap", "roadmap", "custom", "What we are working on, and what comes next.", None);
        self.form("Demo", "See it before you decide.", &[NAME, EMAIL, ("company", "Company", "text", false)]);
    }

    pub(super) fn cause(&mut self, space: &str) {
        let tenant = self.setting.tenant;
        let text = "What you give goes to the cause. A share of every sale on this network goes to the justice fund.";
        self.page("Donate", "donate", "landing", text, None);
        let event = json!({
            "title": "First gathering",
            "tenant": tenant,
            "space": space,
            "eventType": "community",
            "eventDate": self.created_at,
            "timezone": "UTC",
            "isPublic": false,
            "status": "scheduled",
        });
        self.add("co.kendev.business.event", event);
        let skills = ("skills", "What can you do?", "textarea", false);
        self.form("Volunteer", "Lend a hand.", &[NAME, EMAIL, skills]);
    }
}

/// The clock id of the keys made here.
const CLOCK_ID: u16 = 0;

const NAME: Field<'static> = ("name", "Your name", "text", true);
const EMAIL: Field<'static> = ("email", "Your e-mail address", "email", true);
const MESSAGE: Field<'static> = ("message", "Your message", "textarea", true);

fn nsid(text: &'static str) -> Nsid {
    text.parse().expect("a collection of ours")
}

fn key(text: &'static str) -> RecordKey {
    text.parse().expect("a word is a record key")
}
