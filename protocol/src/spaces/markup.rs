//! Markup in messages: a small part of HTML, written strictly. What is not of that part is refused rather than mended,
//! so that the record which its author signed is the one that is shown (`records.md` 4.3, `content.html`).

/// Elements without attributes.
const PLAIN: [&str; 22] = [
    "b",
    "blockquote",
    "br",
    "code",
    "del",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "span",
    "strong",
    "ul",
];

/// Schemes that a link may have.
const SCHEMES: [&str; 4] = ["https://", "http://", "mailto:", "at://"];

/// Why markup is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UncleanMarkup {
    /// A `<` that begins no element of the list.
    #[error("the markup has an element that is not allowed: <{0}")]
    Element(String),
    /// A link that leads elsewhere than to the web, a mail address or a record.
    #[error("a link leads to a place of a kind that is not allowed")]
    Link,
}

/// Checks markup: only elements of the list, without attributes, and `<a href="…">` with nothing else. Comments,
/// scripts, styles, images and event attributes are of no element of the list.
///
/// # Errors
/// [`UncleanMarkup`], by what is wrong.
pub fn check_markup(html: &str) -> Result<(), UncleanMarkup> {
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let tag = &rest[open + 1..];
        let Some(end) = tag.find('>') else { return Err(element(tag)) };
        check_tag(&tag[..end])?;
        rest = &tag[end + 1..];
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), UncleanMarkup> {
    let name = tag.strip_prefix('/').unwrap_or(tag);
    let name = name.strip_suffix(" /").or_else(|| name.strip_suffix('/')).unwrap_or(name);
    if PLAIN.contains(&name) || tag == "/a" {
        return Ok(());
    }
    let href = tag.strip_prefix("a href=\"").and_then(|href| href.strip_suffix('"')).ok_or_else(|| element(tag))?;
    let is_clean = |text: &str| !text.contains(['"', '\'', '<', '`']) && !text.chars().any(char::is_control);
    if SCHEMES.iter().any(|scheme| href.starts_with(scheme)) && is_clean(href) {
        Ok(())
    } else {
        Err(UncleanMarkup::Link)
    }
}

fn element(tag: &str) -> UncleanMarkup {
    UncleanMarkup::Element(tag.chars().take(32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simple_kind_is_taken() {
        for html in [
            "",
            "1 > 0 & so on",
            "<p>Hello <strong>there</strong><br/>and <em>here</em></p>",
            "<ul><li>one</li></ul><pre><code>x</code></pre><hr />",
            "<a href=\"https://example.org/?a=1&amp;b=2\">there</a>",
        ] {
            assert_eq!(check_markup(html), Ok(()), "{html}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for html in [
            "<script>alert(1)</script>",
            "<p onclick=\"alert(1)\">a</p>",
            "<img src=x onerror=alert(1)>",
            "<IMG SRC=x>",
            "<style>p{}</style>",
            "<svg/onload=alert(1)>",
            "<!-- a -->",
            "<p",
            "a < b",
            "< p>",
            "<a href=\"javascript:alert(1)\">a</a>",
            "<a href=\" https://a.example\">a</a>",
            "<a href=\"https://a.example\" onclick=\"b\">a</a>",
            "<a href='https://a.example'>a</a>",
            "<a href=\"https://a.example/'\">a</a>",
            "<a\thref=\"https://a.example\">a</a>",
            "<p/onclick=x>",
        ] {
            assert!(check_markup(html).is_err(), "{html}");
        }
    }
}
