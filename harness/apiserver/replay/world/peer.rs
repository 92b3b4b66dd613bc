//! The plugin's side of the replay: dials, connections, answers at their recorded times.

use std::collections::VecDeque;
use std::time::Duration;

use kms_apiserver::grpc::{Code, Method, Status};
use kms_apiserver::seam::{ConnId, DialError, Event as Happened, ProviderId, Rpc};

use super::super::compare::Outcome;
use super::super::plugin::Reply;
use super::super::trace::Event;
use super::words::near;
use super::{Job, LATE, Link, Op, World};

impl<'t> World<'t> {
    pub(super) fn dial(
        &mut self,
        server: usize,
        provider: ProviderId,
        conn: ConnId,
        address: &str,
    ) {
        let plugin = self.plugin_of(address);
        let link = Link {
            plugin,
            open: None,
            leaving: None,
        };
        self.servers[server].links.insert(provider, link);
        if self.trace.is_virtual {
            return self.schedule(Duration::ZERO, Job::Dialled(server, provider, conn, Ok(())));
        }
        let planned = self.dials.get_mut(address).and_then(VecDeque::pop_front);
        let Some(planned) = planned else {
            let why = format!(
                "at {:?}: a dial to {address} that was not recorded",
                self.now
            );
            self.table.note("dial", Outcome::Different(why));
            let why = DialError::Connect(format!("dial unix {address}: connect: no such file"));
            return self.schedule(
                Duration::ZERO,
                Job::Dialled(server, provider, conn, Err(why)),
            );
        };
        let outcome = near("dial", self.now, planned.at, self.late());
        self.table.note("dial", outcome);
        let late = planned.at.saturating_sub(self.now);
        let late = if late <= LATE { late } else { Duration::ZERO };
        if let Some(outcome) = planned.outcome {
            self.schedule(late, Job::Dialled(server, provider, conn, outcome));
        }
    }

    /// The recording's name for the plugin behind a socket.
    pub(super) fn plugin_of(&self, address: &str) -> String {
        match self.trace.scenario.as_str() {
            "endpoints" if address.starts_with('@') => format!("abstract {address}"),
            "endpoints" => address.replace("//", "/").replace("kms/../", ""),
            "wire-frames-v031" if address.starts_with('@') => "abstract".to_owned(),
            "wire-frames-v031" if address.contains(' ') => "blank in path".to_owned(),
            _ => {
                let name = address.rsplit('/').next().unwrap_or("");
                name.trim_start_matches("plugin")
                    .trim_end_matches(".sock")
                    .to_owned()
            }
        }
    }

    pub(super) fn late(&self) -> Duration {
        if self.trace.is_virtual {
            Duration::ZERO
        } else {
            LATE
        }
    }

    pub(super) fn send(&mut self, server: usize, provider: ProviderId, conn: ConnId, rpc: &Rpc) {
        let plugin = self.servers[server].links[&provider].plugin.clone();
        self.servers[server]
            .calls
            .insert(rpc.call, (provider, conn));
        if rpc.method == Method::Decrypt {
            self.decrypts += 1;
        }
        let unlisted = self.trace.scenario == "metrics-lru"
            || self.trace.scenario == "virtual-cache-ttl"
                && (rpc.method == Method::Decrypt || self.now > Duration::ZERO);
        let recorded = if unlisted {
            None
        } else {
            self.plugin.next(&plugin, rpc.method, self.now, rpc.timeout)
        };
        if !unlisted {
            let outcome = self.compare_rpc(recorded, rpc);
            self.table.note("rpc", outcome);
        }
        let reply = match self.poisoned(rpc) {
            Some(bytes) => Reply::After(Duration::ZERO, Ok(bytes)),
            None => self.plugin.reply(recorded, rpc.method, &rpc.request),
        };
        match reply {
            Reply::After(after, outcome) => {
                let late =
                    recorded.map_or(Duration::ZERO, |event| event.at.saturating_sub(self.now));
                let late = if late <= LATE { late } else { Duration::ZERO };
                self.schedule(
                    late + after,
                    Job::Answer(server, provider, rpc.call, outcome),
                );
            }
            Reply::Never => {}
            Reply::Cut => self.lose(server, provider, conn),
        }
    }

