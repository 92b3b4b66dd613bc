//! A server in a container, by testcontainers: any image of either product whose entry point takes
//! the server's own arguments, as the official ones do.
//!
//! The daemon is found by `DOCKER_HOST`, else at the usual sockets; a TCP one without TLS. An image
//! that is not there is pulled. Every end of a run removes the container, but for a kill -9 and the
//! moment in which it is being made; [`OWNER`] tells whose a leftover is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kms_conformance::BoxFuture;
use kms_process::dev;
use testcontainers::bollard::query_parameters::RemoveContainerOptionsBuilder;
use testcontainers::core::IntoContainerPort;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::admin::Admin;
use super::certificates::Certificates;
use super::family::{self, Family};
use super::image::Image;
use super::server::{Listen, raft_settings};
use super::state::{self, ANSWERS};
use super::{Breakable, Product, VaultBackend};
use kms_process::ports::free_ports;

/// Limit for the daemon to say who it is.
const DAEMON: Duration = Duration::from_secs(10);
/// Limit for a container to start once its image is there; a pull may take what it takes.
const STARTS: Duration = Duration::from_secs(60);
/// Where the server listens inside.
const PORT: u16 = 8200;
/// The label of our containers: the process id of the harness that owns it.
pub const OWNER: &str = "kms-harness.owner";
/// Folder of our files inside.
const INSIDE: &str = "/kms-harness";

/// A server in a running container. Dropping it removes the container.
pub struct Container {
    product: Product,
    runtime: String,
    address: String,
    ca: Option<PathBuf>,
    root_token: Zeroizing<String>,
    unseal_key: Zeroizing<String>,
    container: ContainerAsync<GenericImage>,
}

impl Container {
    /// Dev mode: plain HTTP, storage in memory, unsealed.
    pub async fn dev(image: &Image) -> Result<Self> {
        let root_token = Zeroizing::new(format!("root-{}", uuid::Uuid::new_v4().simple()));
        let mut request = request(image, dev::arguments(&format!("0.0.0.0:{PORT}")));
        for family in [Family::OpenBao, Family::Vault] {
            request = request.with_env_var(family.root_token_variable(), root_token.as_str());
        }
        let mut it = Self::start_with(request, image, "http", None).await?;
        it.root_token = root_token;
        state::wait_active(&it.admin())
            .await
            .context("in the container")?;
        let container = &it.container;
        let printed = || async { Ok(container.stdout_to_vec().await?) };
        it.unseal_key = state::printed_unseal_key(printed).await?;
        Ok(it)
    }

    /// One node on raft storage with TLS, initialised with one unseal key, unsealed. Its files in
    /// the image belong to root, so this is for images whose server runs as root.
    pub async fn raft(image: &Image, folder: &Path) -> Result<Self> {
        let certificates = Certificates::create(folder)?;
        let inside = |file: &str| Path::new(INSIDE).join(file);
        let seen = Certificates {
            ca: inside("ca.pem"),
            certificate: inside("server.pem"),
            key: inside("server.key"),
        };
        let listen = Listen {
            address: format!("0.0.0.0:{PORT}"),
            cluster_address: "127.0.0.1:8201".to_owned(),
            public: format!("https://127.0.0.1:{PORT}"),
        };
        let settings = raft_settings("container", &inside("data"), &listen, Some(&seen));
        let config = inside("server.json").display().to_string();
        let arguments = vec!["server".to_owned(), format!("-config={config}")];
        let request = request(image, arguments)
            .with_copy_to(config, settings.to_string().into_bytes())
            .with_copy_to(
                seen.certificate.display().to_string(),
                certificates.certificate.clone(),
            )
            .with_copy_to(seen.key.display().to_string(), certificates.key.clone())
            // The server wants its data folder to be there.
            .with_copy_to(
                inside("data/made-by").display().to_string(),
                b"kms-harness".to_vec(),
            );
        let mut it = Self::start_with(request, image, "https", Some(certificates.ca)).await?;
        let keys = state::init(&it.admin()).await?;
        it.root_token = keys.root_token;
        it.unseal_key = keys.unseal_key;
        state::unseal(&it.admin(), &it.unseal_key).await?;
        state::wait_active(&it.admin()).await?;
        Ok(it)
    }

