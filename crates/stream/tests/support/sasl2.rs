//! What a client says by XEP-0388.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stentor_sasl::{Bindings, Mechanism, client};
use stentor_stream::c2s::TlsInfo;
use stentor_stream::pair::{Accounts, Served, both_bindings};

use super::{At, served_by};

pub(crate) fn over_tls(accounts: Accounts) -> Served {
    let tls = TlsInfo { bindings: both_bindings(), ..TlsInfo::default() };
    Served::direct_tls(accounts, tls)
}

/// A machine whose features are out.
pub(crate) fn authenticating() -> Served {
    served_by(Accounts::extended(), At::Auth)
}

pub(crate) fn request(mechanism: &str, inner: &str) -> String {
    format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>{inner}</authenticate>")
}

/// Juliet's password, and what else she asks for.
pub(crate) fn plain(inner: &str) -> String {
    let data = STANDARD.encode("\0juliet\0r0m30myr0m30");
    request("PLAIN", &format!("<initial-response>{data}</initial-response>{inner}"))
}

pub(crate) fn token_exchange(mechanism: Mechanism, token: &str) -> client::Exchange {
    client::Exchange::with_token(mechanism, "juliet", token, &both_bindings()).unwrap()
}

/// Juliet's token, and what else she asks for.
pub(crate) fn token_request(mechanism: Mechanism, token: &str, inner: &str) -> String {
    let data = STANDARD.encode(token_exchange(mechanism, token).first().unwrap());
    let initial = format!("<initial-response>{data}</initial-response>");
    request(mechanism.name(), &format!("{initial}{AGENT}{FAST}{inner}"))
}

/// Begins SCRAM; returns the response that ends it.
pub(crate) fn scram(
    served: &mut Served,
    mechanism: Mechanism,
    inner: &str,
) -> (client::Exchange, String) {
    let bindings = if mechanism.is_plus() { both_bindings() } else { Bindings::default() };
    let nonce = "nonce-of-the-client-of-tests";
    let mut exchange =
        client::Exchange::new(mechanism, "juliet", "r0m30myr0m30", None, &bindings, nonce).unwrap();
    // XEP-0474: the server tells what it listed, and the client believes nothing else.
    exchange.expect(&stentor_sasl::Offered {
        mechanisms: &[
            "PLAIN",
            "SCRAM-SHA-1",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-256",
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-512",
            "SCRAM-SHA-512-PLUS",
        ],
        bindings: &["tls-exporter", "tls-server-end-point"],
    });
    let data = STANDARD.encode(exchange.first().unwrap());
    let initial = format!("<initial-response>{data}</initial-response>");
    let said = served.say(&request(mechanism.name(), &format!("{initial}{inner}")));
    let challenge = element_data(&said, "challenge xmlns='urn:xmpp:sasl:2'");
    assert!(String::from_utf8(challenge.clone()).unwrap().contains(",h="));
    let response = STANDARD.encode(exchange.step(&challenge).unwrap());
    (exchange, format!("<response xmlns='urn:xmpp:sasl:2'>{response}</response>"))
}

pub(crate) fn hash(salted: &[u8]) -> String {
    let data = STANDARD.encode(salted);
    format!(
        "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>{data}</hash>\
         </task-data>"
    )
}

/// What the first element of this name holds.
pub(crate) fn element_data(said: &str, name: &str) -> Vec<u8> {
    let (_, rest) = said.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{said}"));
    STANDARD.decode(rest.split_once('<').unwrap().0).unwrap()
}

pub(crate) fn failure(condition: &str) -> String {
    format!(
        "<failure xmlns='urn:xmpp:sasl:2'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>"
    )
}

pub(crate) const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
pub(crate) const AGENT: &str = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>";
pub(crate) const FAST: &str = "<fast xmlns='urn:xmpp:fast:0'/>";
