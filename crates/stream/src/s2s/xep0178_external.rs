//! XEP-0178: Best Practices for Use of SASL EXTERNAL with Certificates, version 1.2.
//!
//! Who signs in between servers, where a certificate says who they are.
//! Implements: §3 (between servers); what a certificate proves is judged by the shell.
//! Left out: nothing of §3. Clients (§2) are signed in by the c2s machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_jid::prep_domain;
use stentor_xml::Writer;

use crate::ns;

/// Signs in as a domain; older servers want the identity.
pub(super) fn write_auth(w: &mut Writer, domain: &str) {
    let identity = STANDARD.encode(domain);
    w.open("auth", ns::SASL).attr("mechanism", "EXTERNAL").text(&identity).close();
}

/// §3: an authorization identity is absent, empty, or the stream's `from`.
pub(super) fn names(authzid: Option<&[u8]>, from: &str) -> bool {
    match authzid {
        None | Some([]) => true,
        Some(authzid) => std::str::from_utf8(authzid)
            .ok()
            .and_then(|authzid| prep_domain(authzid).ok())
            .is_some_and(|authzid| authzid == from),
    }
}