    async fn start_with(
        request: ContainerRequest<GenericImage>,
        image: &Image,
        scheme: &str,
        ca: Option<PathBuf>,
    ) -> Result<Self> {
        let runtime = daemon().await?;
        let [port] = free_ports()?;
        let name = format!("kms-harness-{}", uuid::Uuid::new_v4().simple());
        let request = request
            .with_container_name(&name)
            .with_label(OWNER, std::process::id().to_string())
            // The same one after a restart.
            .with_mapped_port(port, PORT.tcp())
            .with_host_config_modifier(|config| {
                let bindings = config
                    .port_bindings
                    .iter_mut()
                    .flat_map(|all| all.values_mut());
                for binding in bindings.flatten().flatten() {
                    binding.host_ip = Some("127.0.0.1".to_owned());
                }
            });
        let container = match request.start().await {
            Ok(container) => container,
            Err(error) => {
                remove(&name).await;
                return Err(anyhow!(error).context(format!("start a container of {image}")));
            }
        };
        let mut it = Self {
            product: Product {
                name: String::new(),
                version: String::new(),
            },
            runtime,
            address: format!("{scheme}://127.0.0.1:{port}"),
            ca,
            root_token: Zeroizing::default(),
            unseal_key: Zeroizing::default(),
            container,
        };
        if let Err(error) = state::wait_health(&it.admin(), ANSWERS).await {
            return Err(error.context(format!("{image}; it said:\n{}", it.last_words().await)));
        }
        let seal_status = it.admin().read("sys/seal-status").await?.ok()?;
        it.product = family::product(&seal_status);
        Ok(it)
    }

    async fn last_words(&self) -> String {
        let mut said = self.container.stdout_to_vec().await.unwrap_or_default();
        said.extend(self.container.stderr_to_vec().await.unwrap_or_default());
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Whether images can be run here: a daemon answers, and has the image.
pub async fn ready(image: &Image) -> Result<()> {
    daemon().await?;
    let docker = docker_client_instance().await?;
    let there = timeout(DAEMON, docker.inspect_image(&image.to_string())).await;
    there
        .context("the daemon does not answer")?
        .with_context(|| format!("there is no image {image}"))
        .map(drop)
}

/// Who the daemon is, such as `docker 20.10.24`.
async fn daemon() -> Result<String> {
    let asked = async {
        docker_client_instance()
            .await?
            .version()
            .await
            .map_err(anyhow::Error::from)
    };
    let version = timeout(DAEMON, asked)
        .await
        .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", DAEMON.as_secs())))
        .context(
            "no Docker daemon answers at DOCKER_HOST or the usual socket: start one, set DOCKER_HOST, or run ci/docker",
        )?;
    Ok(format!("docker {}", version.version.unwrap_or_default()))
}

fn request(image: &Image, arguments: Vec<String>) -> ContainerRequest<GenericImage> {
    GenericImage::new(image.name(), image.tag())
        .with_cmd(arguments)
        // The official images would mark their binary, which needs a right that is not given.
        .with_env_var("SKIP_SETCAP", "1")
        .with_startup_timeout(STARTS)
}

/// Removes what a failed start leaves. Its error is not the one to tell.
async fn remove(name: &str) {
    if let Ok(docker) = docker_client_instance().await {
        let all = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let _ = timeout(DAEMON, docker.remove_container(name, Some(all))).await;
    }
}

impl VaultBackend for Container {
    fn product(&self) -> &Product {
        &self.product
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.address.clone()]
    }

    fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    fn admin(&self) -> Admin {
        Admin::new(&self.address, self.ca.as_deref(), self.root_token.clone())
            .expect("our own address and CA are well formed")
    }

    fn container_runtime(&self) -> Option<&str> {
        Some(&self.runtime)
    }
}

impl Breakable for Container {
    fn seal(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { state::seal(&self.admin()).await })
    }

    fn unseal(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { state::unseal(&self.admin(), &self.unseal_key).await })
    }

    fn freeze(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(self.container.pause().await?) })
    }

    fn thaw(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(self.container.unpause().await?) })
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(self.container.stop().await?) })
    }

    fn start(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            ensure!(self.ca.is_some(), "a dev server starts empty");
            self.container.start().await?;
            state::wait_health(&self.admin(), ANSWERS).await?;
            state::unseal(&self.admin(), &self.unseal_key).await
        })
    }

    fn freeze_leader(&mut self) -> BoxFuture<'_, Result<()>> {
        self.freeze()
    }

    fn step_down(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { state::step_down(&self.admin()).await })
    }

    fn lose_leader(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(self.container.stop_with_timeout(Some(0)).await?) })
    }
}
