//! One node: an API server, the plugin on its socket, and the files, the clock and the ears of the plugin.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_apiserver::version::Version;
use kms_apiserver_api::Trouble;
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::store::memory::MemoryStore;
use kms_history::chaos::Event;
use kms_scenario::seed::Seed;
use kms_scenario::world::{Recorder, WorldSpec, encryption_configuration};
use kms_sim_net::Net;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use vault_kubernetes_kms::config::{Command, Config, Invocation, resolve};
use vault_kubernetes_kms::plugin::Plugin;
use vault_kubernetes_kms::seam::{BoxIo, Env};

use crate::between::Planting;
use crate::client::Client;
use crate::server::Server;
use crate::socket::{SOCKET, Socket, SocketFile};
use crate::surroundings::{BEGIN, Dial, Files, Jitter, Told, Wall, Wire, lock};
use crate::tasks::Tasks;
use crate::vault::{KEY, MOUNT, Vaults};

/// Where the API server finds its plugin.
pub const ENDPOINT: &str = "unix:///run/kms/kms.sock";

/// A plugin that is asked to stop is given up after this; its process would be killed then.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// One node of a world.
pub struct Node {
    index: u32,
    net: Net,
    tasks: Tasks,
    recorder: Recorder,
    seed: Seed,
    config: Config,
    pub files: Files,
    pub wall: Wall,
    pub wire: Wire,
    pub plugin_log: Told,
    pub server_log: Told,
    pub socket: Arc<Socket>,
    pub server: Arc<Server>,
    pub client: Client,
    file: SocketFile,
    store: MemoryStore,
    settings: Settings,
    planting: Option<Planting>,
    life: Mutex<Lives>,
}

#[derive(Default)]
struct Lives {
    begun: u64,
    now: Option<Life>,
}

/// A plugin that runs.
struct Life {
    task: AbortHandle,
    stop: Option<oneshot::Sender<()>>,
    ended: Arc<Notify>,
}

impl Node {
    /// A node where nothing runs yet.
    pub fn new(
        index: u32,
        spec: &WorldSpec,
        vaults: &Vaults,
        store: &MemoryStore,
        (net, tasks, recorder): (&Net, &Tasks, &Recorder),
        planting: Option<Planting>,
    ) -> Result<Self, Trouble> {
        let seed = Seed::root(spec.seed).label(&format!("node {index}"));
        let version: Version = spec
            .server_version
            .parse()
            .map_err(|error| Trouble::new(format!("server-version: {error}")))?;
        let mut settings = Settings::new(version, seed.label("apiserver").bytes(), BEGIN);
        settings.server_id = format!("kube-apiserver-{index}");
        let (file, server_log) = (SocketFile::default(), Told::default());
        let socket = Arc::new(Socket::new(
            net.clone(),
            (api_host(index), plugin_host(index)),
            file.clone(),
            Some((recorder.clone(), index)),
            seed.label("socket").bytes(),
        ));
        let text = encryption_configuration(&spec.providers, ENDPOINT);
        let server = Server::new(
            settings.clone(),
            &text,
            store,
            Arc::clone(&socket),
            &server_log,
        );
        let files = Files::default();
        vaults.write_credentials(index as usize, &files);
        Ok(Self {
            index,
            net: net.clone(),
            tasks: tasks.clone(),
            recorder: recorder.clone(),
            seed,
            config: configuration(spec, vaults, &files)?,
            files,
            wall: Wall::new(),
            wire: Wire::default(),
            plugin_log: Told::default(),
            server_log,
            socket,
            server: Arc::new(server),
            client: Client::new(net.clone(), plugin_host(index), file.clone()),
            file,
            store: store.clone(),
            settings,
            planting,
            life: Mutex::default(),
        })
    }

    /// Starts the plugin, if it does not run.
    pub fn start_plugin(&self) {
        let mut lives = lock(&self.life);
        if lives.now.is_some() {
            return;
        }
        lives.begun += 1;
        let host = self.net.restart(&plugin_host(self.index));
        let listener = host
            .listen(SOCKET)
            .expect("the first listener of a new life");
        let jitter = self.seed.label(&format!("plugin {}", lives.begun));
        let env = Env {
            connector: Arc::new(Dial {
                host,
                wire: self.wire.clone(),
                between: self.planting.clone(),
            }),
            wall: Arc::new(self.wall.clone()),
            entropy: Arc::new(Jitter::new(jitter.bytes())),
            secrets: Arc::new(self.files.clone()),
            observer: Arc::new(self.plugin_log.clone()),
        };
        let plugin = Plugin::new(self.config.clone(), env);
        let planting = self.planting.clone();
        if let Some(planting) = &planting {
            planting.between.started(self.index);
        }
        let callers = listener.map(move |caller| {
            let caller = caller.map(|stream| Box::new(stream) as BoxIo);
            match &planting {
                Some(planting) => caller.map(|caller| planting.in_front(caller)),
                None => caller,
            }
        });
        let (stop, stopped) = oneshot::channel();
        let ended = Arc::new(Notify::new());
        let last = LastWords {
            recorder: self.recorder.clone(),
            node: self.index,
            ended: Arc::clone(&ended),
        };
        self.recorder.note(Some(self.index), Event::PluginStarted);
        let task = self.tasks.spawn(async move {
            let _last = last;
            let served = plugin.serve(callers, async {
                // a sender that is dropped belongs to a plugin that is killed anyway
                if stopped.await.is_err() {
                    std::future::pending().await
                }
            });
            served.await;
        });
        self.file.set(true);
        lives.now = Some(Life {
            task,
            stop: Some(stop),
            ended,
        });
    }

