//! The harness's own connection to a plugin: kept while it works, made anew when it does not.

use std::time::Duration;

use kms_apiserver::grpc::{Code, Method, Status};
use kms_apiserver::seam::{CallId, DialError, Rpc};
use kms_apiserver_node::rpc::{self, Connection};
use kms_history::chaos::RpcEnd;
use kms_history::search::holds;
use kms_scenario::world::Probe;
use kms_sim_net::Net;
use kms_v2_api::{EncryptRequest, EncryptResponse, StatusRequest};
use prost::Message;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::socket::{self, SOCKET, SocketFile};

/// The host that the harness's own connections come from.
const HOST: &str = "harness";

/// One client of one plugin.
pub struct Client {
    net: Net,
    plugin: String,
    file: SocketFile,
    open: Mutex<Option<Open>>,
}

struct Open {
    connection: Connection,
    driver: AbortHandle,
    /// Owns the task that reads.
    _tasks: JoinSet<()>,
}

impl Client {
    pub fn new(net: Net, plugin: String, file: SocketFile) -> Self {
        Self {
            net,
            plugin,
            file,
            open: Mutex::new(None),
        }
    }

    pub async fn status(&self, limit: Duration) -> Probe {
        let request = StatusRequest {}.encode_to_vec();
        self.probe(Method::Status, request, limit, socket::end_of_status, &[])
            .await
    }

    pub async fn encrypt(&self, plaintext: &[u8], limit: Duration) -> Probe {
        let request = EncryptRequest {
            plaintext: plaintext.to_vec().into(),
            uid: "the-harness-itself".to_owned(),
        };
        let read = |answer: &Result<Vec<u8>, Status>| {
            socket::end(answer, |bytes| {
                EncryptResponse::decode(bytes).map(|answer| (answer.key_id, None))
            })
        };
        let sent = request.encode_to_vec();
        self.probe(Method::Encrypt, sent, limit, read, plaintext)
            .await
    }

    async fn probe(
        &self,
        method: Method,
        request: Vec<u8>,
        limit: Duration,
        read: impl FnOnce(&Result<Vec<u8>, Status>) -> RpcEnd,
        secret: &[u8],
    ) -> Probe {
        let began = Instant::now();
        let answer = timeout(limit, self.call(method, request, limit)).await;
        let answer = answer.unwrap_or_else(|_| {
            let text = format!("no answer within {limit:?}");
            Err(Status::new(Code::DEADLINE_EXCEEDED, text))
        });
        Probe {
            took: began.elapsed(),
            end: read(&answer),
            clear: answer.is_ok_and(|answer| holds(&answer, secret)),
        }
    }

    async fn call(
        &self,
        method: Method,
        request: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, Status> {
        let connection = self.connection().await?;
        let rpc = Rpc {
            call: CallId(0),
            method,
            request,
            timeout: limit,
        };
        connection.call(rpc).await
    }

    async fn connection(&self) -> Result<Connection, Status> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open
            && !open.driver.is_finished()
        {
            return Ok(open.connection.clone());
        }
        *open = None;
        let failed = |text: String| Status::new(Code::UNAVAILABLE, text);
        let dialled = match self.file.check() {
            Ok(()) => self.net.host(HOST).connect(&self.plugin, SOCKET).await,
            Err(error) => Err(error),
        };
        let stream = dialled.map_err(|error| failed(error.to_string()))?;
        let made = rpc::handshake(Box::new(stream), "localhost".to_owned(), "kms-harness").await;
        let (connection, driver) = made.map_err(|error| match error {
            DialError::Connect(text) | DialError::Preface(text) => failed(text),
        })?;
        let mut tasks = JoinSet::new();
        let driver = tasks.spawn(driver);
        *open = Some(Open {
            connection: connection.clone(),
            driver,
            _tasks: tasks,
        });
        Ok(connection)
    }

    /// Hangs up.
    pub async fn close(&self) {
        *self.open.lock().await = None;
    }
}
