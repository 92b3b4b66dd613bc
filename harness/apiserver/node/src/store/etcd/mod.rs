//! A real etcd as the store.
//!
//! The messages are written out in `proto`, and tonic carries them: the few calls that a kube-apiserver makes need
//! no client library with a protoc behind it. Plain HTTP only.

mod proto;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{
    Change, Changed, Changes, Entry, Expect, Page, Range, Store, StoreError, StoreFuture,
    prefix_end,
};
use proto::{
    CompactionRequest, CompactionResponse, Compare, CompareTarget, DeleteRangeRequest, EventType,
    KeyValue, PutRequest, RangeRequest, RangeResponse, RequestOp, StatusRequest, StatusResponse,
    TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse, compare, request_op,
    response_op, watch_request,
};

/// A connection to etcd. Clones share it.
#[derive(Clone)]
pub struct EtcdStore {
    channel: Channel,
}

impl EtcdStore {
    /// Connects to one of the endpoints, `http://127.0.0.1:2379` for instance, and asks for its version.
    ///
    /// # Errors
    /// The endpoint is not an `http` address, or does not answer.
    pub async fn connect(endpoint: &str) -> Result<Self, StoreError> {
        let bad = |why: String| StoreError::Unavailable(format!("etcd at {endpoint}: {why}"));
        if !endpoint.starts_with("http://") {
            return Err(bad("only http:// endpoints are served".to_owned()));
        }
        let endpoint =
            Endpoint::from_shared(endpoint.to_owned()).map_err(|error| bad(error.to_string()))?;
        let store = EtcdStore {
            channel: endpoint.connect_lazy(),
        };
        store
            .version()
            .await
            .map_err(|error| bad(error.to_string()))?;
        Ok(store)
    }

    /// The version of the server, such as `3.6.16`.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn version(&self) -> Result<String, StoreError> {
        let status: StatusResponse = self
            .call("/etcdserverpb.Maintenance/Status", StatusRequest {})
            .await?;
        Ok(status.version)
    }

    /// A client. Stored objects can be longer than tonic's usual limit, lists of them are.
    fn client(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, StoreError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut client = self.client();
        client
            .ready()
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        let answer = client.unary(Request::new(request), path, codec).await;
        Ok(answer.map_err(|status| failed(&status))?.into_inner())
    }

    /// One change under a condition; on failure the current value comes along.
    async fn change(
        &self,
        key: &str,
        op: request_op::Request,
        expect: Expect,
    ) -> Result<Changed, StoreError> {
        let compare = match expect {
            Expect::Any => Vec::new(),
            Expect::Absent => vec![mod_revision_is(key, 0)],
            Expect::Revision(revision) => vec![mod_revision_is(key, revision)],
        };
        let read = RangeRequest {
            key: key.as_bytes().to_vec(),
            ..RangeRequest::default()
        };
        let txn = TxnRequest {
            compare,
            success: vec![RequestOp { request: Some(op) }],
            failure: vec![RequestOp {
                request: Some(request_op::Request::Range(read)),
            }],
        };
        let answer: TxnResponse = self.call("/etcdserverpb.KV/Txn", txn).await?;
        if answer.succeeded {
            return Ok(Changed::Done {
                revision: answer.header.unwrap_or_default().revision,
            });
        }
        let current = answer
            .responses
            .into_iter()
            .find_map(|response| match response.response {
                Some(response_op::Response::Range(range)) => range.kvs.into_iter().next(),
                _ => None,
            });
        Ok(Changed::Conflict {
            current: current.map(entry).transpose()?,
        })
    }
}

