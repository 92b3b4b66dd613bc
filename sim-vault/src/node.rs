//! Nodes of a cluster. All nodes work on one state; what differs is what a node may do with a request itself,
//! and how old its view is.

use std::{borrow::Cow, time::Duration};

use crate::{
    Core, Request, Response,
    call::Op,
    pipeline::{Place, below},
    reply::Refused,
};

/// What cannot be put aside, and what is said then.
pub(crate) enum Unwrapped {
    /// A good answer.
    Answer(Refused),
    /// Any request that its token may make.
    Request(Refused),
}

/// What wraps the body of its request.
const WRAP: &str = "sys/wrapping/wrap";

/// How a standby stands to the active node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// It answers.
    #[default]
    Alive,
    /// It is gone since then, but still named: redirects go to its address.
    Lost(Duration),
    /// There is none, and none is named.
    None,
}

/// One node of a cluster. The default is the active node of a cluster of one.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// It does not lead.
    pub standby: bool,
    /// A standby forwards everything, as OpenBao's do with `disable_standby_reads`, and Vault's always.
    pub forwards_all: bool,
    /// How the active node is.
    pub leader: Leader,
    /// So old is a standby's view of keys.
    pub lag: Duration,
    /// It has not joined the cluster.
    pub uninitialised: bool,
    /// It is sealed, whatever the others are.
    pub sealed: bool,
    /// It has had a heartbeat of the active node: shows in `sys/health`.
    pub settled: bool,
}

/// A server of the cluster, as `sys/leader`, `sys/ha-status` and the raft endpoints name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its `node_id`.
    pub name: String,
    /// Where clients reach it, e.g. `https://127.0.0.1:8200`.
    pub api_addr: String,
    /// Where the others reach it, e.g. `127.0.0.1:8201`.
    pub cluster_addr: String,
    /// It leads, or did last.
    pub leads: bool,
    /// It runs and is unsealed: the active node hears of it.
    pub heard: bool,
}

/// Two heartbeats of five seconds missed: from then on Vault's health says 474.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(10);

impl Core {
    /// Answers one request as a node of a cluster does; sealing may change the node.
    pub fn handle_on(&mut self, node: &mut Node, now: Duration, request: &Request) -> Response {
        std::mem::swap(&mut self.node, node);
        let response = self.handle(now, request);
        std::mem::swap(&mut self.node, node);
        response
    }

