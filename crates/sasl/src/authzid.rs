//! Authorization identities (RFC 6120 §6.3.8).

use crate::Condition;

/// Checks that a client asks to act as nobody but itself.
///
/// `own` is the bare JID of the account that signed in, in canonical form; `canonical` turns what
/// the client sent into the canonical form of a bare JID, or into `None` if it is none. An absent
/// or empty identity is derived from the account (RFC 6120 §6.6). To be asked after the credentials
/// have been found right, so that nobody else learns anything by it.
///
/// # Errors
///
/// [`Condition::InvalidAuthzid`] for any other identity, and for what is no bare JID.
pub fn check_authzid(
    authzid: Option<&str>,
    own: &str,
    canonical: impl FnOnce(&str) -> Option<String>,
) -> Result<(), Condition> {
    match authzid {
        None | Some("") => Ok(()),
        Some(authzid) if canonical(authzid).as_deref() == Some(own) => Ok(()),
        Some(_) => Err(Condition::InvalidAuthzid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_client_act_only_as_itself() {
        let canonical = |text: &str| text.contains('@').then(|| text.to_lowercase());
        let own = "juliet@capulet.example";
        assert_eq!(check_authzid(None, own, canonical), Ok(()));
        assert_eq!(check_authzid(Some(""), own, canonical), Ok(()));
        assert_eq!(check_authzid(Some("Juliet@Capulet.example"), own, canonical), Ok(()));
        for other in ["romeo@montague.example", "juliet", "juliet@capulet.example/balcony"] {
            assert_eq!(check_authzid(Some(other), own, canonical), Err(Condition::InvalidAuthzid));
        }
    }
}
