//! Addresses without a resourcepart.

use crate::by_string::impl_by_string;
use crate::{FullJid, Jid, JidError};

/// `localpart@domainpart` or `domainpart`: an account, a room, a server (RFC 7622 §3.5).
#[derive(Clone, PartialEq)]
pub struct BareJid(Jid);

impl BareJid {
    /// Prepares and checks an address that has no resourcepart.
    ///
    /// # Errors
    ///
    /// As for [`Jid::new`], and [`JidError::HasResource`].
    pub fn new(text: &str) -> Result<Self, JidError> {
        Jid::new(text)?.try_into()
    }

    /// Prepares the parts and joins them.
    ///
    /// # Errors
    ///
    /// As for [`Jid::from_parts`].
    pub fn from_parts(local: Option<&str>, domain: &str) -> Result<Self, JidError> {
        Jid::from_parts(local, domain, None).map(Self)
    }

    /// `jid` must have no resourcepart.
    pub(crate) fn from_bare(jid: Jid) -> Self {
        debug_assert!(jid.is_bare());
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

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether there is nothing but a domainpart.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        self.0.is_domain()
    }

    /// The address of the domain alone; shares the string if there is nothing else.
    #[must_use]
    pub fn to_domain(&self) -> Self {
        self.0.to_domain()
    }

    /// The full address with this resourcepart.
    ///
    /// # Errors
    ///
    /// What [`prep_resource`](crate::prep_resource) finds.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        self.0.with_resource(resource)
    }
}

impl_by_string!(BareJid);

impl TryFrom<Jid> for BareJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        if jid.is_bare() { Ok(Self(jid)) } else { Err(JidError::HasResource) }
    }
}

impl From<BareJid> for Jid {
    fn from(jid: BareJid) -> Self {
        jid.0
    }
}

impl AsRef<Jid> for BareJid {
    fn as_ref(&self) -> &Jid {
        &self.0
    }
}

impl PartialEq<Jid> for BareJid {
    fn eq(&self, other: &Jid) -> bool {
        self.0 == *other
    }
}