impl Store for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, (Option<Entry>, i64)> {
        Box::pin(async move {
            let request = RangeRequest {
                key: key.as_bytes().to_vec(),
                ..RangeRequest::default()
            };
            let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
            let found = answer.kvs.into_iter().next().map(entry).transpose()?;
            Ok((found, answer.header.unwrap_or_default().revision))
        })
    }

    fn range(&self, range: Range) -> StoreFuture<'_, Page> {
        Box::pin(async move {
            let from = range.from.unwrap_or_default().max(range.prefix.clone());
            let request = RangeRequest {
                key: from.into_bytes(),
                // a single zero byte: no end
                range_end: prefix_end(range.prefix.as_bytes()).unwrap_or_else(|| vec![0]),
                limit: range
                    .limit
                    .map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
                revision: range.revision.unwrap_or(0),
            };
            let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
            Ok(Page {
                entries: answer
                    .kvs
                    .into_iter()
                    .map(entry)
                    .collect::<Result<_, _>>()?,
                count: u64::try_from(answer.count).unwrap_or_default(),
                revision: answer.header.unwrap_or_default().revision,
            })
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> StoreFuture<'a, Changed> {
        Box::pin(async move {
            let put = PutRequest {
                key: key.as_bytes().to_vec(),
                value,
                lease: 0,
            };
            self.change(key, request_op::Request::Put(put), expect)
                .await
        })
    }

    fn delete<'a>(&'a self, key: &'a str, expect: Expect) -> StoreFuture<'a, Changed> {
        Box::pin(async move {
            let delete = DeleteRangeRequest {
                key: key.as_bytes().to_vec(),
            };
            self.change(key, request_op::Request::DeleteRange(delete), expect)
                .await
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: i64) -> StoreFuture<'a, Box<dyn Changes>> {
        Box::pin(async move {
            let create = WatchCreateRequest {
                key: prefix.as_bytes().to_vec(),
                range_end: prefix_end(prefix.as_bytes()).unwrap_or_else(|| vec![0]),
                start_revision: from,
                progress_notify: true,
                prev_kv: true,
            };
            let (requests, outgoing) = unbounded_channel();
            let create = WatchRequest {
                request: Some(watch_request::Request::Create(create)),
            };
            requests.send(create).expect("the other end is held here");
            let mut client = self.client();
            client
                .ready()
                .await
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
            let outgoing = Request::new(UnboundedReceiverStream::new(outgoing));
            let answer = client.streaming(outgoing, path, codec).await;
            let incoming = answer.map_err(|status| failed(&status))?.into_inner();
            Ok(Box::new(EtcdChanges { requests, incoming }) as Box<dyn Changes>)
        })
    }

    fn compact(&self, revision: i64) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let request = CompactionRequest {
                revision,
                physical: false,
            };
            let _: CompactionResponse = self.call("/etcdserverpb.KV/Compact", request).await?;
            Ok(())
        })
    }
}

struct EtcdChanges {
    requests: UnboundedSender<WatchRequest>,
    incoming: Streaming<WatchResponse>,
}

impl Changes for EtcdChanges {
    fn next(&mut self) -> StoreFuture<'_, Vec<Change>> {
        Box::pin(async move {
            loop {
                let answer = self
                    .incoming
                    .message()
                    .await
                    .map_err(|status| failed(&status))?;
                let Some(answer) = answer else {
                    return Err(StoreError::Unavailable("etcd closed the watch".to_owned()));
                };
                if answer.compact_revision > 0 {
                    return Err(StoreError::Compacted);
                }
                if answer.canceled {
                    return Err(StoreError::Unavailable(answer.cancel_reason));
                }
                if answer.created {
                    continue;
                }
                if answer.events.is_empty() {
                    let revision = answer.header.unwrap_or_default().revision;
                    return Ok(vec![Change::Progress { revision }]);
                }
                return answer.events.into_iter().map(change).collect();
            }
        })
    }

    fn ask_progress(&mut self) {
        let ask = WatchRequest {
            request: Some(watch_request::Request::Progress(
                proto::WatchProgressRequest {},
            )),
        };
        // where the stream is gone, `next` says so
        let _ = self.requests.send(ask);
    }
}

/// Whether an etcd of this version reports on demand, and rightly, how far a watch is: since 3.4.25 and 3.5.8.
pub fn reports_progress(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-'])
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    version >= (3, 5, 8) || ((3, 4, 25)..(3, 5, 0)).contains(&version)
}

fn mod_revision_is(key: &str, revision: i64) -> Compare {
    Compare {
        result: 0,
        target: CompareTarget::Mod.into(),
        key: key.as_bytes().to_vec(),
        target_union: Some(compare::TargetUnion::ModRevision(revision)),
    }
}

fn entry(kv: KeyValue) -> Result<Entry, StoreError> {
    let key = String::from_utf8(kv.key)
        .map_err(|_| StoreError::Unavailable("etcd holds a key that is not UTF-8".to_owned()))?;
    Ok(Entry {
        key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
    })
}

fn change(event: proto::Event) -> Result<Change, StoreError> {
    let kv = event
        .kv
        .ok_or_else(|| StoreError::Unavailable("etcd sent an event without a key".to_owned()))?;
    let previous = event.prev_kv.map(entry).transpose()?;
    let at = entry(kv)?;
    Ok(if event.r#type == i32::from(EventType::Delete) {
        Change::Delete {
            key: at.key,
            revision: at.mod_revision,
            previous,
        }
    } else {
        Change::Put {
            entry: at,
            previous,
        }
    })
}

fn failed(status: &Status) -> StoreError {
    match status.code() {
        Code::OutOfRange if status.message().contains("compacted") => StoreError::Compacted,
        Code::OutOfRange if status.message().contains("future") => StoreError::Future,
        _ => StoreError::Unavailable(format!("etcd: {:?}: {}", status.code(), status.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_do_not_report_progress() {
        for (version, reports) in [
            ("3.4.23", false),
            ("3.4.25", true),
            ("3.5.7", false),
            ("3.5.8", true),
            ("3.6.16", true),
            ("3.7.0-rc.1", true),
            ("", false),
        ] {
            assert_eq!(reports_progress(version), reports, "{version}");
        }
    }
}