    /// Names the servers of the cluster. Without, there is one, which is reached at [`crate::Options::api_addr`]; with more
    /// than one, sealing the active node by a request leaves the others unsealed, and whoever drives them elects another.
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.members = members;
    }

    /// The servers of the cluster; never empty.
    pub(crate) fn members(&self) -> Cow<'_, [Member]> {
        if !self.members.is_empty() {
            return Cow::Borrowed(&self.members);
        }
        let address = &self.options.api_addr;
        Cow::Owned(vec![Member {
            name: "node".to_owned(),
            api_addr: address.clone(),
            cluster_addr: address.rsplit('/').next().unwrap_or_default().to_owned(),
            leads: true,
            heard: true,
        }])
    }

    /// The server that leads, or is still named as the one that does.
    pub(crate) fn leader(&self) -> Option<Member> {
        let members = self.members();
        let leads = members.iter().find(|member| member.leads);
        leads.filter(|_| self.node.leader != Leader::None).cloned()
    }

    /// The forwarding of Vault is unconditional; DOCS-ONLY: not so Enterprise's.
    fn forwards_all(&self) -> bool {
        self.node.forwards_all || self.flavour.is_vault() && !self.is_enterprise()
    }

    /// The leader has been gone so long that Vault's health says so.
    pub(crate) fn leader_unhealthy(&self) -> bool {
        self.flavour.is_vault()
            && matches!(self.node.leader, Leader::Lost(since) if self.now >= since + UNHEALTHY_AFTER)
    }

    /// What a standby does with a request instead of handling it.
    pub(crate) fn elsewhere(&self, request: &Request, op: Op, place: &Place) -> Option<Answered> {
        if !self.node.standby {
            return None;
        }
        if self.forwards_all() || !self.served_locally(request, op, place) {
            return self.forwarded(request);
        }
        if !self.too_new(request) {
            return None;
        }
        match request.get("X-Vault-Inconsistent") {
            Some("forward-active-node") => self.forwarded(request),
            _ => Some(Answered::Refused(self.not_reached())),
        }
    }

    /// What comes of a request that only the active node can handle; `None` if it gets there.
    pub(crate) fn forwarded(&self, request: &Request) -> Option<Answered> {
        if !self.node.standby {
            return None;
        }
        // DOCS-ONLY: a performance standby does not respect the header
        let kept_here = request.get("X-Vault-No-Request-Forwarding").is_some()
            && !self.is_performance_standby();
        match (self.node.leader, self.leader()) {
            (Leader::Alive, Some(_)) if !kept_here => None,
            (_, Some(leader)) => {
                let path = request.path.split('?').next().unwrap_or_default();
                Some(Answered::Redirect(format!("{}{path}", leader.api_addr)))
            }
            (_, None) => Some(Answered::Refused(Refused::Plain(
                500,
                "local node not active but active cluster node not found".to_owned(),
            ))),
        }
    }

    /// What comes of an answer that is to be put aside, which is a write, on a standby that answers itself; `None` if the
    /// active node does all of it. OpenBao passes most requests on beforehand, and of the others their answers are lost.
    pub(crate) fn unwrapped_here(
        &self,
        request: &Request,
        op: Op,
        place: &Place,
    ) -> Option<Unwrapped> {
        if !self.node.standby || self.forwards_all() || !self.served_locally(request, op, place) {
            return None;
        }
        let kept = ["auth/token/", "sys/leases/lookup/", "sys/metrics"];
        if place.path == WRAP || kept.iter().any(|path| place.path.starts_with(path)) {
            let refused = Refused::Plain(500, "internal error".to_owned());
            return Some(Unwrapped::Answer(refused));
        }
        let refused = match self.forwarded(request)? {
            Answered::Refused(refused) => refused,
            Answered::Redirect(to) => Refused::Redirect(to),
        };
        Some(Unwrapped::Request(refused))
    }

    /// The refusal of a client that has seen more than this node. DOCS-ONLY: 412 in Enterprise.
    fn not_reached(&self) -> Refused {
        if self.is_enterprise() {
            Refused::Plain(412, "required index state not present".to_owned())
        } else {
            Refused::Empty(429)
        }
    }

    /// Reads, and what writes nothing though it is a POST; counting a token's uses is a write.
    fn served_locally(&self, request: &Request, op: Op, place: &Place) -> bool {
        let route = self.route(&place.ns, &place.path);
        let open = route.is_some_and(|m| m.backend.is_login(below(&m.path, &place.path)));
        match self.caller(request) {
            Ok(Some(token)) if token.num_uses != 0 => return false,
            Ok(Some(_)) => {}
            // the active node may know a token that has not come here yet
            _ if !open && !self.is_of_disabled_entity(request) => return false,
            _ => {}
        }
        // what the active node alone knows
        let of_leader = ["sys/ha-status", "sys/storage/raft/autopilot/state"];
        if of_leader.contains(&place.path.as_str()) {
            return false;
        }
        let harmless = ["encrypt/", "decrypt/", "rewrap/", "datakey/", "random"];
        matches!(op, Op::Read | Op::List | Op::Scan | Op::Header)
            || place.path.ends_with("lookup-self")
            || place.path == "auth/token/lookup"
            || place.path == WRAP
            || place.path.starts_with("sys/capabilities")
            || route.is_some_and(|m| {
                let inner = below(&m.path, &place.path);
                m.kind == "transit" && harmless.iter().any(|h| inner.starts_with(h))
            })
    }

    /// The client has seen a state that this node has not reached.
    fn too_new(&self, request: &Request) -> bool {
        let index = request.get("X-Vault-Index").and_then(Self::index_value);
        // what another cluster gave says nothing here
        let Some((_, wanted)) = index.filter(|(cluster, _)| *cluster == self.cluster_id) else {
            return false;
        };
        let horizon = self.horizon();
        let reached = match horizon {
            None => self.index,
            Some(at) => self
                .history
                .iter()
                .rev()
                .find(|(t, _)| *t <= at)
                .map_or(0, |(_, index)| *index),
        };
        wanted > reached
    }

    /// The latest time that this node knows of; `None` knows all.
    pub(crate) fn horizon(&self) -> Option<Duration> {
        (self.node.standby && !self.forwards_all() && !self.node.lag.is_zero())
            .then(|| self.now.saturating_sub(self.node.lag))
    }
}

/// An answer that needs no handling.
pub(crate) enum Answered {
    Refused(Refused),
    /// 307 to this place, without a body.
    Redirect(String),
}