    /// Kills the plugin (SIGKILL): its socket file stays. Whether it ran.
    pub fn kill_plugin(&self) -> bool {
        let life = lock(&self.life).now.take();
        let Some(life) = life else {
            return false;
        };
        let ran = !life.task.is_finished();
        life.task.abort();
        self.net.kill(&plugin_host(self.index));
        if ran {
            self.note_stop("killed");
        }
        ran
    }

    /// Stops the plugin (SIGTERM) and waits for its end. Whether it ran.
    pub async fn stop_plugin(&self) -> bool {
        let (ended, ran) = {
            let mut lives = lock(&self.life);
            let Some(life) = &mut lives.now else {
                return false;
            };
            let Some(stop) = life.stop.take() else {
                return false;
            };
            let ran = !life.task.is_finished();
            // fails when it has ended by itself
            let _ = stop.send(());
            (Arc::clone(&life.ended), ran)
        };
        // the path goes first, so that nobody new comes
        self.file.set(false);
        let in_time = !ran || timeout(STOP_LIMIT, ended.notified()).await.is_ok();
        if let Some(life) = lock(&self.life).now.take() {
            life.task.abort();
        }
        self.net.kill(&plugin_host(self.index));
        if ran {
            self.note_stop(if in_time {
                "stopped"
            } else {
                "killed: it did not stop in time"
            });
        }
        ran
    }

    fn note_stop(&self, how: &str) {
        self.recorder
            .note(Some(self.index), Event::PluginStopped(how.to_owned()));
    }

    /// A new API server over the same store, with the same plugin and the configuration of now.
    pub async fn fresh_server(&self, number: u64) -> Result<Arc<Server>, Trouble> {
        let host = format!("fresh-{}-{number}", self.index);
        let seed = self.seed.label(&host);
        let mut settings = self.settings.clone();
        settings.seed = seed.bytes();
        settings.server_id = host.clone();
        let socket = Socket::new(
            self.net.clone(),
            (host, plugin_host(self.index)),
            self.file.clone(),
            None,
            seed.label("socket").bytes(),
        );
        let configuration = self.server.configuration();
        let server = Server::new(
            settings,
            &configuration,
            &self.store,
            Arc::new(socket),
            &self.server_log,
        );
        server.start().await?;
        Ok(Arc::new(server))
    }
}

/// Says when a plugin's task ends.
struct LastWords {
    recorder: Recorder,
    node: u32,
    ended: Arc<Notify>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let event = Event::PluginStopped("panicked".to_owned());
            self.recorder.note(Some(self.node), event);
        }
        self.ended.notify_one();
    }
}

/// The host of a node's API server.
pub fn api_host(node: u32) -> String {
    format!("apiserver-{node}")
}

/// The host of a node's plugin.
pub fn plugin_host(node: u32) -> String {
    format!("plugin-{node}")
}

/// The plugin's configuration, made of flags as an operator gives them.
fn configuration(spec: &WorldSpec, vaults: &Vaults, files: &Files) -> Result<Config, Trouble> {
    let mut flags = vec![
        ("listen-address", ENDPOINT.to_owned()),
        ("vault-address", vaults.addresses()),
        ("allow-plaintext-vault", "true".to_owned()),
        ("transit-mount", MOUNT.to_owned()),
        ("transit-key", KEY.to_owned()),
        ("health-address", "off".to_owned()),
        ("metrics-address", "off".to_owned()),
    ];
    let login = vaults.login_flags();
    flags.extend(
        login
            .into_iter()
            .map(|(name, value)| (name, value.to_owned())),
    );
    flags.retain(|(name, _)| !spec.plugin.contains_key(*name));
    let given = spec.plugin.iter();
    let args = flags
        .iter()
        .map(|(name, value)| format!("-{name}={value}"))
        .chain(given.map(|(name, value)| format!("-{name}={value}")));
    let environment: [(&str, &str); 0] = [];
    match resolve(args, environment, files) {
        Ok(Invocation::Run(resolved)) if matches!(resolved.command, Command::Serve) => {
            Ok(resolved.config)
        }
        Ok(_) => Err(Trouble::new("the plugin's flags ask for no plugin to run")),
        Err(errors) => {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let text = format!("the plugin's flags: {}", all.join("; "));
            Err(Trouble::new(text))
        }
    }
}
