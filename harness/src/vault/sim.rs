//! The built-in Vault: sim-vault on a loopback port, in a thread of its own, so that it and the
//! suite do not wait for each other any more than a server's process would.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use sim_vault::{Options, SimVault};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::admin::Admin;
use super::{Product, VaultBackend};

/// A running simulation. Dropping it ends its thread.
#[derive(Debug)]
pub struct Sim {
    product: Product,
    address: String,
    root_token: Zeroizing<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Starts a fresh server whose randomness comes from `seed`.
    pub async fn start(seed: u64) -> Result<Self> {
        let root_token = Zeroizing::new(format!("root-{}", uuid::Uuid::new_v4().simple()));
        let options = Options {
            root_token: root_token.to_string(),
            seed,
            start_unix: u64::try_from(Timestamp::now().as_second())
                .context("read the wall clock")?,
            ..Options::default()
        };
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        #[expect(
            clippy::disallowed_methods,
            reason = "a server beside the suite, as a process would be"
        )]
        let thread = std::thread::spawn(move || serve(options, tell, stopped));
        let port = told.await.map_err(|_| anyhow!("its thread ended"))??;
        Ok(Self {
            product: Product {
                name: "sim-vault".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            address: format!("http://127.0.0.1:{port}"),
            root_token,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

fn serve(options: Options, tell: oneshot::Sender<Result<u16>>, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(tell.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let bound = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .context("bind a loopback port")?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (listener, port) = match bound.await {
            Ok(bound) => bound,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let vault = SimVault::new(options);
        let _ = tell.send(Ok(port));
        tokio::select! {
            biased;
            _ = stopped => {}
            _ = vault.listen(listener, None) => {}
        }
    });
}

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl VaultBackend for Sim {
    fn product(&self) -> &Product {
        &self.product
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.address.clone()]
    }

    fn ca(&self) -> Option<&Path> {
        None
    }

    fn admin(&self) -> Admin {
        Admin::new(&self.address, None, self.root_token.clone())
            .expect("our own address is well formed")
    }
}
