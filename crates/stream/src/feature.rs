//! Stream features (RFC 6120 §4.3.2), as data.
//!
//! A feature names what must hold before it is offered and what forbids it. The list in this file
//! is the only place where features are registered; which state comes next follows from the same
//! bits.

use stentor_sasl::{Bindings, Mechanism};
use stentor_xml::Writer;

use crate::c2s::HostOffer;
use crate::xep0478_limits::StreamLimits;
use crate::{
    ns, xep0198_sm, xep0386_bind2, xep0388_sasl2, xep0440_bindings, xep0480_upgrade, xep0484_fast,
};

/// A set of facts about a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits(u16);

impl Bits {
    /// No fact at all.
    pub const NONE: Self = Self(0);
    /// The connection is encrypted.
    pub const TLS: Self = Self(1);
    /// It is encrypted, or the host does not insist on it.
    pub const SEALED: Self = Self(1 << 1);
    /// The client has signed in.
    pub const AUTHENTICATED: Self = Self(1 << 2);
    /// There is channel binding data.
    pub const BINDINGS: Self = Self(1 << 3);
    /// There is a mechanism to offer.
    pub const MECHANISMS: Self = Self(1 << 4);
    /// The host lets strangers register.
    pub const REGISTRATION: Self = Self(1 << 5);
    /// The host has versions of rosters.
    pub const ROSTER_VERSIONS: Self = Self(1 << 6);
    /// The host lets users approve subscriptions before they are asked.
    pub const PRE_APPROVAL: Self = Self(1 << 7);
    /// The server has a certificate for the host.
    pub const CERTIFICATE: Self = Self(1 << 8);
    /// The host speaks XEP-0388.
    pub const EXTENDED: Self = Self(1 << 9);
    /// A resource is bound.
    pub const BOUND: Self = Self(1 << 10);
    /// The host has stream management.
    pub const MANAGEMENT: Self = Self(1 << 11);
    /// The stream has stream management on.
    pub const MANAGED: Self = Self(1 << 12);

    /// The facts of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These facts, if `holds`.
    #[must_use]
    pub const fn when(self, holds: bool) -> Self {
        if holds { self } else { Self::NONE }
    }

    /// Whether all facts of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any fact of `other` is among these.
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A feature that code outside this crate answers for, such as entity capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFeature {
    /// What must hold before it is offered.
    pub necessary: Bits,
    /// What forbids it.
    pub prohibited: Bits,
    /// The whole element, with its namespace declared.
    pub xml: Box<str>,
}

/// What a feature may look at when it is written.
pub(crate) struct Offering<'a> {
    pub(crate) bits: Bits,
    pub(crate) host: &'a HostOffer,
    /// The channel bindings that are listed.
    pub(crate) bindings: Option<&'a Bindings>,
    pub(crate) mechanisms: &'a [Mechanism],
    pub(crate) tokens: &'a [Mechanism],
    pub(crate) limits: StreamLimits,
}

impl Offering<'_> {
    /// Writes the features that this stage of the stream offers, without the element round them.
    pub(crate) fn write(&self, w: &mut Writer) {
        for feature in ALL {
            if self.may_offer(feature.necessary, feature.prohibited) {
                (feature.write)(w, self);
            }
        }
        for extra in &self.host.features {
            if self.may_offer(extra.necessary, extra.prohibited) {
                w.raw(extra.xml.as_bytes());
            }
        }
    }

    const fn may_offer(&self, necessary: Bits, prohibited: Bits) -> bool {
        self.bits.has(necessary) && !self.bits.has_any(prohibited)
    }
}

/// The mechanisms that may be used on a stream with these facts, in the host's order.
pub(crate) fn usable_mechanisms(
    host: &HostOffer,
    bits: Bits,
    has_client_cert: bool,
) -> Vec<Mechanism> {
    let is_usable = |mechanism: &Mechanism| match mechanism {
        // RFC 6120 §13.8.3: never a password in the clear.
        Mechanism::Plain => bits.has(Bits::TLS),
        Mechanism::External => has_client_cert && bits.has(Bits::TLS),
        m if m.is_plus() => bits.has(Bits::BINDINGS),
        _ => true,
    };
    host.mechanisms.iter().copied().filter(is_usable).collect()
}

/// The mechanisms for tokens that may be used on a stream with these bindings.
pub(crate) fn usable_tokens(host: &HostOffer, bindings: &Bindings) -> Vec<Mechanism> {
    let Some(extended) = &host.extended else { return Vec::new() };
    let is_bound = |m: &Mechanism| m.token_binding().is_none_or(|b| bindings.data(b).is_some());
    extended.tokens.iter().copied().filter(is_bound).collect()
}

