//! XEP-0484: Fast Authentication Streamlining Tokens, version 0.2.0.
//!
//! Signs a client in that comes back with a token, in one round trip after TLS.
//! Implements: §3, §4.2, §5.1, with HT-SHA-256-EXPR, -ENDP and -NONE; a `count` that was seen
//! before is refused wherever it comes.
//! Left out: TLS early data (§3.1), which is neither announced nor taken; HT-SHA-256-UNIQ, whose
//! binding TLS 1.3 does not have.
//! Status: complete

use stentor_sasl::{Condition, Mechanism};
use stentor_xml::{ElementRef, Writer};

use crate::sign_in::IssuedToken;

/// What a client says with its token (§3.4, §3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fast {
    /// How often it has used the token, this time included.
    pub(crate) count: Option<u64>,
    /// Whether the token is to be good no more.
    pub(crate) invalidates: bool,
}

/// Writes the inline feature (§3.1).
pub(crate) fn write_feature(w: &mut Writer, mechanisms: &[Mechanism]) {
    w.open("fast", NS);
    for mechanism in mechanisms {
        w.text_element("mechanism", NS, mechanism.name());
    }
    w.close();
}

/// The mechanisms of the inline feature, if this is it.
pub(crate) fn read_feature(element: ElementRef<'_>) -> Option<Vec<Mechanism>> {
    element.is(NS, "fast").then(|| {
        let mechanisms = element.children().filter(|child| child.is(NS, "mechanism"));
        mechanisms.filter_map(|child| Mechanism::token_from_name(child.text().trim())).collect()
    })
}

/// What `<authenticate/>` says of the token in use, if it has one.
///
/// # Errors
/// The condition to fail with.
pub(crate) fn read(authenticate: ElementRef<'_>) -> Result<Option<Fast>, Condition> {
    let Some(fast) = authenticate.child(NS, "fast") else { return Ok(None) };
    let malformed = Condition::MalformedRequest;
    let count = fast.attr("count").map(|count| count.trim().parse()).transpose();
    let invalidates = match fast.attr("invalidate").as_deref().map(str::trim) {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(malformed),
    };
    Ok(Some(Fast { count: count.map_err(|_| malformed)?, invalidates }))
}

/// Writes what a client says of its token.
pub(crate) fn write(w: &mut Writer, fast: Fast) {
    w.open("fast", NS).attr_opt("count", fast.count.map(|count| count.to_string()).as_deref());
    w.attr_opt("invalidate", fast.invalidates.then_some("true")).close();
}

/// The mechanism that a client wants a token for (§3.2).
pub(crate) fn read_wish(authenticate: ElementRef<'_>) -> Option<Mechanism> {
    let wish = authenticate.child(NS, "request-token")?;
    Mechanism::token_from_name(&wish.attr("mechanism")?)
}

/// Writes a client's wish for a token.
pub(crate) fn write_wish(w: &mut Writer, mechanism: Mechanism) {
    w.open("request-token", NS).attr("mechanism", mechanism.name()).close();
}

/// Writes a new token (§3.3).
pub(crate) fn write_token(w: &mut Writer, token: &IssuedToken) {
    w.open("token", NS).attr("expiry", &token.expiry).attr("token", &token.token).close();
}

/// The new token in `<success/>`, if there is one.
pub(crate) fn read_token(success: ElementRef<'_>) -> Option<IssuedToken> {
    let token = success.child(NS, "token")?;
    let attr = |name| token.attr(name).map(|value| value.into_owned());
    Some(IssuedToken { token: attr("token")?, expiry: attr("expiry")? })
}

const NS: &str = "urn:xmpp:fast:0";

#[cfg(test)]
mod tests {
    use stentor_xml::Frame;

    use super::*;

    fn read_one(fast: &str) -> Result<Option<Fast>, Condition> {
        let xml = format!("<a xmlns='urn:xmpp:sasl:2'>{fast}</a>");
        read(Frame::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn reads_counts_and_truth_values() {
        let fast = |count, invalidates| Ok(Some(Fast { count, invalidates }));
        for (attributes, expected) in [
            ("", fast(None, false)),
            ("count='0'", fast(Some(0), false)),
            ("count='123' invalidate='true'", fast(Some(123), true)),
            ("invalidate='1'", fast(None, true)),
            ("invalidate='0' count='18446744073709551615'", fast(Some(u64::MAX), false)),
            ("count='-1'", Err(Condition::MalformedRequest)),
            ("count=''", Err(Condition::MalformedRequest)),
            ("count='18446744073709551616'", Err(Condition::MalformedRequest)),
            ("invalidate='yes'", Err(Condition::MalformedRequest)),
        ] {
            assert_eq!(read_one(&format!("<fast xmlns='{NS}' {attributes}/>")), expected);
        }
        assert_eq!(read_one(""), Ok(None));
    }

    #[test]
    fn reads_what_it_writes() {
        let token = IssuedToken { token: "a'b".into(), expiry: "2026-01-01T00:00:00Z".into() };
        let fast = Fast { count: Some(7), invalidates: true };
        let frame = Frame::build(|w| {
            w.open("success", "urn:xmpp:sasl:2");
            write_token(w, &token);
            write(w, fast);
            write_wish(w, Mechanism::HtSha256Endp);
            w.close();
        });
        assert_eq!(read_token(frame.root()), Some(token.clone()));
        assert_eq!(read(frame.root()), Ok(Some(fast)));
        assert_eq!(read_wish(frame.root()), Some(Mechanism::HtSha256Endp));
        assert!(!format!("{token:?}").contains("a'b"));
        let frame = Frame::build(|w| write_feature(w, &Mechanism::TOKENS));
        assert_eq!(read_feature(frame.root()), Some(Mechanism::TOKENS.to_vec()));
    }
}
