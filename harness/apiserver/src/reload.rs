//! The reload of the configuration file: a poll of 60 s by content, a build beside the one in
//! force, a window in which the new plugins must be healthy, and retries that get ever slower
//! (KMS2-RELOAD-02 to -07).

use std::time::Duration;

use crate::config::{Config, content_hash};
use crate::encryption::{Encryption, indexed};
use crate::gotext::{log_value, quote};
use crate::seam::{Action, Event, Log, Now, ProbeId};
use crate::table::{Build, Generation};

/// Between looks at the file.
pub const CONFIG_POLL: Duration = Duration::from_secs(60);
/// The health window is at least this long (KMS2-RELOAD-04).
pub const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
/// Between health checks in the window.
pub const WINDOW_POLL: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LONGEST_RETRY: Duration = Duration::from_secs(1000);

/// The controller.
pub(crate) struct Reload {
    /// The next look at the file; none while it does not run.
    tick: Option<Duration>,
    retry: Option<Duration>,
    /// Failures since the process started: a success does not reset them (KMS2-RELOAD-05).
    failures: u32,
    /// Whether the file is to be looked at again.
    queued: bool,
    work: Work,
}

enum Work {
    None,
    /// The file is being read.
    Reading,
    /// The providers are being made.
    Building,
    /// The new plugins are watched.
    Window(Box<Window>),
}

struct Window {
    generation: Generation,
    end: Duration,
    next: Duration,
    probe: Option<ProbeId>,
    last: String,
}

impl Reload {
    pub(crate) fn new() -> Self {
        Reload {
            tick: None,
            retry: None,
            failures: 0,
            queued: false,
            work: Work::None,
        }
    }

    /// Starts, with a first look at once.
    pub(crate) fn begin(&mut self, now: Now) {
        self.tick = Some(now.mono);
    }

    pub(crate) fn stop(&mut self) {
        *self = Reload {
            failures: self.failures,
            ..Reload::new()
        };
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let window = match &self.work {
            Work::Window(window) if window.probe.is_none() => Some(window.next.min(window.end)),
            Work::Window(window) => Some(window.end),
            _ => None,
        };
        [self.tick, self.retry, window].into_iter().flatten().min()
    }
}

impl Encryption {
    /// Something happened to the file, for the versions that watch it (1.27, 1.28).
    pub fn config_touched(&mut self, _now: Now) {
        if self.options.reload && !self.options.version.polls_config() {
            self.reload.queued = true;
        }
    }

    pub(crate) fn poll_reload(&mut self, now: Now) {
        let polls = self.options.version.polls_config();
        let reload = &mut self.reload;
        if let Some(tick) = reload.tick.filter(|tick| *tick <= now.mono) {
            reload.queued = true;
            reload.tick = polls.then(|| {
                let missed = (now.mono - tick).as_nanos() / CONFIG_POLL.as_nanos();
                tick + CONFIG_POLL * (u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1)
            });
        }
        if reload.retry.is_some_and(|retry| retry <= now.mono) {
            reload.retry = None;
            reload.queued = true;
        }
        self.poll_window(now);
        if self.reload.queued && matches!(self.reload.work, Work::None) {
            self.reload.queued = false;
            self.reload.work = Work::Reading;
            self.out.push(Action::Event(Event::ReadConfig));
        }
    }

    /// The content of the file, as [`Event::ReadConfig`] asked for; or why it cannot be read, in
    /// Go's words, such as `open /etc/kms.yaml: no such file or directory`.
    pub fn config_read(&mut self, now: Now, content: Result<&[u8], String>) {
        if !matches!(self.reload.work, Work::Reading) {
            return;
        }
        let path = quote(&self.options.config_path);
        let content = content.map_err(|why| {
            format!(
                "error while parsing file: error while loading file: error reading encryption \
                 provider configuration file {path}: {why}"
            )
        });
        let parsed = content.and_then(|content| {
            let hash = content_hash(content, self.options.version);
            if self.config_hash() == Some(hash.as_str()) {
                return Ok(None);
            }
            let config = Config::parse(content, &self.options)?;
            Ok(Some(Build::new(config, hash)))
        });
        match parsed {
            Ok(None) => {
                self.reload.work = Work::None;
                self.out.push(Log::info(
                    4,
                    "\"Encryption config has not changed (before load)\" \
                     name=\"kms-encryption-config\""
                        .to_owned(),
                ));
            }
            Ok(Some(build)) => {
                self.reload.work = Work::Building;
                self.build = Some(build);
                self.advance(now);
            }
            Err(why) => self.reload_failed(now, why),
        }
    }

