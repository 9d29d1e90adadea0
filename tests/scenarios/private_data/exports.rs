//! What leaves a host in one piece: repositories as files, the export of a business for those who may not have it,
//! backups without their key, and the files beside the store.

use super::business::{Business, speaks};
use super::*;

/// Everything that somebody gets who may not read what is private, by where it is from.
pub(super) async fn everything_exported(
    hosts: &[Host; 3],
    people: &[(&Host, &Account)],
    business: &Business,
    recovery: &Path,
) -> Result<Vec<(String, Vec<u8>)>> {
    let first = &hosts[0];
    let mut found = Vec::new();
    let mut dids: Vec<_> = people.iter().map(|(host, who)| (*host, who.did.clone())).collect();
    dids.extend([(first, business.tenant.clone()), (first, business.owner.did.clone())]);
    for (host, did) in dids {
        let asked = host.get("com.atproto.sync.getRepo", &[("did", did.as_str())]).send().await?;
        ensure!(asked.status() == 200, "{did} has a repository on {}", host.url);
        found.push((format!("the repository of {did}"), asked.bytes().await?.to_vec()));
    }

    // The business as a whole is for those whom it allows: no stranger, and no member of a space of it.
    let method = "co.kendev.tenants.exportTenant";
    let tenant = [("tenant", business.tenant.as_str())];
    let stranger = first.sign_up("stranger").await?;
    let (_, member) = people[0];
    let mut asked = vec![
        first.get(method, &tenant),
        first.get(method, &tenant).bearer_auth(&stranger.token),
        first.get(method, &tenant).bearer_auth(&member.token),
    ];
    for (home, who) in &people[1..] {
        asked.push(first.get(method, &tenant).bearer_auth(speaks(home, who, first, method).await?));
    }
    for request in asked {
        let answer = request.send().await?;
        ensure!(answer.status() != 200, "the export of a business is for its own people");
        found.push(("a refused export".to_owned(), answer.bytes().await?.to_vec()));
    }
    let own = first.get(method, &tenant).bearer_auth(&business.owner.token).send().await?;
    ensure!(own.status() == 200, "the owner has it");
    found.push((OWN.to_owned(), own.bytes().await?.to_vec()));

    // A backup is sealed: whoever has its files and not the key has noise.
    let (key, place) = (recovery.join("recovery.key"), recovery.join("backups"));
    let (key, place) = (key.to_str().context("text")?, place.to_str().context("text")?);
    for words in [vec!["backup", "key", key, "--json"], vec!["backup", "create", "--to", place, "--json"]] {
        let output = verb(&first.dir, &words)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.push((format!("what {} says", words.join(" ")), output.stdout));
        found.push((format!("what {} says besides", words.join(" ")), output.stderr));
    }
    let files = files_under(Path::new(place), &[])?;
    ensure!(!files.is_empty(), "a backup has files");
    found.extend(files);

    // Beside its store, a host keeps nothing of it in files.
    for host in hosts {
        found.extend(files_under(&host.dir, &["storage", "blobs"])?);
    }
    Ok(found)
}

/// The one export in which what is private belongs: whoever searches finds it there.
pub(super) const OWN: &str = "the export of the owner";

/// The files under a directory, without those directories in it.
fn files_under(dir: &Path, without: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let (mut found, mut dirs) = (vec![], vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            let is_left_out = next == dir && without.iter().any(|name| path.ends_with(name));
            if path.is_dir() && !is_left_out {
                dirs.push(path);
            } else if path.is_file() {
                found.push((path.display().to_string(), std::fs::read(&path)?));
            }
        }
    }
    Ok(found)
}
