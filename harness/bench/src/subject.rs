//! The plugin under measurement: its command line, its start, its first good Status.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kms_process::child::{Child, Launch};
use tokio::time::{Instant, timeout};

use crate::kms::{CallError, Kms};
use crate::server::Server;

/// Longest wait for the first good Status.
const READY: Duration = Duration::from_secs(20);

/// Pause between two looks at a starting plugin; bounds the error of a start time.
const LOOK: Duration = Duration::from_micros(100);

/// How the plugin gets its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// From a file.
    Token,
    /// AppRole login.
    AppRole,
    /// Username and password.
    Userpass,
}

/// What is started: our own plugin, or any other by a template.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A binary that speaks our command line.
    Ours(PathBuf),
    /// Words of a command with placeholders. One method of authentication is all it knows.
    Template(Vec<String>),
}

/// Values for the placeholders of one start.
#[derive(Debug, Default)]
pub struct Fill(BTreeMap<&'static str, String>);

/// All placeholders that a template may hold.
const PLACEHOLDERS: [&str; 9] = [
    "{socket}",
    "{vault}",
    "{ca}",
    "{token_file}",
    "{token}",
    "{role_id_file}",
    "{role_id}",
    "{secret_id_file}",
    "{secret_id}",
];

impl Subject {
    /// Reads `--subject-command`: words between blanks, no quoting.
    pub fn parse(command: &str) -> Result<Self> {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        ensure!(!words.is_empty(), "--subject-command is empty");
        ensure!(
            command.contains("{socket}"),
            "--subject-command must hold {{socket}}, or nothing could call the plugin"
        );
        for word in &words {
            let rest = PLACEHOLDERS
                .iter()
                .fold(word.clone(), |word, name| word.replace(name, ""));
            ensure!(
                !rest.contains(['{', '}']),
                "--subject-command: unknown placeholder in {word}; known are {}",
                PLACEHOLDERS.join(" ")
            );
        }
        Ok(Self::Template(words))
    }

    /// What the report calls it.
    pub fn name(&self) -> String {
        let program = match self {
            Self::Ours(path) => path.as_path(),
            Self::Template(words) => Path::new(&words[0]),
        };
        program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy()
            .into_owned()
    }

    /// Whether it can be started with this method.
    pub fn knows(&self, auth: Auth) -> bool {
        match self {
            Self::Ours(_) => true,
            Self::Template(words) => match auth {
                Auth::Token => words.iter().any(|w| w.contains("{token")),
                Auth::AppRole => words.iter().any(|w| w.contains("{secret_id")),
                Auth::Userpass => false,
            },
        }
    }

    /// Program and arguments.
    fn command(&self, auth: Auth, fill: &Fill) -> Result<(PathBuf, Vec<String>)> {
        let (program, template) = match self {
            Self::Ours(path) => (path.clone(), our_arguments(auth)),
            Self::Template(words) => (PathBuf::from(&words[0]), words[1..].to_vec()),
        };
        let args = template
            .iter()
            .filter_map(|word| fill.apply(word).transpose())
            .collect::<Result<_>>()?;
        Ok((program, args))
    }
}

fn our_arguments(auth: Auth) -> Vec<String> {
    let common = [
        "-listen-address=unix://{socket}",
        "-vault-address={vault}",
        "-tls-ca-file={ca}",
        "-transit-key=kms-key",
        "-metrics-port=0",
        "-health-port=0",
    ];
    let own: &[&str] = match auth {
        Auth::Token => &["-auth-method=token", "-token-path={token_file}"],
        Auth::AppRole => &[
            "-auth-method=approle",
            "-approle-role-id-path={role_id_file}",
            "-approle-secret-id-path={secret_id_file}",
        ],
        Auth::Userpass => &[
            "-auth-method=userpass",
            "-userpass-username-path={username_file}",
            "-userpass-password-path={password_file}",
        ],
    };
    common
        .iter()
        .chain(own)
        .map(|word| (*word).to_owned())
        .collect()
}

impl Fill {
    /// The server's part.
    pub fn new(server: &Server) -> Self {
        let mut fill = Self::default();
        fill.0.insert("{vault}", server.address());
        if let Some(ca) = &server.ca {
            fill.0.insert("{ca}", ca.display().to_string());
        }
        fill
    }

    /// A value given inline.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(name, value.into());
        self
    }

    /// A secret given as a file of mode 0600 below `dir`.
    pub fn with_file(self, name: &'static str, dir: &Path, value: &str) -> Result<Self> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = dir.join(name.trim_matches(['{', '}']));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(value.as_bytes())?;
        Ok(self.with(name, path.display().to_string()))
    }

    /// The word with its placeholders filled; `None` for a word about a CA when there is no TLS.
    fn apply(&self, word: &str) -> Result<Option<String>> {
        if word.contains("{ca}") && !self.0.contains_key("{ca}") {
            return Ok(None);
        }
        let filled = self.0.iter().fold(word.to_owned(), |word, (name, value)| {
            word.replace(name, value)
        });
        ensure!(
            !filled.contains('{'),
            "nothing to fill {word} with in this measurement"
        );
        Ok(Some(filled))
    }
}

