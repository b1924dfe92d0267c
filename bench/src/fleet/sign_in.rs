//! From the first byte to a session, by looking for what matters in each element.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use stentor_sasl::client::Exchange;
use stentor_sasl::{Bindings, Mechanism, nonce};

use super::{Login, Server, TlsUse};
use crate::split::{attribute, has, text};

/// One attempt to sign in.
pub(super) struct SignIn {
    login: Login,
    exchange: Option<Exchange>,
    is_secure: bool,
    has_signed_in: bool,
    offers_management: bool,
}

/// What a stream can be resumed with (XEP-0198 §5).
#[derive(Clone, Debug)]
pub struct Resume {
    /// The id that the server gave it.
    pub id: String,
}

pub(super) enum Step {
    On,
    StartTls,
    Ready { resume: Option<Resume>, resumed: bool },
}

/// The start tag of a stream.
pub(crate) fn header(domain: &str) -> Vec<u8> {
    format!(
        "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    .into_bytes()
}

impl SignIn {
    pub(super) fn new(login: Login, server: &Server) -> Self {
        let is_secure = server.tls != TlsUse::Start;
        Self { login, exchange: None, is_secure, has_signed_in: false, offers_management: false }
    }

    /// Answers an element of the server, into `out`.
    pub(super) fn handle(
        &mut self,
        element: &[u8],
        out: &mut Vec<u8>,
        server: &Server,
    ) -> anyhow::Result<Step> {
        let name_len = element[1..].iter().take_while(|b| !b" />".contains(*b)).count();
        match &element[1..=name_len] {
            b"stream:features" => self.features(element, out, server)?,
            b"proceed" => {
                self.is_secure = true;
                return Ok(Step::StartTls);
            }
            b"challenge" => {
                let exchange = self.exchange.as_mut().context("a challenge to nothing")?;
                let answer = exchange.step(&decode(text(element, "challenge"))?)?;
                let answer = BASE64_STANDARD.encode(answer);
                out.extend_from_slice(format!("<response {SASL}>{answer}</response>").as_bytes());
            }
            b"success" => {
                let data = decode(text(element, "success"))?;
                let exchange = self.exchange.as_mut().context("success of nothing")?;
                exchange.finish(Some(data.as_slice()).filter(|data| !data.is_empty()))?;
                self.has_signed_in = true;
                out.extend_from_slice(&header(&server.domain));
            }
            b"iq" if has(element, "xmpp-bind") => {
                if !self.login.manages {
                    return Ok(Step::Ready { resume: None, resumed: false });
                }
                anyhow::ensure!(self.offers_management, "the server offers no stream management");
                out.extend_from_slice(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
            }
            b"enabled" => {
                let id = attribute(element, "id").map(|id| String::from_utf8_lossy(id).into());
                return Ok(Step::Ready { resume: id.map(|id| Resume { id }), resumed: false });
            }
            b"resumed" => {
                return Ok(Step::Ready { resume: self.login.resume.take(), resumed: true });
            }
            // §5: the stream is gone; begin a new one.
            b"failed" if self.login.resume.take().is_some() => self.bind(out),
            _ => bail!("sign-in failed: {}", String::from_utf8_lossy(element)),
        }
        Ok(Step::On)
    }

    fn features(
        &mut self,
        features: &[u8],
        out: &mut Vec<u8>,
        server: &Server,
    ) -> anyhow::Result<()> {
        if !self.is_secure {
            anyhow::ensure!(has(features, "<starttls"), "the server offers no STARTTLS");
            out.extend_from_slice(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            return Ok(());
        }
        if !self.has_signed_in {
            let mechanism = choose(features, server.mechanism)?;
            let mut random = [0; 18];
            getrandom::fill(&mut random)?;
            let mut exchange = Exchange::new(
                mechanism,
                &self.login.username,
                &server.password,
                None,
                &Bindings::default(),
                &nonce(random),
            )?;
            let first = exchange.first().map(|first| BASE64_STANDARD.encode(first));
            let auth = format!(
                "<auth {SASL} mechanism='{}'>{}</auth>",
                mechanism.name(),
                first.unwrap_or_default()
            );
            out.extend_from_slice(auth.as_bytes());
            self.exchange = Some(exchange);
            return Ok(());
        }
        self.offers_management = has(features, "xmpp:sm:3");
        match &self.login.resume {
            Some(Resume { id }) if self.offers_management => {
                let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>");
                out.extend_from_slice(resume.as_bytes());
            }
            _ => self.bind(out),
        }
        Ok(())
    }

    fn bind(&self, out: &mut Vec<u8>) {
        let resource = &self.login.resource;
        let bind = format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>\
             {resource}</resource></bind></iq>"
        );
        out.extend_from_slice(bind.as_bytes());
    }
}

fn choose(features: &[u8], wish: Option<Mechanism>) -> anyhow::Result<Mechanism> {
    let offered = |mechanism: &Mechanism| has(features, &format!(">{}<", mechanism.name()));
    let candidates =
        [Mechanism::ScramSha512, Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::Plain];
    match wish {
        Some(wish) if offered(&wish) => Ok(wish),
        Some(wish) => bail!("the server does not offer {}", wish.name()),
        None => candidates.into_iter().find(offered).context("the server offers no SCRAM"),
    }
}

fn decode(text: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
    let text = text.unwrap_or_default().trim_ascii();
    BASE64_STANDARD.decode(text).context("no Base64")
}

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
