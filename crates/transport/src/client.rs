//! Connections that we open.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use crate::conn::Conn;
use crate::listen::tune;

/// Opens a plain TCP connection; [`Conn::connect_tls`] secures it. The caller sets the time limit.
///
/// # Errors
/// If the peer cannot be reached.
pub async fn dial(peer: SocketAddr) -> io::Result<Conn> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let tcp = socket.connect(peer).await?;
    tune(&tcp)?;
    Ok(Conn::plain(tcp, peer))
}
