//! An in-memory network for simulations: hosts, listeners and byte streams that behave like TCP where a client or a
//! server can tell the difference, in tokio's (paused) time.
//!
//! What is modelled: latency in order per direction, a window with back-pressure, lost packets with TCP's back-off,
//! handshakes that hang, refused connections, FIN, RST, half-closed streams, a limited rate, a reader that is too slow,
//! a listener that accepts only so many, processes that are frozen, killed and started again. What is not: datagrams,
//! congestion control, packets that are reordered or doubled (TCP hides both), and the time an acknowledgement takes.
//!
//! Everything random comes from one seed, by the names of the two ends, so another host changes nobody's luck. Nothing
//! runs by itself: a stream's reader waits for its own next arrival. tokio's timers tick in milliseconds, so what
//! arrives within a millisecond is noticed at its end.
//!
//! In reading order: [`Latency`], `tcp` (the schedules), `pipe` (one direction, a pure state machine), `state` (all
//! connections), [`Net`] (faults), [`Host`], [`Listener`], [`Stream`].

#![forbid(unsafe_code)]

mod host;
mod latency;
mod listener;
mod net;
mod pipe;
mod state;
mod stream;
mod tcp;

pub use host::Host;
pub use latency::Latency;
pub use listener::Listener;
pub use net::Net;
pub use state::Traffic;
pub use stream::Stream;
pub use tcp::{SYN_TIMEOUT, USER_TIMEOUT, WINDOW};
