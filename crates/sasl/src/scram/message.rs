//! The messages of SCRAM, read strictly by the grammar of RFC 5802 §7.

use super::from_base64;
use crate::limits::{AUTHZID_BYTES_MAX, MESSAGE_BYTES_MAX, PART_BYTES_MAX};

/// client-first-message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst<'a> {
    pub(crate) flag: BindingFlag<'a>,
    pub(crate) authzid: Option<String>,
    /// gs2-header with both commas, which returns in `c=`.
    pub(crate) gs2_header: &'a str,
    /// client-first-message-bare, the beginning of AuthMessage.
    pub(crate) bare: &'a str,
    pub(crate) username: String,
    pub(crate) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads a message of a client.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Refusal> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(Refusal::Syntax)?;
        let flag = BindingFlag::parse(flag)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Refusal::Syntax)?;
        let authzid = match authzid {
            "" => None,
            authzid => {
                let name = authzid.strip_prefix("a=").ok_or(Refusal::Syntax)?;
                Some(decode_name(name, AUTHZID_BYTES_MAX)?)
            }
        };
        let mut attributes = Attributes::of(bare);
        let username = decode_name(attributes.required('n')?, PART_BYTES_MAX)?;
        let nonce = attributes.nonce()?;
        attributes.skip_extensions()?;
        let gs2_header = &text[..text.len() - bare.len()];
        Ok(Self { flag, authzid, gs2_header, bare, username, nonce })
    }
}

/// gs2-cbind-flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BindingFlag<'a> {
    /// `n`: the client cannot bind.
    Unsupported,
    /// `y`: the client could, and believes that the server cannot.
    Unused,
    /// `p=`: the client binds to a channel of this type.
    Used(&'a str),
}

impl<'a> BindingFlag<'a> {
    fn parse(flag: &'a str) -> Result<Self, Refusal> {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        match (flag, flag.strip_prefix("p=")) {
            ("n", _) => Ok(Self::Unsupported),
            ("y", _) => Ok(Self::Unused),
            (_, Some(name)) if !name.is_empty() && name.bytes().all(is_name_byte) => {
                Ok(Self::Used(name))
            }
            _ => Err(Refusal::Syntax),
        }
    }
}

/// server-first-message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerFirst<'a> {
    pub(crate) nonce: &'a str,
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    /// The digest of what was offered (XEP-0474 §6.1).
    pub(crate) offered: Option<&'a str>,
}

impl<'a> ServerFirst<'a> {
    /// Reads a message of a server.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let mut attributes = Attributes::of(text);
        let nonce = attributes.nonce()?;
        let salt = from_base64(attributes.required('s')?).ok_or(Refusal::Syntax)?;
        let count = attributes.required('i')?;
        let is_positive = count.bytes().all(|b| b.is_ascii_digit()) && !count.starts_with('0');
        let iterations = count.parse().ok().filter(|_| is_positive).ok_or(Refusal::Syntax)?;
        let offered = attributes.extension('h')?;
        Ok(Self { nonce, salt, iterations, offered })
    }
}

/// client-final-message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFinal<'a> {
    /// The value of `c=`, still in base64.
    pub(crate) channel_binding: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) proof: Vec<u8>,
    /// client-final-message-without-proof, the end of AuthMessage.
    pub(crate) without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    /// Reads a message of a client.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Refusal> {
        let (without_proof, proof) = text(message)?.rsplit_once(',').ok_or(Refusal::Syntax)?;
        let proof = proof.strip_prefix("p=").and_then(from_base64).ok_or(Refusal::Syntax)?;
        let mut attributes = Attributes::of(without_proof);
        let channel_binding = attributes.required('c')?;
        let nonce = attributes.nonce()?;
        attributes.skip_extensions()?;
        Ok(Self { channel_binding, nonce, proof, without_proof })
    }
}

/// server-final-message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServerFinal<'a> {
    /// `v=`: ServerSignature.
    Verifier(Vec<u8>),
    /// `e=`: an error value.
    Error(&'a str),
}

impl<'a> ServerFinal<'a> {
    /// Reads a message of a server.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let mut attributes = Attributes::of(text);
        let found = match attributes.next_pair()?.ok_or(Refusal::Syntax)? {
            ('v', verifier) => Self::Verifier(from_base64(verifier).ok_or(Refusal::Syntax)?),
            ('e', value) => Self::Error(value),
            _ => return Err(Refusal::Syntax),
        };
        attributes.skip_extensions()?;
        Ok(found)
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It breaks the grammar, or is too long.
    Syntax,
    /// It has `m=`, an extension that must be understood (§5.1); none is defined.
    MandatoryExtension,
}

/// UTF-8 of bounded length.
pub(crate) fn text(message: &[u8]) -> Result<&str, Refusal> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::Syntax);
    }
    std::str::from_utf8(message).map_err(|_| Refusal::Syntax)
}

/// Whether a string is one or more of `printable`.
pub(crate) fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'+' | b'-'..=b'~'))
}

