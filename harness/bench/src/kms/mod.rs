//! A lean gRPC client for one unix socket: one HTTP/2 connection, unary calls, prost messages.
//!
//! A general client costs as much CPU per call as the plugin that it calls, and both share the
//! machine with the server; this one costs a few microseconds, so that a burst of 1,000 calls
//! measures the plugin.

mod channel;
mod hpack;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use channel::Channel;
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

/// What a call came to when it was not an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The plugin answered with a gRPC error.
    Grpc {
        /// gRPC code, never 0.
        code: u32,
        /// The plugin's text.
        message: String,
    },
    /// No gRPC answer came: connection, protocol, or the answer does not parse.
    Transport(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc { code, message } => write!(f, "gRPC {code}: {message}"),
            Self::Transport(text) => write!(f, "transport: {text}"),
        }
    }
}

impl std::error::Error for CallError {}

fn transport(error: impl fmt::Display) -> CallError {
    CallError::Transport(error.to_string())
}

struct Shared {
    stream: UnixStream,
    channel: Mutex<Channel>,
    /// Something to write, or nobody left to write for.
    work: Notify,
}

impl Shared {
    fn channel(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().expect("no holder panics")
    }

    /// Writes what can be written; whether something is left.
    fn flush(&self) -> io::Result<bool> {
        let mut channel = self.channel();
        while !channel.out.is_empty() {
            match self.stream.try_write(&channel.out) {
                Ok(written) => drop(channel.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Ends the connection's task with the last channel.
struct Owner {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One channel to a plugin. Clones share its connection; it ends with the last of them.
#[derive(Clone)]
pub struct Kms {
    owner: Arc<Owner>,
}

impl Kms {
    /// Connects. Each call will tell the plugin the limit `timeout`, as an API server does;
    /// keeping to it is up to the caller.
    pub async fn connect(socket: &Path, timeout: Duration) -> Result<Self, CallError> {
        let stream = UnixStream::connect(socket).await.map_err(transport)?;
        let channel = Mutex::new(Channel::new(format!("{}m", timeout.as_millis())));
        let shared = Arc::new(Shared {
            stream,
            channel,
            work: Notify::new(),
        });
        let task = tokio::spawn(drive(Arc::clone(&shared)));
        Ok(Self {
            owner: Arc::new(Owner { shared, task }),
        })
    }

    /// `Status`.
    pub async fn status(&self) -> Result<StatusResponse, CallError> {
        self.call("/v2.KeyManagementService/Status", &StatusRequest::default())
            .await
    }

    /// `Encrypt`.
    pub async fn encrypt(&self, request: &EncryptRequest) -> Result<EncryptResponse, CallError> {
        self.call("/v2.KeyManagementService/Encrypt", request).await
    }

    /// `Decrypt`.
    pub async fn decrypt(&self, request: &DecryptRequest) -> Result<DecryptResponse, CallError> {
        self.call("/v2.KeyManagementService/Decrypt", request).await
    }

    async fn call<A: Message + Default>(
        &self,
        path: &'static str,
        message: &impl Message,
    ) -> Result<A, CallError> {
        let shared = &self.owner.shared;
        let (sender, receiver) = oneshot::channel();
        let (ticket, alone) = {
            let mut channel = shared.channel();
            (channel.call(path, framed(message), sender), channel.alone())
        };
        let mut cancel = Cancel {
            shared,
            ticket: Some(ticket),
        };
        // A lone call is written at once; of many the task writes all that came up in one turn.
        if !alone || !matches!(shared.flush(), Ok(false)) {
            shared.work.notify_one();
        }
        let answer = receiver
            .await
            .unwrap_or_else(|_| Err(transport("the channel has ended")));
        cancel.ticket = None;
        A::decode(answer?).map_err(transport)
    }
}

/// Takes a call back whose caller has gone.
struct Cancel<'a> {
    shared: &'a Shared,
    ticket: Option<u64>,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.channel().cancel(ticket);
            self.shared.work.notify_one();
        }
    }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut framed = Vec::with_capacity(5 + length);
    framed.push(0);
    framed.extend(
        u32::try_from(length)
            .expect("requests are small")
            .to_be_bytes(),
    );
    message.encode(&mut framed).expect("a vector grows");
    framed
}

/// Moves bytes until the connection ends, then fails what is left.
async fn drive(shared: Arc<Shared>) {
    let Err(error) = pump(&shared).await else {
        return;
    };
    shared.channel().fail(&error.to_string());
}

/// Never `Ok`.
async fn pump(shared: &Shared) -> io::Result<()> {
    let mut input: Vec<u8> = Vec::with_capacity(64 * 1024);
    loop {
        let blocked = shared.flush()?;
        tokio::select! {
            biased;
            () = shared.work.notified() => continue,
            ready = shared.stream.writable(), if blocked => {
                ready?;
                continue;
            }
            ready = shared.stream.readable() => ready?,
        }
        match shared.stream.try_read_buf(&mut input) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the plugin closed the connection",
                ));
            }
            Ok(_) => {
                let used = shared.channel().read(&input);
                let used = used.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
                input.drain(..used);
                input.reserve(16 * 1024);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
