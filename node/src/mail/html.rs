//! The second form of a letter: the same words for mail programs that show pages.

/// What a letter looks like as a page. Paragraphs are apart by an empty line; what is indented is a code or somebody's
/// words, and stands alone.
pub(super) fn page(text: &str) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html>\n<body>\n");
    for paragraph in text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')).filter(|text| !text.is_empty()) {
        let (open, close) = if paragraph.starts_with("    ") { ("<pre>", "</pre>") } else { ("<p>", "</p>") };
        let lines: Vec<_> = paragraph.lines().map(|line| escaped(line.trim())).collect();
        page.push_str(open);
        page.push_str(&lines.join("\n"));
        page.push_str(close);
        page.push('\n');
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// Whether a text is a page itself, as moderation services write them.
pub(super) fn is_page(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_alone_and_words_cannot_become_markup() {
        let page = page("Hello @a.test,\n\nwith this:\n\n    AAAAA-BBBBB\n\n1 < 2 & <b>\n\nhost\n");
        assert!(page.contains("<pre>AAAAA-BBBBB</pre>") && page.contains("<p>Hello @a.test,</p>"), "{page}");
        assert!(page.contains("<p>1 &lt; 2 &amp; &lt;b&gt;</p>") && !page.contains("<b>"), "{page}");
        assert!(is_page(" <p>Hello</p>") && !is_page("Hello <p>"));
    }
}