    /// The virtual plugin's wrong answers, which are told in a note and by their effect.
    pub(super) fn poisoned(&self, rpc: &Rpc) -> Option<Vec<u8>> {
        let sick = Duration::from_secs(40)..Duration::from_secs(46);
        if self.trace.scenario == "virtual-probe-shadow-exact"
            && rpc.method == Method::Status
            && sick.contains(&self.now)
        {
            return Some(b"\x0a\x02v2\x12\x04sick\x1a\x05key-1".to_vec());
        }
        let wrong = rpc.method == Method::Decrypt
            && self.ops.values().any(|op| match op {
                Op::Read { event, .. } => event.text("note") == "wrong 32 bytes",
                Op::Probe { .. } => false,
            });
        wrong.then(|| [&[0x0a, 32][..], &[7; 32]].concat())
    }

    pub(super) fn lose(&mut self, server: usize, provider: ProviderId, conn: ConnId) {
        let now = self.at();
        if let Some(link) = self.servers[server].links.get_mut(&provider) {
            link.open = link.open.filter(|open| *open != conn);
            link.leaving = link.leaving.filter(|leaving| *leaving != conn);
        }
        self.servers[server].calls.retain(|_, (_, on)| *on != conn);
        let why = Status::new(Code::UNAVAILABLE, "error reading from server: EOF");
        self.model(server, |model| model.lost(now, provider, conn, &why));
    }

    pub(super) fn happened(&mut self, server: usize, event: Happened) {
        let now = self.at();
        match event {
            Happened::Started => self.loaded(server, None),
            Happened::StartFailed { error } => {
                self.loaded(server, Some(error));
                self.servers[server].model = None;
            }
            Happened::Decrypted { call, outcome } => {
                let Some(op) = self.servers[server].reads.remove(&call) else {
                    return;
                };
                let pending = match self.ops.get_mut(&op) {
                    Some(Op::Read { pending, .. }) => pending.take(),
                    _ => None,
                };
                if let (Some(pending), Some(model)) = (pending, &mut self.servers[server].model) {
                    let read = model.supply(now, *pending, outcome);
                    self.read_came(op, read);
                }
            }
            Happened::Probed { probe, result } => {
                let op = self.servers[server].probes.remove(&probe);
                if let Some(Op::Probe { event, .. }) = op.and_then(|op| self.ops.remove(&op)) {
                    self.probed(server, event, result);
                }
            }
            Happened::ReadConfig => {
                let content = self.trace.configs[self.config_file].clone();
                self.model(server, |model| {
                    model.config_read(now, Ok(content.as_bytes()))
                });
            }
            Happened::Reloaded { .. } => {}
            Happened::Log(log) => self.logs.push((self.now, log.text)),
        }
    }

    pub(super) fn cut(&mut self, event: &Event, graceful: bool) {
        let now = self.at();
        let plugin = event.text("plugin").to_owned();
        for server in 0..self.servers.len() {
            let links = self.servers[server].links.clone();
            for (provider, link) in links {
                let Some(conn) = link.open.filter(|_| link.plugin == plugin) else {
                    continue;
                };
                let busy = self.servers[server]
                    .calls
                    .values()
                    .any(|(_, on)| *on == conn);
                if graceful && busy {
                    if let Some(link) = self.servers[server].links.get_mut(&provider) {
                        link.open = None;
                        link.leaving = Some(conn);
                    }
                    self.model(server, |model| model.going_away(now, provider, conn));
                } else {
                    self.lose(server, provider, conn);
                }
            }
        }
    }
}
