//! The text of `config/angel.toml`: every key with its words and its default, switched off by a leading `#`.

use super::Config;

/// The documented defaults. A line `#key = value` is a setting; a line `# words` explains the one below it.
#[must_use]
pub fn template() -> String {
    let mut text = String::from(
        "# Configuration of an Angel OS node. Every key is shown with its default; remove the # before a key to set it.\n\
         # A flag wins over the environment (http.listen is ANGEL_HTTP_LISTEN), the environment over this file.\n\
         # Durations are written \"250ms\", \"30s\", \"5m\", \"24h\" or \"90d\"; sizes \"16KiB\", \"64MiB\" or \"2GiB\".\n",
    );
    let defaults = Config::default();
    let mut values = defaults.values().into_iter();
    for (doc, fields) in Config::sections() {
        let table = fields[0].table;
        text.push('\n');
        if !table.is_empty() {
            doc.iter().for_each(|line| text.push_str(&format!("#{line}\n")));
            text.push_str(&format!("[{table}]\n"));
        }
        for field in fields {
            text.push('\n');
            field.doc.iter().for_each(|line| text.push_str(&format!("#{line}\n")));
            match values.next().flatten() {
                Some(value) => text.push_str(&format!("#{} = {value}\n", field.name)),
                None => text.push_str(&format!("#{} =\n", field.name)),
            }
        }
    }
    text
}
