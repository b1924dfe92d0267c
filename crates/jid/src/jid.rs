//! Any address, in canonical form.

use std::sync::Arc;

use crate::by_string::impl_by_string;
use crate::prep::ascii::{self, Ascii};
use crate::{BareJid, FullJid, JidError, limits, prep};

/// An address with or without localpart and resourcepart (RFC 7622), in canonical form.
///
/// Cloning counts a reference; equality, order and hash are those of the string, so that a map
/// with this key can be asked with a `&str` in canonical form.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Bytes of the localpart, 0 if there is none: an empty one is not allowed.
    local_bytes: u16,
    /// Bytes before the `/`, or of all the text.
    bare_bytes: u16,
}

impl Jid {
    /// Prepares and checks an address (RFC 7622 §3).
    ///
    /// One allocation if the string is ASCII and needs no more than lower case.
    ///
    /// # Errors
    ///
    /// The first reason found why the string is no address.
    pub fn new(text: &str) -> Result<Self, JidError> {
        let (local, domain, resource) = split(text);
        let mut folds = false;
        let parts = [
            local.map_or(Ascii::Canonical, ascii::local),
            ascii::domain(domain),
            resource.map_or(Ascii::Canonical, ascii::resource),
        ];
        for part in parts {
            match part {
                Ascii::Canonical => {}
                Ascii::UpperCase => folds = true,
                Ascii::Other => return Self::prepare(local, domain, resource),
            }
        }
        let bare_bytes = text.len() - resource.map_or(0, |resource| resource.len() + 1);
        let mut text: Arc<str> = Arc::from(text);
        if folds && let Some(text) = Arc::get_mut(&mut text) {
            text[..bare_bytes].make_ascii_lowercase();
        }
        Ok(Self::over(text, local.map_or(0, str::len), bare_bytes))
    }

    /// Prepares the parts and joins them.
    ///
    /// # Errors
    ///
    /// As for [`Jid::new`]; an empty localpart or resourcepart is not the same as none.
    pub fn from_parts(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
    ) -> Result<Self, JidError> {
        Self::prepare(local, domain, resource)
    }

    fn prepare(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
    ) -> Result<Self, JidError> {
        let local = local.map(prep::prep_local).transpose()?;
        let domain = prep::prep_domain(domain)?;
        let resource = resource.map(prep::prep_resource).transpose()?;
        Ok(Self::join(local.as_deref(), &domain, resource.as_deref()))
    }

    /// Joins parts that are canonical already.
    pub(crate) fn join(local: Option<&str>, domain: &str, resource: Option<&str>) -> Self {
        let mut text = String::with_capacity(
            local.map_or(0, |part| part.len() + 1)
                + domain.len()
                + resource.map_or(0, |part| part.len() + 1),
        );
        if let Some(local) = local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(domain);
        let bare_bytes = text.len();
        if let Some(resource) = resource {
            text.push('/');
            text.push_str(resource);
        }
        Self::over(Arc::from(text), local.map_or(0, str::len), bare_bytes)
    }

    /// Notes where the parts of a canonical string end.
    fn over(text: Arc<str>, local_bytes: usize, bare_bytes: usize) -> Self {
        debug_assert!(local_bytes <= limits::PART_BYTES_MAX && bare_bytes <= text.len());
        debug_assert!(bare_bytes <= 2 * limits::PART_BYTES_MAX + 1);
        #[expect(clippy::cast_possible_truncation, reason = "every part is at most 1,023 bytes")]
        Self { text, local_bytes: local_bytes as u16, bare_bytes: bare_bytes as u16 }
    }

    /// The localpart, if there is one.
    #[must_use]
    pub fn local(&self) -> Option<&str> {
        (self.local_bytes > 0).then(|| &self.text[..usize::from(self.local_bytes)])
    }

    /// The domainpart: U-labels, or an IP address.
    #[must_use]
    pub fn domain(&self) -> &str {
        let start = match self.local_bytes {
            0 => 0,
            bytes => usize::from(bytes) + 1,
        };
        &self.text[start..usize::from(self.bare_bytes)]
    }

    /// The resourcepart, if there is one.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.bare_bytes) + 1..)
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address without its resourcepart, as a string.
    #[must_use]
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.bare_bytes)]
    }

    /// Whether there is no resourcepart.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.text.len() == usize::from(self.bare_bytes)
    }

    /// Whether there is a resourcepart.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.is_bare()
    }

    /// Whether there is nothing but a domainpart.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        self.local_bytes == 0 && self.is_bare()
    }

    /// The address without its resourcepart; shares the string if there is none.
    #[must_use]
    pub fn to_bare(&self) -> BareJid {
        BareJid::from_bare(if self.is_bare() {
            self.clone()
        } else {
            Self { text: Arc::from(self.bare_str()), ..*self }
        })
    }

    /// The address of the domain alone; shares the string if there is nothing else.
    #[must_use]
    pub fn to_domain(&self) -> BareJid {
        BareJid::from_bare(if self.is_domain() {
            self.clone()
        } else {
            Self::join(None, self.domain(), None)
        })
    }

    /// The same address, shared, if it has a resourcepart.
    #[must_use]
    pub fn as_full(&self) -> Option<FullJid> {
        FullJid::try_from(self.clone()).ok()
    }

    /// The same address with this resourcepart in place of any it has.
    ///
    /// # Errors
    ///
    /// What [`prep_resource`](crate::prep_resource) finds.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource = prep::prep_resource(resource)?;
        Ok(FullJid::from_full(Self::join(self.local(), self.domain(), Some(&resource))))
    }

    /// Whether both share one string.
    #[cfg(test)]
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl_by_string!(Jid);

/// The parts by RFC 7622 §3.2: the first `/` ends the bare address, the first `@` before it ends
/// the localpart.
fn split(text: &str) -> (Option<&str>, &str, Option<&str>) {
    let (bare, resource) = match text.split_once('/') {
        Some((bare, resource)) => (bare, Some(resource)),
        None => (text, None),
    };
    match bare.split_once('@') {
        Some((local, domain)) => (Some(local), domain, resource),
        None => (None, bare, resource),
    }
}
