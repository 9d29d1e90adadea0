//! What letters say.

use angel_protocol::ids::Handle;
use angel_storage::accounts::MailPurpose;

/// A letter without its address.
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
}

/// A letter with a code.
pub(super) fn code(purpose: MailPurpose, code: &str, handle: &Handle, host: &str) -> Letter {
    let (subject, deed, otherwise) = match purpose {
        MailPurpose::ConfirmEmail => (
            "Confirm your e-mail address",
            "confirm that this address is yours",
            "If you have no account there, do nothing: the address stays unconfirmed.",
        ),
        MailPurpose::UpdateEmail => (
            "Change of your e-mail address",
            "change the e-mail address of your account",
            "If you did not ask for this, somebody is logged in as you: change your password.",
        ),
        MailPurpose::ResetPassword => (
            "Set a new password",
            "set a new password",
            "If you did not ask for this, do nothing: your password stays as it is.",
        ),
        MailPurpose::DeleteAccount => (
            "Deletion of your account",
            "delete your account with everything in it, which cannot be undone",
            "If you did not ask for this, somebody is logged in as you: change your password.",
        ),
        MailPurpose::PlcOperation => (
            "Change of your identity",
            "change your identity, for example to move your account to another host",
            "If you did not ask for this, somebody is logged in as you: change your password, and give this code to nobody.",
        ),
    };
    let minutes = super::CODE_LIFE.as_secs() / 60;
    Letter {
        subject: format!("{subject} ({host})"),
        text: format!(
            "Hello @{handle},\n\nwith this code you can {deed}:\n\n    {code}\n\nIt is good for {minutes} minutes, once. \
             {otherwise}\n\n{host}\n"
        ),
    }
}

/// A letter of the operator's.
pub(super) fn from_operator(subject: Option<&str>, text: &str, host: &str) -> Letter {
    let subject = subject.map_or_else(|| format!("A message from {host}"), str::to_owned);
    Letter { subject, text: text.to_owned() }
}
