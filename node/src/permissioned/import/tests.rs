//! An account's private repository comes from another host: whole and as it was, or not at all.

use std::path::Path;

use angel_protocol::crypto::SigningKey;
use angel_protocol::permissioned::SpaceConfig;

use super::super::tests::{Node, record, write};
use super::*;
use crate::accounts::tests::new_account;
use crate::accounts::{AccountError, Deactivation};
use crate::repos::Action;

/// The account at the host that it comes to, where it is not in use yet.
fn coming(node: &Node, name: &str) -> Account {
    let mut new = new_account(&format!("did:plc:{name}"), &format!("{name}.test"), None);
    new.row.deactivated = Some(Deactivation { elsewhere: true, ..Deactivation::new(clock::now(), None) });
    node.accounts.create_blocking(new, |_, _, _| Ok::<_, AccountError>(())).expect("made")
}

/// A repository of so many records at its old host, with a record that was deleted again: the file of it, and the key.
async fn written(dir: &Path, count: usize) -> (Vec<u8>, Arc<SigningKey>, Head) {
    let node = Node::open(dir);
    let ada = node.account("ada");
    let space = node.space(&ada, &[]).await;
    let names: Vec<_> = (0..count).map(|n| format!("r{n}")).collect();
    for names in names.chunks(100) {
        let writes = names.iter().map(|name| write(name, Action::Put(record(name)))).collect();
        node.permissioned.write(&ada, &space, writes).await.expect("written");
    }
    node.permissioned.write(&ada, &space, vec![write("gone", Action::Put(record("x")))]).await.expect("written");
    node.permissioned.write(&ada, &space, vec![write("gone", Action::Delete)]).await.expect("deleted");
    let mut export = node.permissioned.export(&ada, &space).await.expect("begins");
    let mut file = Vec::new();
    while let Some((piece, more)) = export.next().await.expect("reads") {
        file.extend(piece);
        export = more;
    }
    let key = node.accounts.signing_key(ada.id()).await.expect("a key");
    let head = node.permissioned.head(&space, ada.did()).await.expect("reads").expect("a repository");
    (file, key, head)
}

fn space_of(account: &Account) -> SpaceUri {
    let (space_type, key) = ("com.example.forum".parse().expect("an NSID"), "self".parse().expect("a key"));
    SpaceUri { authority: account.did().clone(), space_type, key }
}

async fn import(node: &Node, account: &Account, key: &SigningKey, file: &[u8]) -> Result<Imported, ImportRefused> {
    let mut import = node.permissioned.import(account, &space_of(account), vec![key.public()]).await?;
    for part in file.chunks(1000) {
        import.take(part).await?;
    }
    import.finish().await
}

#[tokio::test]
async fn a_repository_comes_with_its_revision_and_its_hash_and_its_author_goes_on() {
    let [old, new] = [0, 1].map(|_| tempfile::tempdir().expect("a directory"));
    let (file, key, head) = written(old.path(), 2500).await;
    let node = Node::open(new.path());
    let ada = coming(&node, "ada");
    let space = space_of(&ada);
    let imported = import(&node, &ada, &key, &file).await.expect("comes");
    assert_eq!(imported, Imported { head: head.clone(), was_here: false });
    assert_eq!(node.contents(&space, &ada).await.len(), 2500);
    let again = import(&node, &ada, &key, &file).await.expect("is here");
    assert_eq!(again, Imported { head: head.clone(), was_here: true });
    // Written on once the account is in use: behind what came.
    let (forum, owner) = (space.space_type.clone(), ada.clone());
    node.permissioned.create_space(&owner, forum, Some(space.key.clone()), SpaceConfig::default()).await.expect("made");
    let made = node.permissioned.write(&ada, &space, vec![write("new", Action::Put(record("new")))]).await;
    assert!(made.expect("written").expect("a change").rev > head.rev);
    assert_eq!(node.contents(&space, &ada).await.len(), 2501);
    let older = import(&node, &ada, &key, &file).await;
    assert!(matches!(older, Err(ImportRefused::Older(_))), "{older:?}");
    assert_eq!(node.contents(&space, &ada).await.len(), 2501);
}

#[tokio::test]
async fn what_is_cut_or_signed_by_another_is_no_repository_and_leaves_nothing() {
    let [old, new] = [0, 1].map(|_| tempfile::tempdir().expect("a directory"));
    let (file, key, _) = written(old.path(), 1200).await;
    let node = Node::open(new.path());
    let (ada, bob) = (coming(&node, "ada"), coming(&node, "bob"));
    let space = space_of(&ada);
    for end in [0, 1, 40, 200, 1000, file.len() / 2, file.len() - 100, file.len() - 1] {
        let cut = import(&node, &ada, &key, &file[..end]).await;
        assert!(matches!(cut, Err(ImportRefused::Arrival(_))), "{end}: {cut:?}");
        assert!(node.permissioned.head(&space, ada.did()).await.expect("reads").is_none());
    }
    // Another byte anywhere: of the commit, the index, or a record.
    for at in [150, 230, 5_000, file.len() / 2, file.len() - 10] {
        let mut other = file.clone();
        other[at] ^= 1;
        assert!(import(&node, &ada, &key, &other).await.is_err(), "another byte at {at}");
    }
    let stranger = node.accounts.signing_key(bob.id()).await.expect("a key");
    let forged = import(&node, &ada, &stranger, &file).await;
    assert!(matches!(forged, Err(ImportRefused::Commit)), "{forged:?}");
    // In a space of another name it is not what was signed.
    let elsewhere = import(&node, &bob, &key, &file).await;
    assert!(matches!(elsewhere, Err(ImportRefused::Commit)), "{elsewhere:?}");
    // What was left halfway is in nobody's way: neither of who writes there, nor of the whole file.
    let half = import(&node, &ada, &key, &file[..file.len() - 1]).await;
    assert!(half.is_err() && node.permissioned.has_leftover_blocking(repo_key(ada.id(), &space)).expect("reads"));
    node.permissioned.write(&ada, &space, vec![write("mine", Action::Put(record("mine")))]).await.expect("written");
    assert_eq!(node.contents(&space, &ada).await.len(), 1);
    let newer = import(&node, &ada, &key, &file).await;
    assert!(matches!(newer, Err(ImportRefused::Older(_))), "{newer:?}");
}

#[tokio::test]
async fn an_account_in_use_keeps_what_it_has() {
    let [old, new] = [0, 1].map(|_| tempfile::tempdir().expect("a directory"));
    let (file, key, head) = written(old.path(), 3).await;
    let node = Node::open(new.path());
    let ada = node.account("ada");
    let space = node.space(&ada, &[]).await;
    let imported = import(&node, &ada, &key, &file).await.expect("there was nothing");
    assert_eq!(imported.head, head);
    node.permissioned.write(&ada, &space, vec![write("r0", Action::Delete)]).await.expect("written");
    let refused = import(&node, &ada, &key, &file).await;
    assert!(matches!(refused, Err(ImportRefused::InUse)), "{refused:?}");
    assert_eq!(node.contents(&space, &ada).await.len(), 2);
}
