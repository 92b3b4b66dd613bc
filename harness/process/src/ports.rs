//! Ports for servers that are started here, on loopback.
//!
//! Below the range from which systems take the ports of outgoing connections: a server that is killed and started again
//! must find its port as it left it, and so must one that takes seconds until it listens.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// The first port, and how many there are.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;
/// Ports that one that is handed out stands for.
const EACH: u32 = 2;
/// How far apart processes begin to look.
const APART: u32 = 97;

/// No port is handed out twice by one process before all have been.
static TURN: AtomicU32 = AtomicU32::new(0);

/// Different ports that nobody listens on, nor on the one above each: a Vault in dev mode takes that, too.
///
/// # Errors
/// None of the range is free.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut found = [0; N];
    for port in &mut found {
        *port = next()?;
    }
    Ok(found)
}

fn next() -> Result<u16> {
    let start = std::process::id().wrapping_mul(APART);
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (0..COUNT / EACH)
        .find_map(|_| {
            let turn = start.wrapping_add(TURN.fetch_add(1, Ordering::Relaxed));
            let port = FIRST + turn % (COUNT / EACH) * EACH;
            let port = u16::try_from(port).ok()?;
            (free(port) && free(port + 1)).then_some(port)
        })
        .with_context(|| format!("find a free port from {FIRST} on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the second of two servers that start beside each other finds its port taken.
    #[test]
    fn ports_that_are_not_listened_on_yet_are_not_handed_out_again() {
        let (a, b): ([u16; 3], [u16; 3]) = (free_ports().unwrap(), free_ports().unwrap());
        let mut all = [a, b].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        let above = all.windows(2).map(|two| two[1] - two[0]);
        assert!(above.min().unwrap() > 1, "a neighbour is taken: {all:?}");
        assert!(all.iter().all(|port| u32::from(*port) < FIRST + COUNT));
    }
}
