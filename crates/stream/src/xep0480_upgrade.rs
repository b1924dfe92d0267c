//! XEP-0480: SASL Upgrade Tasks, version 0.2.0.
//!
//! Lets a client that knows its password give an account the SCRAM keys that it lacks.
//! Implements: §2, §3, for SCRAM with SHA-1, SHA-256 and SHA-512.
//! Left out: tasks for keys that the account already has, which are passed over without a word.
//! Status: complete

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::Hash;
use stentor_xml::{ElementRef, Writer};

use crate::xep0388_sasl2::{NS as NS_SASL2, read_data};

/// The name of the task that makes keys of this hash.
pub(crate) fn task(hash: Hash) -> String {
    format!("{PREFIX}{}", hash.name())
}

/// Writes the upgrades among the features (§2.1).
pub(crate) fn write_feature(w: &mut Writer, hashes: &[Hash]) {
    for &hash in hashes {
        w.text_element("upgrade", NS, &task(hash));
    }
}

/// The upgrades that a client asks for, or a server lists, once each (§2.2).
pub(crate) fn read_wishes(element: ElementRef<'_>) -> Vec<Hash> {
    let wishes = element.children().filter(|child| child.is(NS, "upgrade"));
    let named: Vec<String> = wishes.map(|child| child.text().trim().to_owned()).collect();
    Hash::ALL.into_iter().filter(|&hash| named.contains(&task(hash))).collect()
}

/// Writes what the client needs to derive the keys (§3).
pub(crate) fn write_salt(w: &mut Writer, salt: &[u8], iterations: u32) {
    w.open("task-data", NS_SASL2);
    w.open("salt", NS_SCRAM).attr("iterations", &iterations.to_string());
    w.text(&STANDARD.encode(salt)).close();
    w.close();
}

/// Reads what [`write_salt`] wrote.
pub(crate) fn read_salt(task_data: ElementRef<'_>) -> Option<(Vec<u8>, u32)> {
    let salt = task_data.child(NS_SCRAM, "salt")?;
    let iterations = salt.attr("iterations")?.parse().ok()?;
    Some((read_data(salt).ok()?, iterations))
}

/// Writes a client's answer.
pub(crate) fn write_hash(w: &mut Writer, salted: &[u8]) {
    w.open("task-data", NS_SASL2);
    w.text_element("hash", NS_SCRAM, &STANDARD.encode(salted));
    w.close();
}

/// Reads what [`write_hash`] wrote.
///
/// # Errors
/// The condition to fail with.
pub(crate) fn read_hash(task_data: ElementRef<'_>) -> Result<Vec<u8>, stentor_sasl::Condition> {
    let hash = task_data.child(NS_SCRAM, "hash");
    read_data(hash.ok_or(stentor_sasl::Condition::MalformedRequest)?)
}

const NS: &str = "urn:xmpp:sasl:upgrade:0";
const NS_SCRAM: &str = "urn:xmpp:scram-upgrade:0";
const PREFIX: &str = "UPGR-SCRAM-";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let frame = Frame::build(|w| write_salt(w, b"QSXCR+Q6", 4096));
        assert_eq!(read_salt(frame.root()), Some((b"QSXCR+Q6".to_vec(), 4096)));
        let frame = Frame::build(|w| write_hash(w, b"salted"));
        assert_eq!(read_hash(frame.root()), Ok(b"salted".to_vec()));
        let frame = Frame::build(|w| {
            w.open("authentication", NS_SASL2);
            write_feature(w, &[Hash::Sha512, Hash::Sha256, Hash::Sha512]);
            w.text_element("upgrade", NS, "UPGR-SCRAM-SHA-256-PLUS").close();
        });
        assert_eq!(read_wishes(frame.root()), [Hash::Sha256, Hash::Sha512]);
    }
}
