//! An HTTP/2 client that sends what it is told, right or wrong, and records every frame.
//!
//! For what a library cannot do: header fields in grpc-go's order, its PING and WINDOW_UPDATE, path
//! authorities, frames that are cut or forged. Not for volume: it does no flow control of its own
//! beyond granting the subject what it used, so a request must fit the initial window.

pub(crate) mod conn;
pub(crate) mod frame;
pub(crate) mod headers;

pub(crate) use conn::Conn;
