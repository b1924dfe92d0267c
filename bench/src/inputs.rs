//! The stanzas that everything is measured with.

/// The stream header before them, as a client sends it.
pub const HEADER: &str = "<stream:stream to='capulet.example' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// A chat message of 479 bytes, as a client with receipts and chat states sends it.
pub const CHAT: &str = "<message from='juliet@capulet.example/balcony' \
    to='romeo@montague.example' type='chat' id='0d4a1b9e-3f63-4f4e-9f5c-0c1f8a2d7b11' \
    xml:lang='en'><body>Wherefore art thou, Romeo? Deny thy father and refuse thy name; or if thou \
    wilt not, be but sworn my love, and I shall no more be a Capulet, my sweet Romeo.</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='0d4a1b9e-3f63-4f4e-9f5c12'/></message>";

/// A presence of 203 bytes with capabilities and a photo.
pub const PRESENCE: &str = "<presence><show>away</show>\
    <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' \
    ver='QgayPKawpkPSDYmwT/WM94uAlu0='/><x xmlns='vcard-temp:x:update'><photo/></x></presence>";

/// An IQ of 230 bytes: a search in an archive, as a client sends it after sign-in.
pub const IQ: &str = "<iq type='set' id='4f0c6c0e-6a1f-4c93-8a0d-b8d2c5f2f7aa'>\
    <query xmlns='urn:xmpp:mam:2' queryid='a1'><x xmlns='jabber:x:data' type='submit'>\
    <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field></x></query></iq>";

/// An encrypted message of 2,006 bytes: six keys and a payload, all base64.
#[must_use]
pub fn omemo() -> String {
    let keys: String = (0..6)
        .map(|rid| format!("<key rid='{rid}31337'>{}</key>", "MwohBdyhN3q0".repeat(12)))
        .collect();
    format!(
        "<message from='juliet@capulet.example/balcony' to='romeo@montague.example' type='chat' \
         id='c1'><encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='31415'>{keys}\
         <iv>bWFkZSB5b3UgbG9v</iv></header><payload>{}</payload></encrypted>\
         <encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/>\
         <store xmlns='urn:xmpp:hints'/></message>",
        "q83vEjRWeJA=".repeat(54)
    )
}

/// A message of 10 KiB of text, most of it Cyrillic, with an escape here and there.
#[must_use]
pub fn long() -> String {
    let line = "Ромео &amp; Джульетта: \u{ab}О, как дерусь я?\u{bb} - said he. It's no more.\n";
    let lines = 10_240 / line.len();
    format!(
        "<message to='romeo@montague.example' type='chat' id='c2'><body>{}</body></message>",
        line.repeat(lines)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn have_the_sizes_that_reports_name() {
        assert_eq!([CHAT.len(), PRESENCE.len(), IQ.len(), omemo().len()], [479, 203, 230, 2_006]);
        assert!((10_000..=10_240).contains(&long().len()));
    }
}
