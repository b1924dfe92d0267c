//! What negotiation has learnt so far, and what it may still take.

use std::sync::Arc;

use smol_str::SmolStr;
use stentor_jid::BareJid;
use stentor_sasl::{Bindings, Mechanism};
use stentor_stanza::Lang;
use stentor_xml::{Writer, ns as xml_ns};

use super::wire::Wire;
use super::{HostOffer, TlsInfo, Tokens};
use crate::Millis;
use crate::feature::{Bits, Offering, usable_mechanisms, usable_tokens};
use crate::framing::{OurHeader, tcp};
use crate::opening::SUPPORTED_VERSION;
use crate::xep0478_limits::StreamLimits;
use crate::xep0509_pipelining;

/// Shared by the states of negotiation; dropped when the session is bound.
pub(super) struct Known {
    pub(super) tokens: Tokens,
    pub(super) tls: Option<TlsInfo>,
    pub(super) host: Option<Arc<HostOffer>>,
    /// Who signed in.
    pub(super) account: Option<BareJid>,
    /// Whether a resource came with that.
    pub(super) is_bound: bool,
    /// Whether stream management came with that as well.
    pub(super) is_managed: bool,
    /// The version of the features that the client has been sent (XEP-0509).
    pub(super) config_version: Option<String>,
    /// Who the client says it is; only after TLS is it compared with who signs in.
    pub(super) claimed: Option<BareJid>,
    /// The default language of its stanzas.
    pub(super) lang: Option<Lang>,
    /// The version for our header (RFC 6120 §4.7.5); none if the client has none.
    pub(super) version: Option<SmolStr>,
    /// Whether our header of the present stream is out.
    pub(super) has_answered: bool,
    /// When the first header must be here; none once it is.
    pub(super) header_by: Option<Millis>,
    /// When the session must be bound.
    pub(super) sign_in_by: Millis,
    pub(super) auth_failures: u8,
    pub(super) bind_failures: u8,
    pub(super) stream_iqs: u8,
}

impl Known {
    pub(super) fn new(tls: Option<TlsInfo>, tokens: Tokens, wire: &Wire) -> Self {
        Self {
            tokens,
            tls,
            host: None,
            account: None,
            is_bound: false,
            is_managed: false,
            config_version: None,
            claimed: None,
            lang: None,
            version: Some(SUPPORTED_VERSION.into()),
            has_answered: false,
            header_by: Some(wire.now.plus(wire.settings.header_wait_ms)),
            sign_in_by: wire.now.plus(wire.settings.sign_in_wait_ms),
            auth_failures: 0,
            bind_failures: 0,
            stream_iqs: 0,
        }
    }

    /// Forgets what the last header said: the stream starts again (RFC 6120 §4.3.3).
    pub(super) fn restart(&mut self, wire: &mut Wire) {
        self.claimed = None;
        self.lang = None;
        self.version = Some(SUPPORTED_VERSION.into());
        self.has_answered = false;
        wire.scanner.restart();
    }

    /// Writes our header, once for each stream.
    pub(super) fn answer_header(&mut self, wire: &mut Wire) {
        if std::mem::replace(&mut self.has_answered, true) {
            return;
        }
        let id = (self.tokens)();
        let settings = Arc::clone(&wire.settings);
        let from = self.host.as_deref().map_or_else(
            || settings.default_host.as_deref().unwrap_or(&settings.name),
            |host| &host.domain,
        );
        let header = OurHeader {
            content_ns: xml_ns::CLIENT,
            from: Some(from),
            to: self.claimed.as_ref().map(BareJid::as_str),
            id: Some(&id),
            version: self.version.as_deref(),
            lang: LANG,
        };
        tcp::write_header(wire.out(), &header);
    }

