//! Any address, in canonical form.

use triomphe::{Arc, HeaderSlice};

use crate::by_string::impl_by_string;
use crate::prep::ascii;
use crate::{BareJid, FullJid, JidError, limits, prep, recent};

/// An address with or without localpart and resourcepart (RFC 7622), in canonical form.
///
/// Cloning counts a reference; equality, order and hash are those of the string, so that a map
/// with this key can be asked with a `&str` in canonical form.
#[derive(Clone)]
pub struct Jid(Arc<HeaderSlice<Parts, str>>);

/// Where the parts of an address end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    /// Bytes of the localpart, 0 if there is none: an empty one is not allowed.
    local_bytes: u16,
    /// Bytes before the `/`, or of all the text.
    bare_bytes: u16,
    is_verbatim: bool,
}

impl Jid {
    /// Prepares and checks an address (RFC 7622 §3).
    ///
    /// One allocation if the string is ASCII and needs no more than lower case; none if it is
    /// canonical and the thread has met it again lately.
    ///
    /// # Errors
    ///
    /// The first reason found why the string is no address.
    #[inline]
    pub fn new(text: &str) -> Result<Self, JidError> {
        let mut is_again = false;
        match recent::find(text, &mut is_again) {
            Some(known) => Ok(known),
            None => Self::judge_and_remember(text, is_again),
        }
    }

    #[inline(never)]
    fn judge_and_remember(text: &str, is_again: bool) -> Result<Self, JidError> {
        let judged = Self::judge(text)?;
        if is_again && judged.as_str() == text {
            recent::remember(&judged);
        }
        Ok(judged)
    }

    /// As [`Jid::new`], without memory.
    pub(crate) fn judge(text: &str) -> Result<Self, JidError> {
        let Some(address) = ascii::address(text) else {
            let (local, domain, resource) = split(text);
            return Self::prepare(local, domain, resource);
        };
        let mut jid = Self::over(text, address.local_bytes, address.bare_bytes);
        if address.folds
            && let Some(block) = Arc::get_mut(&mut jid.0)
        {
            block.slice[..address.bare_bytes].make_ascii_lowercase();
        }
        Ok(jid)
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
        Self::over(&text, local.map_or(0, str::len), bare_bytes)
    }

    /// Copies a canonical string and notes where its parts end.
    fn over(text: &str, local_bytes: usize, bare_bytes: usize) -> Self {
        debug_assert!(local_bytes <= limits::PART_BYTES_MAX && bare_bytes <= text.len());
        debug_assert!(bare_bytes <= 2 * limits::PART_BYTES_MAX + 1);
        #[expect(clippy::cast_possible_truncation, reason = "every part is at most 1,023 bytes")]
        let parts = Parts {
            local_bytes: local_bytes as u16,
            bare_bytes: bare_bytes as u16,
            is_verbatim: !text[bare_bytes..].contains(['&', '<', '>', '\'', '"']),
        };
        Self(Arc::from_header_and_str(parts, text))
    }

    fn local_bytes(&self) -> usize {
        self.0.header.local_bytes.into()
    }

    fn bare_bytes(&self) -> usize {
        self.0.header.bare_bytes.into()
    }

    /// The localpart, if there is one.
    #[must_use]
    pub fn local(&self) -> Option<&str> {
        (self.local_bytes() > 0).then(|| &self.as_str()[..self.local_bytes()])
    }

    /// The domainpart: U-labels, or an IP address.
    #[must_use]
    pub fn domain(&self) -> &str {
        let start = match self.local_bytes() {
            0 => 0,
            bytes => bytes + 1,
        };
        &self.as_str()[start..self.bare_bytes()]
    }

    /// The resourcepart, if there is one.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.as_str().get(self.bare_bytes() + 1..)
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.slice
    }

    /// The address without its resourcepart, as a string.
    #[must_use]
    pub fn bare_str(&self) -> &str {
        &self.as_str()[..self.bare_bytes()]
    }

    /// Whether XML escapes nothing in it, neither in text nor in an attribute in either quotes.
    ///
    /// Only a resourcepart may have such characters (RFC 7622 §3.3.1), and no part a control
    /// character or what is no character.
    #[must_use]
    pub fn is_verbatim(&self) -> bool {
        self.0.header.is_verbatim
    }

    /// Whether there is no resourcepart.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.as_str().len() == self.bare_bytes()
    }

    /// Whether there is a resourcepart.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.is_bare()
    }

    /// Whether there is nothing but a domainpart.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        self.local_bytes() == 0 && self.is_bare()
    }

    /// The address without its resourcepart; shares the string if there is none, or if the thread
    /// has met it again lately.
    #[must_use]
    pub fn to_bare(&self) -> BareJid {
        if self.is_bare() {
            return BareJid::from_bare(self.clone());
        }
        let (bare, mut is_again) = (self.bare_str(), false);
        BareJid::from_bare(recent::find(bare, &mut is_again).unwrap_or_else(|| {
            let cut = Self::over(bare, self.local_bytes(), bare.len());
            if is_again {
                recent::remember(&cut);
            }
            cut
        }))
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
}

impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
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

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Part;

    #[test]
    fn is_small() {
        assert!(size_of::<Jid>() <= 16);
        assert!(size_of::<Option<FullJid>>() <= 16);
    }

    #[test]
    fn names_the_parts() {
        let full = Jid::new("juliet@capulet.example/balcony").unwrap();
        assert_eq!(
            (full.local(), full.domain(), full.resource()),
            (Some("juliet"), "capulet.example", Some("balcony"))
        );
        assert_eq!(full.bare_str(), "juliet@capulet.example");
        assert!(full.is_full() && !full.is_bare() && !full.is_domain());

        let host = Jid::new("capulet.example").unwrap();
        assert_eq!((host.local(), host.domain(), host.resource()), (None, "capulet.example", None));
        assert!(host.is_bare() && host.is_domain() && host.as_full().is_none());

        let service = Jid::new("capulet.example/announce/motd").unwrap();
        assert_eq!((service.local(), service.resource()), (None, Some("announce/motd")));
        assert!(!service.is_domain());
    }

    #[test]
    fn folds_all_but_the_resource() {
        let jid = Jid::new("Juliet@CAPULET.example/Balcony").unwrap();
        assert_eq!(jid, "juliet@capulet.example/Balcony");
        assert_eq!(jid, Jid::new("juliet@capulet.example./Balcony").unwrap());
    }

    #[test]
    fn shares_the_string_where_nothing_is_cut_off() {
        let bare = Jid::new("juliet@capulet.example").unwrap();
        assert!(Arc::ptr_eq(&bare.0, &bare.to_bare().as_jid().0));
        assert!(Arc::ptr_eq(&bare.0, &bare.clone().0));
        let host = Jid::new("capulet.example").unwrap();
        assert!(Arc::ptr_eq(&host.0, &host.to_domain().as_jid().0));
        let full = Jid::new("juliet@capulet.example/balcony").unwrap();
        assert!(Arc::ptr_eq(&full.0, &full.as_full().unwrap().as_jid().0));
    }

    #[test]
    fn cuts_off_parts() {
        let full = FullJid::new("juliet@capulet.example/balcony").unwrap();
        assert_eq!(full.to_bare(), BareJid::new("juliet@capulet.example").unwrap());
        assert_eq!(full.to_bare().local(), Some("juliet"));
        assert_eq!(full.to_domain(), "capulet.example");
        assert_eq!(full.to_domain().local(), None);
        assert_eq!(Jid::new("capulet.example/x").unwrap().to_bare(), "capulet.example");
    }

    #[test]
    fn replaces_the_resource() {
        let full = FullJid::new("juliet@capulet.example/balcony").unwrap();
        let garden = full.with_resource("garden").unwrap();
        assert_eq!(garden, "juliet@capulet.example/garden");
        assert_eq!(full.to_bare().with_resource("garden"), Ok(garden));
        assert_eq!(full.with_resource(""), Err(JidError::Empty(Part::Resource)));
    }

    #[test]
    fn keeps_the_kinds_apart() {
        assert_eq!(BareJid::new("capulet.example/x"), Err(JidError::HasResource));
        assert_eq!(FullJid::new("juliet@capulet.example"), Err(JidError::NoResource));
    }

    #[test]
    fn is_found_in_maps_by_its_string() {
        let bare = HashSet::from([BareJid::new("Juliet@Capulet.example").unwrap()]);
        assert!(bare.contains("juliet@capulet.example"));
        let any = HashSet::from([Jid::new("juliet@capulet.example/balcony").unwrap()]);
        assert!(any.contains("juliet@capulet.example/balcony"));
        assert!(!any.contains("juliet@capulet.example/garden"));
    }

    #[test]
    fn refuses_separators_inside_parts() {
        let disallowed = |character| JidError::Disallowed { part: Part::Local, character };
        for (local, domain, reason) in [
            (Some("a@b"), "c.example", disallowed('@')),
            (Some("a/b"), "c.example", disallowed('/')),
            (Some("a"), "c.example/x", JidError::NotADomainName),
            (None, "a@c.example", JidError::NotADomainName),
        ] {
            assert_eq!(Jid::from_parts(local, domain, None), Err(reason));
        }
        assert_eq!(Jid::new("a@b@c.example"), Err(JidError::NotADomainName));
        // FULLWIDTH COMMERCIAL AT and FULLWIDTH SOLIDUS are mapped too late to separate.
        assert_eq!(Jid::new("a\u{FF20}b@c.example"), Err(disallowed('@')));
        assert_eq!(Jid::new("c.example\u{FF0F}x"), Err(JidError::NotADomainName));
    }

    #[test]
    fn bounds_every_part() {
        let [most, more] =
            [limits::PART_BYTES_MAX, limits::PART_BYTES_MAX + 1].map(|n| "a".repeat(n));
        assert!(Jid::new(&format!("{most}@capulet.example/{most}")).is_ok());
        let too_long = |part| Err(JidError::TooLong(part));
        assert_eq!(Jid::new(&format!("{more}@capulet.example")), too_long(Part::Local));
        assert_eq!(Jid::new(&format!("capulet.example/{more}")), too_long(Part::Resource));
        assert_eq!(Jid::new(&more), too_long(Part::Domain));
        // After preparation: 3 bytes become 1, 2 bytes become 3.
        let wide = "\u{FF41}".repeat(limits::PART_BYTES_MAX);
        assert_eq!(Jid::new(&format!("{wide}@a.example")).unwrap().local(), Some(&*most));
        let grows = "\u{23A}".repeat(limits::PART_BYTES_MAX / 2);
        assert_eq!(Jid::new(&format!("{grows}@a.example")), too_long(Part::Local));
        let unread = "\u{FF41}".repeat(limits::PART_INPUT_BYTES_MAX);
        assert_eq!(Jid::new(&format!("{unread}@a.example")), too_long(Part::Local));
    }

    /// Strings near the rules: letters of several scripts, separators, marks, what is mapped.
    pub(crate) fn near_address() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-zA-Z0-9@/._ -]{0,24}",
            "[a-cß-ðΑ-ωשׁ-תا-ي٠-٩۰-۹\u{300}-\u{345}\u{200C}\u{200D}ァ-ンｦ-ﾟＡ-ｚ@/.・ᄀ-나-ᅣ]{0,12}",
            "(xn--)?[a-z0-9-]{1,12}\\.(xn--[a-z0-9]{2,8}|example)\\.?",
        ]
    }

    proptest! {
        #[test]
        fn prop_parsing_what_is_displayed_gives_the_same(text in near_address()) {
            if let Ok(jid) = Jid::new(&text) {
                let displayed = jid.to_string();
                prop_assert_eq!(jid.as_str(), &displayed);
                let again: Jid = displayed.parse().unwrap();
                prop_assert_eq!(&again, &jid);
                prop_assert_eq!(again.0.header, jid.0.header);
            }
        }

        #[test]
        fn prop_verbatim_is_what_xml_does_not_escape(
            text in near_address(),
            resource in "[ -~\\u{80}-\\u{FFFF}]{1,12}",
        ) {
            let full = Jid::new(&text).and_then(|jid| jid.with_resource(&resource));
            for jid in Jid::new(&text).into_iter().chain(full.map(Jid::from)) {
                let has = |test: fn(char) -> bool| jid.as_str().contains(test);
                prop_assert_eq!(jid.is_verbatim(), !has(|c| "&<>'\"".contains(c)));
                let is_forbidden = has(|c| c.is_control() || matches!(c, '\u{FFFE}'..='\u{FFFF}'));
                prop_assert!(!is_forbidden);
            }
        }

        #[test]
        fn prop_equality_and_order_are_those_of_strings(a in near_address(), b in near_address()) {
            if let (Ok(a), Ok(b)) = (Jid::new(&a), Jid::new(&b)) {
                prop_assert_eq!(a == b, a.as_str() == b.as_str());
                prop_assert_eq!(a.cmp(&b), a.as_str().cmp(b.as_str()));
            }
        }

        #[test]
        fn prop_fast_path_agrees_with_parts(text in "[ -~]{0,24}") {
            let (local, domain, resource) = split(&text);
            prop_assert_eq!(Jid::new(&text), Jid::from_parts(local, domain, resource));
        }
    }
}
