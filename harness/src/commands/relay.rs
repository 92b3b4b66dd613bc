//! `relay`: the fault proxies as a process of their own, beside a plugin.

use anyhow::{Context, Result, ensure};
use zeroize::Zeroizing;

use crate::cli::RelayArgs;
use crate::console;
use crate::exit::{self, Failure, OrUsage};
use crate::interrupt::Interrupt;
use crate::relay::serve::{self, Places};
use crate::socket;

/// Serves until a signal comes.
pub async fn relay(args: &RelayArgs, interrupt: Interrupt) -> Result<u8, Failure> {
    let places = places(args).or_usage()?;
    let serving = serve::start(places).await.or_usage()?;
    let line = format!("{{\"control\": \"http://{}\"}}\n", serving.control);
    console::result(&line).context("print the control address")?;
    // a signal is how it ends
    let _ = interrupt.or(serving.forever()).await;
    Ok(exit::HELD)
}

fn places(args: &RelayArgs) -> Result<Places> {
    let token = std::fs::read_to_string(&args.control_token_path).with_context(|| {
        format!(
            "read --control-token-path {}",
            args.control_token_path.display()
        )
    })?;
    let token = Zeroizing::new(token);
    let vault = match (&args.listen, &args.vault) {
        (Some(listen), Some(vault)) => Some((*listen, vault.clone())),
        _ => None,
    };
    let socket = match (&args.socket, &args.plugin_socket) {
        (Some(front), Some(plugin)) => {
            let (front, plugin) = (socket::parse(front)?, socket::parse(plugin)?);
            ensure!(
                front != plugin,
                "--socket and --plugin-socket are the same path"
            );
            Some((front, plugin))
        }
        _ => None,
    };
    Ok(Places {
        vault,
        socket,
        process: args
            .plugin_executable
            .clone()
            .filter(|_| args.allow_node_faults),
        control: args.control,
        token: Zeroizing::new(token.trim().to_owned()),
    })
}
