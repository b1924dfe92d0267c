//! Finds where first-level elements end, and nothing else: no check, no copy.

/// One piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The stream's start tag.
    Header,
    /// A whole first-level element.
    Element,
    /// The stream's end tag.
    End,
}

/// The first whole piece of `input`, where it begins and where it ends. None if more is needed.
#[must_use]
pub fn first(input: &[u8]) -> Option<(Piece, usize, usize)> {
    let mut begin = skip_spaces(input, 0);
    if input[begin..].starts_with(b"<?") {
        let end = memchr::memmem::find(&input[begin..], b"?>")?;
        begin = skip_spaces(input, begin + end + 2);
    }
    let rest = &input[begin..];
    if rest.starts_with(b"</") {
        let end = memchr::memchr(b'>', rest)?;
        return Some((Piece::End, begin, begin + end + 1));
    }
    if rest.starts_with(b"<stream:stream") {
        return Some((Piece::Header, begin, begin + tag_end(rest, 1)?));
    }
    Some((Piece::Element, begin, begin + element_end(rest)?))
}

/// Where an attribute's value stands in the start tag at the beginning of `element`.
#[must_use]
pub fn attribute<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let tag = &element[..tag_end(element, 1)?];
    let mut at = 0;
    loop {
        at += memchr::memmem::find(&tag[at..], name.as_bytes())?;
        let behind = at + name.len();
        let is_name = at > 0 && is_space(tag[at - 1]) && tag.get(behind) == Some(&b'=');
        if is_name {
            let quote = *tag.get(behind + 1)?;
            let value = &tag[behind + 2..];
            return Some(&value[..memchr::memchr(quote, value)?]);
        }
        at = behind;
    }
}

/// What stands between the first `<name>` and its end tag.
#[must_use]
pub fn text<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = memchr::memmem::find(element, format!("<{name}").as_bytes())?;
    let begin = at + tag_end(&element[at..], 1)?;
    let len = memchr::memchr(b'<', &element[begin..])?;
    Some(&element[begin..begin + len])
}

/// Whether `element` has these bytes in it.
#[must_use]
pub fn has(element: &[u8], bytes: &str) -> bool {
    memchr::memmem::find(element, bytes.as_bytes()).is_some()
}

fn element_end(input: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += memchr::memchr(b'<', &input[at..])?;
        match input.get(at + 1)? {
            b'/' => {
                at += memchr::memchr(b'>', &input[at..])? + 1;
                depth = depth.saturating_sub(1);
            }
            b'!' => {
                // Only CDATA can be there (RFC 6120 §11.1).
                at += memchr::memmem::find(&input[at..], b"]]>")? + 3;
                continue;
            }
            _ => {
                at += tag_end(&input[at..], 1)?;
                depth += usize::from(input[at - 2] != b'/');
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Behind the `>` of the start tag at the beginning of `input`.
fn tag_end(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr3(b'>', b'\'', b'"', input.get(at..)?)?;
        match input[at] {
            b'>' => return Some(at + 1),
            quote => at += memchr::memchr(quote, &input[at + 1..])? + 2,
        }
    }
}

fn skip_spaces(input: &[u8], from: usize) -> usize {
    let spaces = input[from..].iter().take_while(|byte| is_space(**byte)).count();
    from + spaces
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "<?xml version='1.0'?><stream:stream a='>' xmlns=\"b\"> \
        <a x='/>'><b/>t<![CDATA[</a>]]><a></a></a>\n<c/></stream:stream>";

    fn pieces(mut input: &[u8]) -> Vec<(Piece, String)> {
        let mut pieces = Vec::new();
        while let Some((piece, begin, end)) = first(input) {
            pieces.push((piece, String::from_utf8_lossy(&input[begin..end]).into_owned()));
            input = &input[end..];
        }
        pieces
    }

    #[test]
    fn pieces_are_found_wherever_the_input_is_cut() {
        let all = pieces(STREAM.as_bytes());
        let kinds: Vec<_> = all.iter().map(|(piece, _)| *piece).collect();
        assert_eq!(kinds, [Piece::Header, Piece::Element, Piece::Element, Piece::End]);
        assert_eq!(all[1].1, "<a x='/>'><b/>t<![CDATA[</a>]]><a></a></a>");
        for cut in 0..STREAM.len() {
            let found = pieces(&STREAM.as_bytes()[..cut]);
            assert!(all.starts_with(&found), "{cut}: {found:?}");
        }
    }

    #[test]
    fn attributes_and_texts_are_found() {
        let element = b"<iq xid='1' id=\"2\"><jid>a@b/c</jid><x id='3'/></iq>";
        assert_eq!(attribute(element, "id"), Some(&b"2"[..]));
        assert_eq!(attribute(element, "to"), None);
        assert_eq!(text(element, "jid"), Some(&b"a@b/c"[..]));
        assert!(has(element, "<x "));
    }
}
