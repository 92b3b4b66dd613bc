//! How a byte stream to a plugin comes about.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdUnixStream};
use std::pin::Pin;
use std::time::Duration;

use kms_apiserver::grpc::{Method, Status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// A byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Any byte stream.
pub type Stream = Box<dyn Io>;

/// An RPC on its way: the message of the answer, or why there is none. Dropped when the server has given it up.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Status>> + Send + 'a>>;

/// Opens byte streams: unix sockets, or a simulated network.
pub trait Dialer: Send + Sync {
    /// Opens a stream to an address: a path, or `@name` of an abstract socket. May be empty or too long.
    fn dial(&self, address: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    /// Carries one RPC over: a simulated network may act as a proxy that understands gRPC. `limit` is what is left of the
    /// server's deadline, which is kept elsewhere.
    fn carry<'a>(&'a self, method: Method, limit: Duration, call: Carried<'a>) -> Carried<'a> {
        let _ = (method, limit);
        call
    }
}

/// Real unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixDialer;

impl Dialer for UnixDialer {
    fn dial(&self, address: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let address = address.to_owned();
        Box::pin(async move {
            let stream = match address.strip_prefix('@') {
                Some(name) => {
                    let address = SocketAddr::from_abstract_name(name)?;
                    let stream = StdUnixStream::connect_addr(&address)?;
                    stream.set_nonblocking(true)?;
                    UnixStream::from_std(stream)?
                }
                None => UnixStream::connect(&address).await?,
            };
            Ok(Box::new(stream) as Stream)
        })
    }
}

/// Go's text for a failed dial.
pub(crate) fn error_text(address: &str, error: &io::Error) -> String {
    if address.is_empty() {
        return "dial unix : missing address".to_owned();
    }
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::InvalidInput => "invalid argument".to_owned(),
        _ => error.to_string().to_lowercase(),
    };
    format!("dial unix {address}: connect: {why}")
}
