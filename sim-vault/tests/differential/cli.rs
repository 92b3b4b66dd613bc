//! The ordinary client against the simulation as a dev server.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use libtest_mimic::Failed;
use serde_json::Value;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status, login, policy, transit, rotation, seal and unseal with the real client.
pub fn drive(client: &Path) -> Result<(), Failed> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sim-vault"))
        .args(["--listen", "127.0.0.1:0", "--root-token", "dev"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    let _server = Server(child);
    let started: Value = serde_json::from_str(&line)?;
    let home = tempfile::tempdir()?;
    let policy = home.path().join("p.hcl");
    std::fs::write(
        &policy,
        "path \"transit/*\" { capabilities = [\"update\"] }",
    )?;
    let run = |arguments: &[&str], wanted: &str| -> Result<String, Failed> {
        let output = Command::new(client)
            .args(arguments)
            .env("BAO_ADDR", started["address"].as_str().unwrap_or_default())
            .env("HOME", home.path())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        if text.contains(wanted) {
            Ok(text)
        } else {
            Err(format!("{arguments:?} lacks {wanted:?}:\n{text}").into())
        }
    };
    run(&["status"], "Sealed          false")?;
    run(&["login", "dev"], "Success!")?;
    run(&["secrets", "enable", "transit"], "Success!")?;
    run(&["write", "-f", "transit/keys/k"], "aes256-gcm96")?;
    run(
        &[
            "policy",
            "write",
            "p",
            policy.to_str().ok_or("a path that is no text")?,
        ],
        "Success!",
    )?;
    run(
        &["token", "create", "-policy=p", "-ttl=1h"],
        "token_accessor",
    )?;
    let sealed = run(
        &[
            "write",
            "-field=ciphertext",
            "transit/encrypt/k",
            "plaintext=aGk=",
        ],
        "vault:v1:",
    )?;
    run(
        &["write", "-f", "transit/keys/k/rotate"],
        "latest_version            2",
    )?;
    run(
        &[
            "write",
            "-field=plaintext",
            "transit/decrypt/k",
            &format!("ciphertext={}", sealed.trim()),
        ],
        "aGk=",
    )?;
    run(&["operator", "seal"], "Vault is sealed")?;
    run(&["status"], "Sealed             true")?;
    let key = started["unseal_keys"][0].as_str().ok_or("no unseal key")?;
    run(&["operator", "unseal", key], "Sealed          false")?;
    run(&["read", "transit/keys/k"], "latest_version            2")?;
    Ok(())
}
