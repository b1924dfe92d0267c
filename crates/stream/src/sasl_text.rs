//! SASL messages as text of XML elements (RFC 6120 §6.3.5, §6.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_xml::{ElementRef, Writer};

use crate::ns;

/// Writes a SASL element that carries data; empty data is a single `=` where `marks_empty`.
pub(crate) fn write(w: &mut Writer, name: &str, data: Option<&[u8]>, marks_empty: bool) {
    w.open(name, ns::SASL);
    write_data(w, data, marks_empty);
    w.close();
}

/// Writes the text of a SASL element.
pub(crate) fn write_data(w: &mut Writer, data: Option<&[u8]>, marks_empty: bool) {
    match data {
        Some([]) if marks_empty => {
            w.text("=");
        }
        Some([]) | None => {}
        Some(data) => {
            w.text(&STANDARD.encode(data));
        }
    }
}

/// The data of a SASL element; none where it has no text at all.
///
/// # Errors
/// [`BadData`] if the text is not base 64 by RFC 4648 §4 with zero padding bits (RFC 6120 §6.3.5),
/// or if there are elements inside.
pub(crate) fn read(element: ElementRef<'_>) -> Result<Option<Vec<u8>>, BadData> {
    if element.first_child().is_some() {
        return Err(BadData::NotText);
    }
    match element.text().as_ref() {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        text => STANDARD.decode(text).map(Some).map_err(|_| BadData::NotBase64),
    }
}

/// Why a SASL element cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadData {
    /// It contains elements.
    NotText,
    /// Its text is not base 64.
    NotBase64,
}

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read_text(text: &str) -> Result<Option<Vec<u8>>, BadData> {
        let xml = format!("<auth xmlns='{}'>{text}</auth>", ns::SASL);
        read(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn tells_nothing_from_empty() {
        assert_eq!(read_text(""), Ok(None));
        assert_eq!(read_text("="), Ok(Some(Vec::new())));
        assert_eq!(read_text("AA=="), Ok(Some(vec![0])));
    }

    #[test]
    fn wants_padding_and_zero_padding_bits() {
        for text in ["AA", "AA=", "AB==", " AA==", "AA==\n", "A-A=", "==="] {
            assert_eq!(read_text(text), Err(BadData::NotBase64), "{text:?}");
        }
        assert_eq!(read_text("<a/>"), Err(BadData::NotText));
    }

    #[test]
    fn writes_what_it_reads() {
        for (data, marks_empty, text) in [
            (None, true, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
            (Some(&b""[..]), true, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</success>"),
            (Some(b""), false, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
            (
                Some(b"v=1"),
                true,
                "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dj0x</success>",
            ),
        ] {
            let mut w = Writer::new();
            write(&mut w, "success", data, marks_empty);
            assert_eq!(String::from_utf8(w.into_bytes()).unwrap(), text);
        }
    }
}