    /// The new providers exist: now they have to be healthy.
    pub(crate) fn reload_built(&mut self, now: Now, generation: Generation) {
        let window = Window {
            end: now.mono + generation.grace.max(SHORTEST_WINDOW),
            next: now.mono,
            probe: None,
            last: String::new(),
            generation,
        };
        self.reload.work = Work::Window(Box::new(window));
        self.poll_window(now);
    }

    fn poll_window(&mut self, now: Now) {
        let Work::Window(window) = &mut self.reload.work else {
            return;
        };
        if window.end <= now.mono {
            if let Some(probe) = window.probe {
                // Its context is over by its own deadline.
                self.cancel_probe(now, probe);
            }
            return self.window_over(now);
        }
        if window.probe.is_some() || window.next > now.mono {
            return;
        }
        while window.next <= now.mono {
            window.next += WINDOW_POLL;
        }
        let (providers, end) = (indexed(&window.generation), window.end);
        // A walk that ends at once comes back before its id is known here.
        let before = self.next_probe();
        if let Work::Window(window) = &mut self.reload.work {
            window.probe = Some(before);
        }
        self.walk(now, providers, Some(end));
    }

    /// Whether the outcome of a walk is for the window.
    pub(crate) fn reload_probed(
        &mut self,
        now: Now,
        probe: ProbeId,
        result: &Result<(), String>,
    ) -> bool {
        let Work::Window(window) = &mut self.reload.work else {
            return false;
        };
        if window.probe != Some(probe) {
            return false;
        }
        window.probe = None;
        match result {
            Err(why) => {
                why.clone_into(&mut window.last);
                // The ticks that passed meanwhile are lost.
                while window.next <= now.mono {
                    window.next += WINDOW_POLL;
                }
            }
            Ok(()) => self.reload_succeeded(now),
        }
        true
    }

    fn window_over(&mut self, now: Now) {
        if let Work::Window(window) = std::mem::replace(&mut self.reload.work, Work::None) {
            let Window {
                generation, last, ..
            } = *window;
            self.reload_failed(
                now,
                format!(
                    "health check for new transformers failed, polling error timed out waiting \
                     for the condition: {last}"
                ),
            );
            self.close(generation, now);
        }
    }

    fn reload_succeeded(&mut self, now: Now) {
        if let Work::Window(window) = std::mem::replace(&mut self.reload.work, Work::None) {
            self.metrics.reload(true, now.unix);
            self.out
                .push(Log::info(4, "\"Health check succeeded\"".to_owned()));
            self.swap(now, window.generation);
            self.out.push(Log::info(
                4,
                "\"Loaded new kms encryption config content\" name=\"kms-encryption-config\""
                    .to_owned(),
            ));
            self.out
                .push(Action::Event(Event::Reloaded { result: Ok(()) }));
        }
    }

    /// The configuration in force stays; the file is looked at again after a while.
    pub(crate) fn reload_failed(&mut self, now: Now, why: String) {
        self.reload.work = Work::None;
        let error = format!(
            "error processing encryption config file {}: {why}",
            self.options.config_path
        );
        self.out.push(Log::error(format!(
            "\"Unhandled Error\" err={} logger=\"UnhandledError\"",
            log_value(&error)
        )));
        self.metrics.reload(false, now.unix);
        let delay = FIRST_RETRY * 2u32.saturating_pow(self.reload.failures.min(20));
        let retry = now.mono + delay.min(LONGEST_RETRY);
        self.reload.failures = self.reload.failures.saturating_add(1);
        self.reload.retry = Some(self.reload.retry.map_or(retry, |known| known.min(retry)));
        self.out
            .push(Action::Event(Event::Reloaded { result: Err(error) }));
    }
}
