//! A certificate authority, an acceptor and both ends of a socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use stentor_transport::{
    Certificates, Conn, HandshakeError, IdentityFiles, Roots, TlsAcceptor, TlsSettings,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

/// The authority of all tests.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("Verona CA"))
    }

    /// Writes a certificate for these names, and its key, into a folder.
    pub(crate) fn issue(&self, dir: &Path, names: &[&str]) -> IdentityFiles {
        self.issue_with(dir, names, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        dir: &Path,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> IdentityFiles {
        self.write(&KeyPair::generate().unwrap(), dir, names, change)
    }

    pub(crate) fn issue_for(&self, key: &KeyPair, dir: &Path, names: &[&str]) -> IdentityFiles {
        self.write(key, dir, names, |_| {})
    }

    fn write(
        &self,
        key: &KeyPair,
        dir: &Path,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> IdentityFiles {
        let stem = names.first().map_or("nameless", |name| name).replace('*', "any");
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let leaf = params.signed_by(key, &self.issuer).unwrap();
        let files = IdentityFiles {
            certificate: dir.join(format!("{stem}.pem")),
            key: dir.join(format!("{stem}-key.pem")),
            names: Vec::new(),
        };
        std::fs::write(&files.certificate, leaf.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).unwrap()
    }
}

/// An acceptor with certificates of the shared authority.
pub(crate) struct Server {
    pub(crate) dir: TempDir,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) acceptor: Arc<TlsAcceptor>,
}

impl Server {
    /// One certificate per list of names.
    pub(crate) fn with(lists: &[&[&str]], settings: TlsSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = lists.iter().map(|l| Authority::shared().issue(dir.path(), l)).collect();
        let (certificates, _) = Certificates::load(files).unwrap();
        let certificates = Arc::new(certificates);
        let acceptor = Arc::new(TlsAcceptor::new(Arc::clone(&certificates), settings));
        Self { dir, certificates, acceptor }
    }

    pub(crate) fn new() -> Self {
        Self::with(&[&[HOST]], TlsSettings::default())
    }

    /// Accepts on a socket from [`sockets`], with nothing read before.
    pub(crate) async fn accept(&self, side: (TcpStream, SocketAddr)) -> Accepted {
        Conn::accept_tls(side.0, side.1, &self.acceptor, b"").await
    }

    /// A handshake between this server and a client.
    pub(crate) async fn meet(
        &self,
        config: ClientConfig,
        name: &str,
    ) -> (Accepted, std::io::Result<TlsStream<TcpStream>>) {
        let (server, client) = sockets().await;
        tokio::join!(self.accept(server), connect(config, name, client))
    }

    /// As [`Server::meet`], where both ends are to succeed.
    pub(crate) async fn welcome(&self, config: ClientConfig) -> (Conn, TlsStream<TcpStream>) {
        let (conn, client) = self.meet(config, HOST).await;
        (conn.unwrap(), client.unwrap())
    }
}

pub(crate) type Accepted = Result<Conn, HandshakeError>;

/// Both ends of a TCP connection, the server's first.
pub(crate) async fn sockets() -> ((TcpStream, SocketAddr), TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (server, client) = tokio::join!(listener.accept(), client);
    let client = client.unwrap();
    client.set_nodelay(true).unwrap();
    (server.unwrap(), client)
}

pub(crate) async fn connect(
    config: ClientConfig,
    name: &str,
    tcp: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A client that trusts the shared authority.
pub(crate) fn client() -> ClientConfig {
    client_of(rustls::DEFAULT_VERSIONS)
}

pub(crate) fn client12() -> ClientConfig {
    client_of(&[&rustls::version::TLS12])
}

pub(crate) fn client_of(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(root_store())
        .with_no_client_auth()
}

pub(crate) fn root_store() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let pem = Authority::shared().pem.as_bytes();
    store.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    store
}

/// Reads exactly what is expected.
pub(crate) async fn expect(reader: &mut (impl AsyncReadExt + Unpin), expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    reader.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, expected);
}

pub(crate) const HOST: &str = "capulet.example";