/// Writes a name as saslname.
pub(crate) fn encode_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a saslname; §5.1 has a server fail on `=` that begins no escape.
fn decode_name(text: &str, bytes_max: usize) -> Result<String, Refusal> {
    let mut pieces = text.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(Refusal::Syntax),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() || name.len() > bytes_max || name.contains('\0') {
        return Err(Refusal::Syntax);
    }
    Ok(name)
}

/// The attributes of a message, in order.
struct Attributes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }

    /// The next attr-val, `None` at the end.
    fn next_pair(&mut self) -> Result<Option<(char, &'a str)>, Refusal> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (pair, rest) = match rest.split_once(',') {
            Some((pair, rest)) => (pair, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        let (name, value) = pair.split_once('=').ok_or(Refusal::Syntax)?;
        let name = match name.as_bytes() {
            [byte] if byte.is_ascii_alphabetic() => char::from(*byte),
            _ => return Err(Refusal::Syntax),
        };
        if value.is_empty() || value.contains('\0') {
            return Err(Refusal::Syntax);
        }
        Ok(Some((name, value)))
    }

    /// The value of the next attribute, which has to be this one.
    fn required(&mut self, name: char) -> Result<&'a str, Refusal> {
        match self.next_pair()? {
            Some((found, value)) if found == name => Ok(value),
            Some(('m', _)) => Err(Refusal::MandatoryExtension),
            _ => Err(Refusal::Syntax),
        }
    }

    fn nonce(&mut self) -> Result<&'a str, Refusal> {
        Some(self.required('r')?).filter(|nonce| is_nonce(nonce)).ok_or(Refusal::Syntax)
    }

    /// Passes over optional extensions, which must be ignored (§5.1), to the end.
    fn skip_extensions(&mut self) -> Result<(), Refusal> {
        self.extension('\0').map(|_| ())
    }

    /// Passes over optional extensions to the end, and returns the first of this name.
    fn extension(&mut self, wanted: char) -> Result<Option<&'a str>, Refusal> {
        let mut found = None;
        while let Some((name, value)) = self.next_pair()? {
            match name {
                'm' => return Err(Refusal::MandatoryExtension),
                // Defined by the RFC, so no extension, and out of place.
                'a' | 'c' | 'e' | 'i' | 'n' | 'p' | 'r' | 's' | 'v' => return Err(Refusal::Syntax),
                name if name == wanted => found = found.or(Some(value)),
                _ => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(message: &str) -> Result<ClientFirst<'_>, Refusal> {
        ClientFirst::parse(message.as_bytes())
    }

    fn last(message: &str) -> Result<ClientFinal<'_>, Refusal> {
        ClientFinal::parse(message.as_bytes())
    }

    #[test]
    fn reads_client_first_messages() {
        let plain = first("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL").unwrap();
        assert_eq!(plain.flag, BindingFlag::Unsupported);
        assert_eq!((plain.gs2_header, plain.bare), ("n,,", "n=user,r=fyko+d2lbbFgONRv9qkxdawL"));
        assert_eq!((plain.username.as_str(), plain.authzid), ("user", None));
        assert_eq!(plain.nonce, "fyko+d2lbbFgONRv9qkxdawL");

        let full = first("p=tls-exporter,a=x=2Cy@z.example,n=a=3D=2Cb,r=abc,x=1,Y==").unwrap();
        assert_eq!(full.flag, BindingFlag::Used("tls-exporter"));
        assert_eq!(full.authzid.as_deref(), Some("x,y@z.example"));
        assert_eq!(full.gs2_header, "p=tls-exporter,a=x=2Cy@z.example,");
        assert_eq!((full.username.as_str(), full.nonce), ("a=,b", "abc"));
        assert_eq!(first("y,,n=u,r=r").unwrap().flag, BindingFlag::Unused);
    }

    #[test]
    fn refuses_client_first_messages_outside_the_grammar() {
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,n=user,r=abc",
            "x,,n=user,r=abc",
            "N,,n=user,r=abc",
            "F,n,,n=user,r=abc",
            "p,,n=user,r=abc",
            "p=,,n=user,r=abc",
            "p=tls_x,,n=user,r=abc",
            "n,a=,n=user,r=abc",
            "n,user,n=user,r=abc",
            "n,b=user,n=user,r=abc",
            "n,a=x=2cy,n=user,r=abc",
            "n,a=x\0y,n=user,r=abc",
            "n,,n=,r=abc",
            "n,,user,r=abc",
            "n,,N=user,r=abc",
            "n,,n=a=b,r=abc",
            "n,,n=a=2,r=abc",
            "n,,n=a=,r=abc",
            "n,,n=a\0,r=abc",
            "n,,r=abc,n=user",
            "n,,n=user",
            "n,,n=user,r=",
            "n,,n=user,r=a b",
            "n,,n=user,r=\u{E4}",
            "n,,n=user,r=abc,",
            "n,,n=user,r=abc,x",
            "n,,n=user,r=abc,x=",
            "n,,n=user,r=abc,xy=z",
            "n,,n=user,r=abc,1=z",
            "n,,n=user,r=abc,x=1,,y=2",
            "n,,n=user,r=abc,r=def",
            "n,,n=user,r=abc,p=x",
            "n,,n=user,r=abc,x=\0",
        ] {
            assert_eq!(first(message), Err(Refusal::Syntax), "{message:?}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=us\xFFer,r=abc"), Err(Refusal::Syntax));
    }

    #[test]
    fn refuses_mandatory_extensions_in_every_place() {
        for message in ["n,,m=x,n=user,r=abc", "n,,n=user,m=x,r=abc", "n,,n=user,r=abc,x=1,m=x"] {
            assert_eq!(first(message), Err(Refusal::MandatoryExtension), "{message}");
        }
        assert_eq!(last("c=biws,r=abc,m=x,p=AAAA"), Err(Refusal::MandatoryExtension));
        assert_eq!(ServerFirst::parse("m=x,r=a,s=AAAA,i=1"), Err(Refusal::MandatoryExtension));
        assert_eq!(ServerFirst::parse("r=a,s=AAAA,i=1,m=x"), Err(Refusal::MandatoryExtension));
        assert_eq!(ServerFinal::parse("v=AAAA,m=x"), Err(Refusal::MandatoryExtension));
    }

    #[test]
    fn bounds_names_and_messages() {
        let named = |bytes| format!("n,,n={},r=abc", "=2C".repeat(bytes));
        assert!(first(&named(PART_BYTES_MAX)).is_ok());
        assert_eq!(first(&named(PART_BYTES_MAX + 1)), Err(Refusal::Syntax));
        let authorized = |bytes| format!("n,a={},n=u,r=abc", "x".repeat(bytes));
        assert!(first(&authorized(AUTHZID_BYTES_MAX)).is_ok());
        assert_eq!(first(&authorized(AUTHZID_BYTES_MAX + 1)), Err(Refusal::Syntax));
        let whole = |bytes: usize| format!("n,,n=u,r={}", "x".repeat(bytes - "n,,n=u,r=".len()));
        assert!(first(&whole(MESSAGE_BYTES_MAX)).is_ok());
        assert_eq!(first(&whole(MESSAGE_BYTES_MAX + 1)), Err(Refusal::Syntax));
    }

    #[test]
    fn reads_client_final_messages() {
        assert_eq!(last("c=biws,r=abc,p=AAAA").map(|message| message.proof), Ok(vec![0; 3]));
        let extended = last("c=biws,r=abc,x=y=z,p=AAAA").unwrap();
        assert_eq!(extended.without_proof, "c=biws,r=abc,x=y=z");
        assert_eq!((extended.channel_binding, extended.nonce), ("biws", "abc"));
        for message in [
            "",
            "c=biws,r=abc",
            "r=abc,c=biws,p=AAAA",
            "c=biws,r=abc,p=AAAA,x=1",
            "c=biws,p=AAAA",
            "c=,r=abc,p=AAAA",
            "c=biws,r=abc,p=AAA",
            "c=biws,r=abc,p=AA==,",
            "c=biws,r=abc,p=AB==",
            "c=biws,r=abc,p=A A=",
            "c=biws,r=abc,p=_-_-",
            "c=biws,r=abc,v=AAAA,p=AAAA",
        ] {
            assert_eq!(last(message), Err(Refusal::Syntax), "{message:?}");
        }
    }

    #[test]
    fn reads_server_messages() {
        let first = ServerFirst::parse("r=abc,s=QSXCR+Q6sek8bf92,i=4096,h=later").unwrap();
        assert_eq!((first.nonce, first.salt.len(), first.iterations), ("abc", 12, 4096));
        assert_eq!(first.offered, Some("later"));
        for message in [
            "r=abc,s=AAAA",
            "s=AAAA,r=abc,i=1",
            "r=abc,s=AAA,i=1",
            "r=abc,s=AAAA,i=0",
            "r=abc,s=AAAA,i=01",
            "r=abc,s=AAAA,i=+1",
            "r=abc,s=AAAA,i=-1",
            "r=abc,s=AAAA,i=4294967296",
            "r=,s=AAAA,i=1",
        ] {
            assert_eq!(ServerFirst::parse(message), Err(Refusal::Syntax), "{message:?}");
        }
        assert_eq!(ServerFinal::parse("v=AAAA,x=y"), Ok(ServerFinal::Verifier(vec![0; 3])));
        assert_eq!(ServerFinal::parse("e=invalid-proof"), Ok(ServerFinal::Error("invalid-proof")));
        for message in ["", "v", "v=A", "x=y,v=AAAA", "v=AAAA,e=other-error"] {
            assert_eq!(ServerFinal::parse(message), Err(Refusal::Syntax), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn prop_reads_the_names_it_writes(name in "([=,]|[^\0]){1,40}") {
            prop_assert_eq!(decode_name(&encode_name(&name), PART_BYTES_MAX), Ok(name));
        }

        #[test]
        fn prop_takes_a_message_apart_without_loss(
            message in "(n|y|p=[a-z.-]{1,9}),(a=[a-z@]{1,9})?,n=[a-z]{1,9},r=[!-+.-~]{1,9}(,[x-z]=[^,\0]{1,9}){0,3}",
        ) {
            let read = first(&message).unwrap();
            prop_assert_eq!(format!("{}{}", read.gs2_header, read.bare), message);
        }
    }
}
