//! Channel binding: what ties an exchange to its TLS connection (RFC 5056).

use crate::client::ClientError;

/// Channel binding data of one connection, as far as it has any.
///
/// The default has none, as a stream without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `tls-exporter` (RFC 9266): only of TLS 1.3, or of TLS 1.2 with extended master secret.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the server's certificate.
    ///
    /// A certificate whose signature algorithm has no one hash, such as Ed25519, has none.
    pub server_end_point: Option<Vec<u8>>,
}

impl Bindings {
    /// The data of one type.
    #[must_use]
    pub fn data(&self, binding: ChannelBinding) -> Option<&[u8]> {
        match binding {
            ChannelBinding::TlsExporter => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            ChannelBinding::TlsServerEndPoint => self.server_end_point.as_deref(),
        }
    }

    /// The types that there is data for, the strongest first; what a server lists in
    /// `<sasl-channel-binding/>` (XEP-0440 §2).
    pub fn available(&self) -> impl Iterator<Item = ChannelBinding> {
        ChannelBinding::ALL.into_iter().filter(|&binding| self.data(binding).is_some())
    }

    /// Whether there is no data, so that no -PLUS mechanism may be offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.available().next().is_none()
    }

    /// What is left of a client's bindings when the server announced the types it supports
    /// (XEP-0440 §3); all of them when it announced none.
    ///
    /// # Errors
    ///
    /// [`ClientError::BindingsStripped`] when the server has none of our types and not even
    /// `tls-server-end-point`, which every server must have: somebody changed its list (rule 6).
    pub fn agreed(&self, announced: &[impl AsRef<str>]) -> Result<Self, ClientError> {
        if announced.is_empty() {
            return Ok(self.clone());
        }
        let has = |binding: ChannelBinding| announced.iter().any(|n| n.as_ref() == binding.name());
        let agreed = Self {
            exporter: self.exporter.filter(|_| has(ChannelBinding::TlsExporter)),
            server_end_point: (self.server_end_point.clone())
                .filter(|_| has(ChannelBinding::TlsServerEndPoint)),
        };
        if agreed.is_empty() && !self.is_empty() && !has(ChannelBinding::TlsServerEndPoint) {
            return Err(ClientError::BindingsStripped);
        }
        Ok(agreed)
    }
}

/// A channel binding type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelBinding {
    /// RFC 9266.
    TlsExporter,
    /// RFC 5929 §4.
    TlsServerEndPoint,
}

impl ChannelBinding {
    /// Both types, the strongest first.
    pub const ALL: [Self; 2] = [Self::TlsExporter, Self::TlsServerEndPoint];

    /// The registered unique prefix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|binding| binding.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Bindings {
        Bindings { exporter: Some([7; 32]), server_end_point: Some(vec![9; 32]) }
    }

    #[test]
    fn lists_the_strongest_type_first() {
        let names: Vec<_> = both().available().map(ChannelBinding::name).collect();
        assert_eq!(names, ["tls-exporter", "tls-server-end-point"]);
        assert!(Bindings::default().is_empty());
    }

    #[test]
    fn keeps_the_types_that_the_server_announced() {
        let ours = both();
        assert_eq!(ours.agreed(&[] as &[&str]), Ok(both()));
        let only_end_point = Bindings { exporter: None, ..both() };
        assert_eq!(ours.agreed(&["tls-server-end-point", "tls-unique"]), Ok(only_end_point));
        let only_exporter = Bindings { server_end_point: None, ..both() };
        assert_eq!(only_exporter.agreed(&["tls-server-end-point"]), Ok(Bindings::default()));
    }

    #[test]
    fn notices_a_list_without_the_type_that_every_server_has() {
        assert_eq!(both().agreed(&["tls-unique"]), Err(ClientError::BindingsStripped));
        assert_eq!(Bindings::default().agreed(&["tls-unique"]), Ok(Bindings::default()));
    }
}