/// Writes `<authentication/>` (XEP-0388 §2.1).
fn write_authentication(w: &mut Writer, offering: &Offering<'_>) {
    let Some(extended) = &offering.host.extended else { return };
    w.open("authentication", xep0388_sasl2::NS);
    for mechanism in offering.mechanisms {
        w.text_element("mechanism", xep0388_sasl2::NS, mechanism.name());
    }
    w.open("inline", xep0388_sasl2::NS);
    let has_management = offering.bits.has(Bits::MANAGEMENT);
    if let Some(features) = &extended.bind {
        let managed = has_management.then_some(ns::SM);
        xep0386_bind2::write_feature(w, features.iter().map(AsRef::as_ref).chain(managed));
    }
    if has_management {
        xep0198_sm::write_feature(w);
    }
    if !offering.tokens.is_empty() {
        xep0484_fast::write_feature(w, offering.tokens);
    }
    w.close();
    xep0480_upgrade::write_feature(w, &extended.upgrades);
    w.close();
}

struct Feature {
    necessary: Bits,
    prohibited: Bits,
    write: fn(&mut Writer, &Offering<'_>),
}

/// Every feature of ours. The order has no meaning for a client (§4.3.2).
const ALL: &[Feature] = &[
    Feature {
        necessary: Bits::CERTIFICATE,
        prohibited: Bits::TLS.and(Bits::AUTHENTICATED),
        write: |w, offering| {
            w.open("starttls", ns::TLS);
            if offering.host.tls_required {
                w.leaf("required", ns::TLS);
            }
            w.close();
        },
    },
    Feature {
        necessary: Bits::SEALED.and(Bits::BINDINGS).and(Bits::MECHANISMS),
        prohibited: Bits::AUTHENTICATED,
        write: |w, offering| {
            if let Some(bindings) = offering.bindings {
                xep0440_bindings::write(w, bindings);
            }
        },
    },
    Feature {
        necessary: Bits::SEALED.and(Bits::MECHANISMS),
        prohibited: Bits::AUTHENTICATED,
        write: |w, offering| {
            w.open("mechanisms", ns::SASL);
            for mechanism in offering.mechanisms {
                w.text_element("mechanism", ns::SASL, mechanism.name());
            }
            w.close();
        },
    },
    Feature {
        // XEP-0388 §3: over TLS only.
        necessary: Bits::TLS.and(Bits::MECHANISMS).and(Bits::EXTENDED),
        prohibited: Bits::AUTHENTICATED,
        write: write_authentication,
    },
    Feature {
        necessary: Bits::SEALED.and(Bits::REGISTRATION),
        prohibited: Bits::AUTHENTICATED,
        write: |w, _| {
            w.leaf("register", ns::REGISTER_FEATURE);
        },
    },
    Feature {
        necessary: Bits::AUTHENTICATED,
        prohibited: Bits::BOUND,
        write: |w, _| {
            w.leaf("bind", ns::BIND);
        },
    },
    Feature {
        necessary: Bits::AUTHENTICATED,
        prohibited: Bits::BOUND,
        write: |w, _| {
            // RFC 6121 Appendix E: clients of RFC 3921 look for it; `optional` lets others skip it.
            w.open("session", ns::SESSION);
            w.leaf("optional", ns::SESSION);
            w.close();
        },
    },
    Feature {
        necessary: Bits::AUTHENTICATED.and(Bits::ROSTER_VERSIONS),
        prohibited: Bits::NONE,
        write: |w, _| {
            w.leaf("ver", ns::ROSTER_VERSIONS);
        },
    },
    Feature {
        necessary: Bits::AUTHENTICATED.and(Bits::PRE_APPROVAL),
        prohibited: Bits::NONE,
        write: |w, _| {
            w.leaf("sub", ns::PRE_APPROVAL);
        },
    },
    Feature {
        necessary: Bits::AUTHENTICATED,
        prohibited: Bits::NONE,
        write: |w, offering| offering.limits.write(w),
    },
    Feature {
        necessary: Bits::AUTHENTICATED.and(Bits::MANAGEMENT),
        // Who sees it there asks once more, and takes the refusal for the end of what it has.
        prohibited: Bits::MANAGED,
        write: |w, _| xep0198_sm::write_feature(w),
    },
];
