//! The network's tests, all in virtual time.

mod connect;
mod faults;
mod flow;
mod life;
mod pair;
mod properties;