    /// Writes the features of this stage (RFC 6120 §4.3.2).
    pub(super) fn write_features(&mut self, host: &HostOffer, wire: &mut Wire) {
        let limits = StreamLimits {
            bytes_max: u64::try_from(wire.settings.limits.frame_bytes_max).ok(),
            idle_secs: Some(wire.settings.idle.after_ms / 1000).filter(|&secs| secs > 0),
        };
        let mechanisms = self.mechanisms();
        let tokens = self.token_mechanisms();
        let bits = self.bits();
        let offering = Offering {
            bits,
            host,
            bindings: self.listed_bindings(&mechanisms),
            mechanisms: &mechanisms,
            tokens: &tokens,
            limits,
        };
        let mut w = Writer::new();
        offering.write(&mut w);
        if bits.has(Bits::EXTENDED) && !bits.has(Bits::AUTHENTICATED) {
            let features = w.into_bytes();
            let version = xep0509_pipelining::version(&features);
            w = Writer::over(features);
            xep0509_pipelining::write(&mut w, &version);
            self.config_version = Some(version);
        }
        let features = w.into_bytes();
        wire.write(|w| {
            w.raw(b"<stream:features>").raw(&features).raw(b"</stream:features>");
        });
    }

    /// What holds on this stream.
    pub(super) fn bits(&self) -> Bits {
        self.connection_bits().and(Bits::MECHANISMS.when(!self.mechanisms().is_empty()))
    }

    /// Whether the header says that the client is somebody else. Before TLS it binds nobody
    /// (RFC 6120 §6.4.6).
    pub(super) fn is_claimed_by_another(&self, account: &BareJid) -> bool {
        self.tls.is_some() && self.claimed.as_ref().is_some_and(|claimed| claimed != account)
    }

    /// The domain that serves the client, once it is known.
    pub(super) fn domain(&self) -> Option<&str> {
        self.host.as_deref().map(|host| host.domain.as_str())
    }

    /// The mechanisms that the client may use here.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let Some(host) = &self.host else { return Vec::new() };
        let has_cert = self.tls.as_ref().is_some_and(|tls| tls.client_cert);
        usable_mechanisms(host, self.connection_bits(), has_cert)
    }

    /// The channel bindings that are listed beside these mechanisms: none where no mechanism binds,
    /// which a client must take for an attack (XEP-0440 §3, rule 5).
    pub(super) fn listed_bindings(&self, mechanisms: &[Mechanism]) -> Option<&Bindings> {
        let tls = self.tls.as_ref().filter(|tls| !tls.bindings.is_empty())?;
        mechanisms.iter().any(|mechanism| mechanism.is_plus()).then_some(&tls.bindings)
    }

    /// The mechanisms for tokens that the client may use here.
    pub(super) fn token_mechanisms(&self) -> Vec<Mechanism> {
        match (&self.host, &self.tls) {
            (Some(host), Some(tls)) => usable_tokens(host, &tls.bindings),
            _ => Vec::new(),
        }
    }

    fn connection_bits(&self) -> Bits {
        let has_bindings = self.tls.as_ref().is_some_and(|tls| !tls.bindings.is_empty());
        let bits = Bits::TLS
            .when(self.tls.is_some())
            .and(Bits::BINDINGS.when(has_bindings))
            .and(Bits::AUTHENTICATED.when(self.account.is_some()))
            .and(Bits::BOUND.when(self.is_bound))
            .and(Bits::MANAGED.when(self.is_managed));
        let Some(host) = &self.host else { return bits };
        bits.and(Bits::SEALED.when(self.tls.is_some() || !host.tls_required))
            .and(Bits::CERTIFICATE.when(host.starttls))
            .and(Bits::EXTENDED.when(self.tls.is_some() && host.extended.is_some()))
            .and(Bits::REGISTRATION.when(host.registration))
            .and(Bits::ROSTER_VERSIONS.when(host.roster_versions))
            .and(Bits::PRE_APPROVAL.when(host.pre_approval))
            .and(Bits::MANAGEMENT.when(host.management))
    }
}

/// The language of all our texts (RFC 6120 §4.7.4: the default when the client's is not at hand).
const LANG: &str = "en";
