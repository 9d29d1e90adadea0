//! What letters say.

use angel_protocol::ids::Handle;
use angel_protocol::time::Timestamp;
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
            "Confirm your email",
            "To confirm that this address is yours",
            "If you have no account there, do nothing: the address stays unconfirmed.",
        ),
        MailPurpose::UpdateEmail => (
            "Update your email",
            "To change the email address of your account",
            "If you did not ask for this, somebody is logged in as you: change your password.",
        ),
        MailPurpose::ResetPassword => (
            "Reset password",
            "To set a new password",
            "If you did not ask for this, do nothing: your password stays as it is.",
        ),
        MailPurpose::DeleteAccount => (
            "Delete your account",
            "To permanently delete your account with everything in it, which cannot be undone",
            "If you did not ask for this, somebody is logged in as you: change your password.",
        ),
        MailPurpose::PlcOperation => (
            "PLC update requested",
            "To change your identity, for example to move your account to another host",
            "If you did not ask for this, somebody is logged in as you: change your password, and give this code to nobody.",
        ),
    };
    let minutes = super::CODE_LIFE.as_secs() / 60;
    Letter {
        subject: format!("{subject} ({host})"),
        text: format!(
            "{subject}\n\nHello @{handle},\n\n{deed}, give this code:\n\n    {code}\n\nIt is good for {minutes} minutes, once. \
             {otherwise}\n\n{host}\n"
        ),
    }
}

/// An invitation into a tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invitation<'a> {
    /// What the tenant is called.
    pub(crate) tenant: &'a str,
    /// Its short name.
    pub(crate) slug: &'a str,
    /// As what.
    pub(crate) role: &'a str,
    /// What opens it.
    pub(crate) token: &'a str,
    /// A few words of whoever invites.
    pub(crate) message: Option<&'a str>,
    /// Until when it can be accepted.
    pub(crate) until: Timestamp,
}

/// A letter with an invitation.
pub(super) fn invitation(invitation: &Invitation<'_>, host: &str) -> Letter {
    let Invitation { tenant, slug, role, token, message, until } = invitation;
    let words = message.map(|message| format!("They write:\n\n    {}\n\n", message.replace('\n', "\n    ")));
    Letter {
        // A name may hold anything; a header line does not.
        subject: format!("Invitation to {} ({host})", tenant.replace(char::is_control, " ")),
        text: format!(
            "Hello,\n\nyou are invited to {tenant} on {host}, as {role}.\n\n{}To accept, log in there with an account that \
             has this e-mail address and give this token for the tenant {slug}:\n\n    {token}\n\nIt is good until {until}, \
             once. If you know nothing of this, do nothing.\n\n{host}\n",
            words.unwrap_or_default()
        ),
    }
}

/// A letter of the operator's.
pub(super) fn from_operator(subject: Option<&str>, text: &str, host: &str) -> Letter {
    let subject = subject.map_or_else(|| format!("A message from {host}"), str::to_owned);
    Letter { subject, text: text.to_owned() }
}
