//! Answers whose message is replaced on the way.

use bytes::{BufMut, Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

/// gRPC puts this before each message: one byte whether it is compressed, four of its length.
const PREFIX: usize = 5;

/// The answer with its one message as `with` makes it. What holds no whole uncompressed message, such as a refusal, stays
/// as it is.
pub async fn altered(
    answer: Response<Incoming>,
    with: fn(&[u8]) -> Vec<u8>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, hyper::Error> {
    let (mut head, body) = answer.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    let bytes = body.to_bytes();
    let bytes = message(&bytes).map_or(bytes.clone(), |message| framed(&with(message)));
    head.headers.remove(CONTENT_LENGTH);
    let body = Full::new(bytes)
        .with_trailers(async move { trailers.map(Ok) })
        .map_err(|never| match never {});
    Ok(Response::from_parts(head, body.boxed()))
}

fn message(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = bytes.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    (prefix[0] == 0 && message.len() == usize::try_from(length).ok()?).then_some(message)
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("an answer of some bytes"));
    bytes.put_slice(message);
    bytes.freeze()
}
