//! Addresses with a resourcepart.

use crate::by_string::impl_by_string;
use crate::{BareJid, Jid, JidError};

/// `localpart@domainpart/resourcepart` or `domainpart/resourcepart`: a session, an occupant of a
/// room (RFC 7622 §3.5).
#[derive(Clone, PartialEq)]
pub struct FullJid(Jid);

impl FullJid {
    /// Prepares and checks an address that has a resourcepart.
    ///
    /// # Errors
    ///
    /// As for [`Jid::new`], and [`JidError::NoResource`].
    pub fn new(text: &str) -> Result<Self, JidError> {
        Jid::new(text)?.try_into()
    }

    /// Prepares the parts and joins them.
    ///
    /// # Errors
    ///
    /// As for [`Jid::from_parts`].
    pub fn from_parts(local: Option<&str>, domain: &str, resource: &str) -> Result<Self, JidError> {
        Jid::from_parts(local, domain, Some(resource)).map(Self)
    }

    /// `jid` must have a resourcepart.
    pub(crate) fn from_full(jid: Jid) -> Self {
        debug_assert!(jid.is_full());
        Self(jid)
    }

    /// The same address as one of any kind.
    #[must_use]
    pub fn as_jid(&self) -> &Jid {
        &self.0
    }

    /// The localpart, if there is one.
    #[must_use]
    pub fn local(&self) -> Option<&str> {
        self.0.local()
    }

    /// The domainpart: U-labels, or an IP address.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The resourcepart.
    #[must_use]
    pub fn resource(&self) -> &str {
        // Never empty: there is no value of this type without one.
        self.0.resource().unwrap_or_default()
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address without its resourcepart, as a string.
    #[must_use]
    pub fn bare_str(&self) -> &str {
        self.0.bare_str()
    }

    /// The address without its resourcepart.
    #[must_use]
    pub fn to_bare(&self) -> BareJid {
        self.0.to_bare()
    }

    /// The address of the domain alone.
    #[must_use]
    pub fn to_domain(&self) -> BareJid {
        self.0.to_domain()
    }

    /// The address of another resource beside this one.
    ///
    /// # Errors
    ///
    /// What [`prep_resource`](crate::prep_resource) finds.
    pub fn with_resource(&self, resource: &str) -> Result<Self, JidError> {
        self.0.with_resource(resource)
    }
}

impl_by_string!(FullJid);

impl TryFrom<Jid> for FullJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        if jid.is_full() { Ok(Self(jid)) } else { Err(JidError::NoResource) }
    }
}

impl From<FullJid> for Jid {
    fn from(jid: FullJid) -> Self {
        jid.0
    }
}

impl AsRef<Jid> for FullJid {
    fn as_ref(&self) -> &Jid {
        &self.0
    }
}

impl PartialEq<Jid> for FullJid {
    fn eq(&self, other: &Jid) -> bool {
        self.0 == *other
    }
}
