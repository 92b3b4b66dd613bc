//! The gRPC client that talks to a plugin: one HTTP/2 connection on any byte stream, one call, one answer.
//!
//! When to dial, how long to wait and when to give up is decided by the model; here are only bytes. Requests look like
//! grpc-go's (KMS2-WIRE-12), errors read like grpc-go's.

mod dial;
mod fields;
mod greeting;
mod status;

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use kms_apiserver::grpc::{Code, MAX_ANSWER, Status};
use kms_apiserver::seam::{DialError, Rpc, grpc_timeout};

pub(crate) use dial::error_text;
pub use dial::{Carried, Dialer, Io, Stream, UnixDialer};
use fields::{Blocks, Fields};
use greeting::Greeted;

/// The prefix of a gRPC message: a flag and a length.
const FRAME_HEADER: usize = 5;

/// How long late frames of a call that was given up are expected.
const RESETS_REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// An open connection: clones send on the same one.
#[derive(Clone)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    blocks: Blocks,
    authority: Arc<str>,
    user_agent: &'static str,
}

/// The half of a connection that reads: ends when the connection does.
pub type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says the HTTP/2 preface and waits for the server's SETTINGS, without a time limit.
///
/// # Errors
/// The stream ended or broke before that.
pub async fn handshake(
    stream: Stream,
    authority: String,
    user_agent: &'static str,
) -> Result<(Connection, Driver), DialError> {
    let blocks = Blocks::new();
    let (stream, greeted) = Greeted::new(Fields::new(stream, blocks.clone()));
    let broken = |what: &str| DialError::Preface(format!("error reading server preface: {what}"));
    let (requests, connection) = h2::client::Builder::new()
        // the library's clock for this is the system's: in virtual time it must not run out by chance
        .reset_stream_duration(RESETS_REMEMBERED)
        .handshake(stream)
        .await
        .map_err(|error| broken(&reading(&error)))?;
    let mut driver: Driver = Box::pin(async move {
        // why it ended is told to each call on it
        let _ = connection.await;
    });
    tokio::select! {
        biased;
        greeted = greeted => match greeted {
            Ok(()) => {}
            Err(_) => return Err(broken("EOF")),
        },
        () = &mut driver => return Err(broken("EOF")),
    }
    let connection = Connection {
        requests,
        blocks,
        authority: authority.into(),
        user_agent,
    };
    Ok((connection, driver))
}

impl Connection {
    /// Sends a call and waits for its answer, without a time limit. Dropping the future resets the stream (CANCEL).
    ///
    /// # Errors
    /// What the server answered, or what grpc-go makes of a broken stream.
    pub async fn call(self, rpc: Rpc) -> Result<Vec<u8>, Status> {
        let mut requests = self
            .requests
            .ready()
            .await
            .map_err(|error| status::of_h2(&error))?;
        let timeout = grpc_timeout(rpc.timeout);
        let block = fields::block([
            (":method", "POST"),
            (":scheme", "http"),
            (":path", rpc.method.path()),
            (":authority", &self.authority),
            ("content-type", "application/grpc"),
            ("user-agent", self.user_agent),
            ("te", "trailers"),
            ("grpc-accept-encoding", "gzip"),
            ("grpc-timeout", &timeout),
        ]);
        // all that it says is said by the block
        let bare = Request::post("http://localhost/").body(());
        let bare = bare.map_err(|error| Status::new(Code::INTERNAL, error.to_string()))?;
        let (response, mut body) = self
            .blocks
            .open(block, || requests.send_request(bare, false))
            .map_err(|error| status::of_h2(&error))?;
        let mut message = BytesMut::with_capacity(FRAME_HEADER + rpc.request.len());
        message.put_u8(0);
        message.put_u32(u32::try_from(rpc.request.len()).expect("requests are short"));
        message.put_slice(&rpc.request);
        body.send_data(message.freeze(), true)
            .map_err(|error| status::of_h2(&error))?;
        let response = response.await.map_err(|error| status::of_h2(&error))?;
        answer(response).await
    }
}

async fn answer(response: Response<RecvStream>) -> Result<Vec<u8>, Status> {
    let (head, mut body) = response.into_parts();
    if let Some(status) = status::of_head(&head) {
        return status.map(|()| Vec::new());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| status::of_h2(&error))?;
        // a window that is given back late only slows the sender
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
        if let Some(length) = message_length(&bytes)
            && length > MAX_ANSWER
        {
            return Err(Status::too_large(length));
        }
    }
    let trailers: Option<HeaderMap> = body
        .trailers()
        .await
        .map_err(|error| status::of_h2(&error))?;
    let Some(trailers) = trailers else {
        return Err(Status::new(
            Code::INTERNAL,
            "server closed the stream without sending trailers",
        ));
    };
    status::of_trailers(&trailers)?;
    match message_length(&bytes) {
        Some(length) if bytes.len() == FRAME_HEADER + length => {
            if bytes[0] != 0 {
                let why = "grpc: compressed flag set with identity or empty encoding";
                return Err(Status::new(Code::INTERNAL, why));
            }
            Ok(bytes.split_off(FRAME_HEADER).to_vec())
        }
        Some(length) if bytes.len() > FRAME_HEADER + length => Err(Status::new(
            Code::INTERNAL,
            "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message",
        )),
        Some(_) => Err(Status::new(Code::INTERNAL, "unexpected EOF")),
        None if bytes.is_empty() => Err(Status::new(
            Code::INTERNAL,
            "cardinality violation: received no response message from non-server-streaming RPC",
        )),
        None => Err(Status::new(Code::INTERNAL, "unexpected EOF")),
    }
}

fn message_length(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 4] = bytes.get(1..FRAME_HEADER)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

fn reading(error: &h2::Error) -> String {
    match error.get_io() {
        Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        Some(error) => error.to_string(),
        None if error.reason() == Some(Reason::NO_ERROR) => "EOF".to_owned(),
        None => error.to_string(),
    }
}
