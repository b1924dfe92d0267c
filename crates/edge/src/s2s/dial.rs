//! Connections to other servers: addresses, TLS, and what their certificates are worth.

use std::time::Duration;

use stentor_transport::{Conn, dial};

use super::Federation;
use super::certificates::{Proof, proves, tls_name};
use super::discovery::Target;
use super::failure::Failure;
use super::rfc7673_dane::Dane;
use super::rfc8305_race::race;
use super::xep0368_direct_tls::is_for_servers;
use crate::limits::S2S_HANDSHAKE_WAIT_MS;

/// Connects to the first address that answers, with TLS if that comes first.
pub(crate) async fn connect(
    federation: &Federation,
    local: &str,
    remote: &str,
    target: &Target,
) -> Result<Conn, Failure> {
    let wait = Duration::from_millis(federation.policy.connect_wait_ms);
    let dialled = race(&target.addresses, wait, dial).await;
    let mut conn = dialled.map_err(Failure::Unreachable)?;
    if target.is_direct_tls {
        secure(federation, &mut conn, local, remote, true, &[])
            .await
            .map_err(Failure::Unreachable)?;
        let tls = conn.facts().tls.as_ref();
        if !is_for_servers(tls.and_then(|tls| tls.alpn.as_deref())) {
            return Err(Failure::Unreachable("the port speaks another protocol".to_owned()));
        }
        admit(federation, &conn, remote, &target.dane)?;
    }
    Ok(conn)
}

/// Secures a connection with the certificate of the domain that speaks.
pub(crate) async fn secure(
    federation: &Federation,
    conn: &mut Conn,
    local: &str,
    remote: &str,
    is_direct: bool,
    leftover: &[u8],
) -> Result<(), String> {
    let connectors = &federation.connectors;
    let connectors = if is_direct { &connectors.direct } else { &connectors.starttls };
    let name = |domain| tls_name(domain).map_err(|error| error.to_string());
    let (connector, name) = (connectors.of(&name(local)?), name(remote)?);
    let handshake = conn.connect_tls(&connector, &name, leftover);
    let wait = Duration::from_millis(S2S_HANDSHAKE_WAIT_MS);
    match tokio::time::timeout(wait, handshake).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("TLS: {error}")),
        Err(_) => Err("TLS: the handshake took too long".to_owned()),
    }
}

/// What the server's certificate proves its domain by; the reason if it does not.
pub(crate) fn judge(
    federation: &Federation,
    conn: &Conn,
    remote: &str,
    dane: &Dane,
) -> Result<Proof, String> {
    match &conn.facts().tls {
        None => Err("the connection is not encrypted".to_owned()),
        Some(facts) => {
            let judged = proves(&facts.server_certs, &federation.roots, remote, dane);
            judged.map_err(|error| error.to_string())
        }
    }
}

/// Whether a server is spoken to under TLS: a certificate that proves nothing is enough only where
/// dialback is, and never against a TLSA record (RFC 6698 §4.1).
pub(crate) fn admit(
    federation: &Federation,
    conn: &Conn,
    remote: &str,
    dane: &Dane,
) -> Result<(), Failure> {
    let may_be_unproven =
        federation.policy.terms(remote).allows_dialback && dane.associations.is_empty();
    match judge(federation, conn, remote, dane) {
        Err(reason) if !may_be_unproven => Err(Failure::Certificate(reason)),
        _ => Ok(()),
    }
}
