//! The kinds of space that this network opens, as their documents under `lexicons/` declare them (proposal 0016, "Space
//! type declarations"). The documents are the only place that names them.

use std::sync::LazyLock;

use super::uri::SpaceUri;
use crate::ids::{Did, Nsid, RecordKey};
use crate::lexicon::ast::Space;
use crate::lexicon::{Catalog, Definition, Document};

static ROOM: LazyLock<SpaceKind> = LazyLock::new(|| SpaceKind::shipped("co.kendev.spaces.room"));

static WORKSPACE: LazyLock<SpaceKind> = LazyLock::new(|| SpaceKind::shipped("co.kendev.tenants.workspace"));

/// One kind of space.
#[derive(Debug)]
pub struct SpaceKind {
    nsid: Nsid,
    declaration: &'static Space,
}

/// What is said in spaces that are not public.
#[must_use]
pub fn room() -> &'static SpaceKind {
    &ROOM
}

/// What a tenant keeps that is not public.
#[must_use]
pub fn workspace() -> &'static SpaceKind {
    &WORKSPACE
}

/// Every kind of space that has a document here.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Space)> {
    Catalog::builtin().iter().filter_map(|document| match document.main()? {
        Definition::Space(space) => Some((&*document.id, space)),
        _ => None,
    })
}

impl SpaceKind {
    fn shipped(nsid: &str) -> Self {
        let Some(Definition::Space(declaration)) = Catalog::builtin().get(nsid).and_then(Document::main) else {
            panic!("lexicons/ declares no kind of space {nsid}, which a test looks for");
        };
        Self { nsid: nsid.parse().expect("the id of a document is an NSID"), declaration }
    }

    /// Its name, which is that of its document.
    #[must_use]
    pub fn nsid(&self) -> &Nsid {
        &self.nsid
    }

    /// What its document says.
    #[must_use]
    pub fn declaration(&self) -> &'static Space {
        self.declaration
    }

    /// The space of this kind under `authority` with this key.
    #[must_use]
    pub fn under(&self, authority: Did, key: RecordKey) -> SpaceUri {
        SpaceUri { authority, space_type: self.nsid.clone(), key }
    }

    /// Whether a space is of this kind.
    #[must_use]
    pub fn is(&self, space: &SpaceUri) -> bool {
        space.space_type == self.nsid
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lexicon::flags::{Class, Flags, Holder};
    use crate::spaces::{CHANNEL, COLLECTIONS, SPACE};

    fn listed(kind: &SpaceKind) -> BTreeSet<&'static str> {
        kind.declaration().collections.iter().map(String::as_str).collect()
    }

    #[test]
    fn every_kind_has_a_document_and_every_document_is_used() {
        let documents: Vec<_> = all().map(|(nsid, _)| nsid).collect();
        assert_eq!(documents, [room().nsid().as_str(), workspace().nsid().as_str()]);
    }

    #[test]
    fn a_room_holds_what_makes_up_a_space() {
        assert_eq!(listed(room()), COLLECTIONS.into_iter().collect());
        assert!(room().declaration().key.accepts("3jzfcijpj2z2a") && !room().declaration().key.accepts("self"));
    }

    #[test]
    fn a_workspace_holds_what_a_tenant_keeps_to_itself() {
        // Spaces and channels that are not public lie in rooms.
        let kept = Flags::builtin().collections.iter().filter(|(nsid, flags)| {
            flags.class != Class::Public
                && flags.held_in.contains(&Holder::Tenant)
                && ![SPACE, CHANNEL].contains(&&***nsid)
        });
        assert_eq!(listed(workspace()), kept.map(|(nsid, _)| &**nsid).collect());
        assert!(workspace().declaration().key.accepts("self") && !workspace().declaration().key.accepts("other"));
    }

    #[test]
    fn a_space_is_of_its_kind() {
        let tenant: Did = "did:web:a.example".parse().expect("a DID");
        let space = workspace().under(tenant, "self".parse().expect("a record key"));
        assert_eq!(space.to_string(), "at://did:web:a.example/space/co.kendev.tenants.workspace/self");
        assert!(workspace().is(&space) && !room().is(&space));
    }
}
