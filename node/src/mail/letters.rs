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
    let (heading, deed, otherwise) = match purpose {
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
        MailPurpose::SignIn => (
            "Sign in",
            "To sign in",
            "If you are not signing in, somebody knows your password: change it, and give this code to nobody.",
        ),
    };
    // As it is called in the letters of other hosts.
    let subject = if purpose == MailPurpose::ResetPassword { "Password reset requested" } else { heading };
    let minutes = super::CODE_LIFE.as_secs() / 60;
    Letter {
        subject: format!("{subject} ({host})"),
        text: format!(
            "{heading}\n\nHello @{handle},\n\n{deed}, give this code:\n\n    {code}\n\nIt is good for {minutes} minutes, once. \
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

/// Answers to a form.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// What the form is called.
    pub(crate) form: String,
    /// What the business is called.
    pub(crate) tenant: String,
    /// The answers: the name of the question, its words, what was answered.
    pub(crate) lines: Vec<(String, String, String)>,
    /// The text that the business has written for such letters, with `{{name}}` where an answer stands.
    pub(crate) template: Option<String>,
}

/// Longest text of a letter about answers, in bytes: it is one row of the outbox. What is longer is cut, and is whole where
/// the answers are kept.
const ANSWERS_BYTES_MAX: usize = 12 * 1024;

/// Longest name in the subject of such a letter, in characters.
const NAME_CHARS_MAX: usize = 100;

/// A letter with answers. It begins with words of ours, so that no template makes a page of it into which answers would go
/// as they are.
pub(super) fn answers(answered: &Answered, host: &str) -> Letter {
    let Answered { form, tenant, lines, template } = answered;
    let mut text = format!("New answers to the form {} of {}.\n\n", line(form), line(tenant));
    match template {
        Some(template) => fill(&mut text, template, lines),
        None => {
            for (_, label, value) in lines {
                push(&mut text, &format!("{}:\n\n    {}\n\n", line(label), value.replace('\n', "\n    ")));
            }
        }
    }
    push(&mut text, "\n\n");
    text.push_str(host);
    text.push('\n');
    Letter { subject: format!("{} ({host})", line(form)), text }
}

/// A letter to whoever sent answers: nothing of it is theirs, for the address may be somebody else's.
pub(super) fn thanks(answered: &Answered, host: &str) -> Letter {
    let (form, tenant) = (line(&answered.form), line(&answered.tenant));
    Letter {
        subject: format!("{tenant} ({host})"),
        text: format!(
            "Hello,\n\n{tenant} has received your answers to the form {form}.\n\nIf you sent none, somebody gave this \
             address in your place; do nothing.\n\n{host}\n"
        ),
    }
}

/// A name that fits a line.
fn line(name: &str) -> String {
    name.replace(char::is_control, " ").chars().take(NAME_CHARS_MAX).collect()
}

/// Adds a text as far as there is room.
fn push(text: &mut String, more: &str) {
    let room = ANSWERS_BYTES_MAX.saturating_sub(text.len());
    text.push_str(&more[..more.floor_char_boundary(room)]);
}

/// Adds a template with the answers in it. A name that there is not stands for nothing.
fn fill(text: &mut String, template: &str, lines: &[(String, String, String)]) {
    let mut rest = template;
    while text.len() < ANSWERS_BYTES_MAX {
        let Some((before, (name, after))) = rest.split_once("{{").and_then(|(b, a)| Some((b, a.split_once("}}")?)))
        else {
            return push(text, rest);
        };
        push(text, before);
        let answer = lines.iter().find(|(known, ..)| known == name.trim()).map_or("", |(.., value)| value);
        push(text, answer);
        rest = after;
    }
}

/// A letter of the operator's.
pub(super) fn from_operator(subject: Option<&str>, text: &str, host: &str) -> Letter {
    let subject = subject.map_or_else(|| format!("A message from {host}"), str::to_owned);
    Letter { subject, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use angel_storage::limits::VALUE_BYTES_MAX;

    use super::super::html;
    use super::*;

    fn answered(template: Option<&str>, value: &str) -> Answered {
        Answered {
            form: "Contact\r\nBcc: all@mail.example".to_owned(),
            tenant: "Shop".to_owned(),
            lines: vec![("a".to_owned(), "Your question".to_owned(), value.to_owned())],
            template: template.map(str::to_owned),
        }
    }

    #[test]
    fn a_letter_about_answers_has_room_in_a_row_and_is_no_page() {
        let plain = answers(&answered(None, "why?\nand how?"), "host.test");
        assert!(plain.text.contains("Your question:\n\n    why?\n    and how?\n"), "{}", plain.text);
        assert!(!plain.subject.contains(char::is_control), "{:?}", plain.subject);
        let filled = |template: &str, value: &str| answers(&answered(Some(template), value), "host.test").text;
        assert!(filled("<!DOCTYPE html><p>{{a}}</p>", "<b>").contains("<!DOCTYPE html><p><b></p>"));
        assert!(!html::is_page(&filled("<!DOCTYPE html><p>{{a}}</p>", "<b>")));
        assert!(filled("{{ a }} {{b}}. {{c", "yes").contains("yes . {{c"), "what there is not stands for nothing");
        for (template, value) in [("{{a}}".repeat(20_000), "ö".repeat(90_000)), ("{{}}".repeat(25_000), String::new())]
        {
            let text = filled(&template, &value);
            assert!(text.len() < VALUE_BYTES_MAX - 2048 && text.ends_with("host.test\n"), "{} bytes", text.len());
        }
    }

    #[test]
    fn whoever_answered_is_told_nothing_that_was_written() {
        let letter = thanks(&answered(Some("{{a}}"), "buy this"), "host.test");
        assert!(!letter.text.contains("buy this") && letter.text.contains("Shop has received"), "{}", letter.text);
    }
}
