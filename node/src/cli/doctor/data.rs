//! The data directory: is it there, is it ours, is it private, is it in use?

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Access;

use super::{Finding, Patient};
use crate::clock;
use crate::data_dir::{DataDirError, exposure};
use crate::keys::Identity;

pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let root = patient.layout.root();
    if !root.exists() {
        return vec![Finding::note("data", format!("{} does not exist yet; the first start makes it", root.display()))];
    }
    let mut findings = vec![usable(patient)];
    findings.extend(private(root));
    findings.extend(secrets(patient));
    findings
}

/// Whether a daemon has it, or could.
fn usable(patient: &Patient<'_>) -> Finding {
    let root = patient.layout.root();
    if let Some(daemon) = &patient.daemon {
        return Finding::ok("data", format!("{} is in use by the daemon (process {})", root.display(), daemon.pid));
    }
    if let Err(error) = rustix::fs::access(root, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        let what = format!("{} cannot be read and written by this user: {error}", root.display());
        return Finding::problem("data", what, "change its owner, or run as the user it belongs to");
    }
    match patient.layout.check_version() {
        Ok(()) => Finding::ok("data", format!("{} can be used; no daemon runs in it", root.display())),
        Err(DataDirError::Access { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Finding::note("data", format!("no node was started in {} yet", root.display()))
        }
        Err(error) => Finding::problem("data", error.to_string(), "a start would be refused the same way"),
    }
}

fn private(root: &Path) -> Option<Finding> {
    let mode = fs::metadata(root).ok()?.permissions().mode() & 0o777;
    (mode & 0o022 != 0).then(|| {
        let what = format!("{} can be written by others (mode {mode:04o})", root.display());
        Finding::problem("data", what, format!("chmod 700 {}", root.display()))
    })
}

fn secrets(patient: &Patient<'_>) -> Vec<Finding> {
    let dir = patient.layout.secrets();
    let mut findings = vec![];
    for path in [&dir].into_iter().cloned().chain(fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()))
    {
        if let Some(exposed) = fs::metadata(&path).ok().as_ref().and_then(exposure) {
            let mode = if path == dir { "700" } else { "600" };
            let what = format!("{} is open to others ({exposed})", path.display());
            let mend = format!("chmod {mode} {}; rotate the secret if somebody may have read it", path.display());
            findings.push(Finding::problem("secrets", what, mend));
        }
    }
    match Identity::load(&patient.layout, clock::now()) {
        Ok(identity) => findings.push(Finding::ok("identity", format!("the node is {}", identity.did()))),
        Err(error) if patient.layout.secrets().join("node.key").exists() => {
            findings.push(Finding::problem("identity", error.to_string(), "restore the file from a backup"));
        }
        Err(_) => findings.push(Finding::note("identity", "the node has no key yet; the first start makes it")),
    }
    findings
}