/// A running plugin. Killed on drop.
pub struct Plugin {
    /// The process.
    pub process: Child,
    /// Its socket.
    pub socket: PathBuf,
    /// From before the start to the first good Status.
    pub started_in: Duration,
}

impl Plugin {
    /// Starts it as `name` with its socket in `dir`, and waits for the first good Status.
    pub async fn start(
        subject: &Subject,
        name: &str,
        auth: Auth,
        fill: Fill,
        dir: &Path,
    ) -> Result<Self> {
        let socket = dir.join(format!("{name}.sock"));
        let fill = fill.with("{socket}", socket.display().to_string());
        let (program, args) = subject.command(auth, &fill)?;
        // One that a former start left behind; taking those over is not measured here.
        let _ = std::fs::remove_file(&socket);
        let launch = Launch {
            args,
            ..Launch::new(name, &program, dir)
        };
        let begin = Instant::now();
        let mut process = Child::spawn(&launch)?;
        let mut channel = None;
        loop {
            let seen = look(&socket, &mut channel).await;
            if seen.is_ok() {
                return Ok(Self {
                    process,
                    socket,
                    started_in: begin.elapsed(),
                });
            }
            process.must_run()?;
            if begin.elapsed() > READY {
                let why = seen.expect_err("a good Status returns above");
                bail!(
                    "no good Status within {READY:?} ({why}); the plugin's last words:\n{}",
                    process.last_words()
                );
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the runtime's timer is ten times too coarse for a start time"
            )]
            std::thread::sleep(LOOK);
        }
    }

    /// A new channel to it, whose calls tell the limit `timeout`.
    pub async fn connect(&self, timeout: Duration) -> Result<Kms> {
        Kms::connect(&self.socket, timeout)
            .await
            .context("connecting to the plugin")
    }
}

/// One try at a good Status over a channel that is kept once it stands.
async fn look(socket: &Path, channel: &mut Option<Kms>) -> Result<(), CallError> {
    let kms = match channel {
        Some(kms) => kms,
        None => channel.insert(Kms::connect(socket, Duration::from_secs(3)).await?),
    };
    let answer = timeout(Duration::from_secs(3), kms.status()).await;
    match answer
        .unwrap_or_else(|_| Err(CallError::Transport("Status took more than 3 s".to_owned())))
    {
        Ok(status) if status.healthz == "ok" => Ok(()),
        Ok(status) => Err(CallError::Transport(format!(
            "healthz is {:?}",
            status.healthz
        ))),
        Err(error) => {
            if matches!(error, CallError::Transport(_)) {
                *channel = None;
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_and_ca_words_vanish_without_tls() {
        let subject =
            Subject::parse("./p -socket=unix://{socket} -ca={ca}  -token-path={token_file}")
                .unwrap();
        let fill = Fill::default()
            .with("{socket}", "/s")
            .with("{token_file}", "/t");
        let (program, args) = subject.command(Auth::Token, &fill).unwrap();
        assert_eq!(
            (program, args),
            (
                PathBuf::from("./p"),
                vec!["-socket=unix:///s".to_owned(), "-token-path=/t".to_owned()]
            )
        );
        assert!(subject.knows(Auth::Token) && !subject.knows(Auth::AppRole));
        assert_eq!(subject.name(), "p");
    }

    #[test]
    fn templates_with_unknown_or_missing_placeholders_are_refused() {
        for (command, word) in [
            ("", "empty"),
            ("p {vault}", "{socket}"),
            ("p {socket} {tokn}", "{tokn}"),
        ] {
            let text = Subject::parse(command).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error_not_an_argument() {
        let subject = Subject::parse("p {socket} -role={role_id}").unwrap();
        let fill = Fill::default().with("{socket}", "/s");
        assert!(subject.command(Auth::Token, &fill).is_err());
    }
}
