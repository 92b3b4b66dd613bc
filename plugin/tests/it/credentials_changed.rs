//! Credential files that change, vanish or come back while logins fail: whichever kind of login it
//! is, what is new is tried at once, and soon again if Vault still refuses it.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, FaultId, Flavour, TokenSettings};
use vault_kubernetes_kms::config::{Auth, Credential, Secret};

use crate::world::{World, both, raw_answer, seconds};

/// A way to log in by files: its world, the file that is changed, and values for it.
struct Way {
    name: &'static str,
    world: World,
    file: &'static str,
    good: String,
    /// As good, and another one.
    other: String,
}

impl Way {
    /// Ends every token, the static one included.
    fn end_tokens(&self) {
        match self.world.config.auth {
            Auth::Token { .. } => drop(self.world.vault.revoke_token(&self.good)),
            Auth::AppRole { .. } => drop(self.world.vault.revoke_all_tokens_of("approle")),
            _ => drop(self.world.vault.revoke_all_tokens_of("userpass")),
        }
    }

    /// Refuses whatever logs in, as a dead credential is.
    fn refuse(&self) -> FaultId {
        let refused = match self.world.config.auth {
            Auth::Token { .. } => raw_answer(403, r#"{"errors":["permission denied"]}"#),
            _ => raw_answer(400, r#"{"errors":["invalid role or secret ID"]}"#),
        };
        self.world.vault.fault(Fault::on(self.path(), refused))
    }

    fn path(&self) -> &'static str {
        match self.world.config.auth {
            Auth::Token { .. } => "/v1/auth/token/lookup-self",
            Auth::AppRole { .. } => "/v1/auth/approle/login",
            _ => "/v1/auth/userpass/login",
        }
    }
}

fn give_password(world: &World, password: &str) {
    let user = json!({ "token_policies": ["kms"], "token_no_default_policy": true });
    assert!(world.vault.userpass("userpass", "kms", password, &user));
}

/// AppRole by either file and as OpenShift's sidecar has it (role id on the command line), userpass,
/// token.
fn ways(flavour: Flavour) -> Vec<Way> {
    let approle = |name, role_id_inline: bool| {
        let mut world = World::new(flavour);
        let good = world.vault.secret_id("approle", "kms");
        let other = world.vault.secret_id("approle", "kms");
        world.files.write("/creds/secret-id", &good);
        if role_id_inline {
            let (_, role) = world
                .vault
                .admin("GET", "auth/approle/role/kms/role-id", &json!({}));
            let role_id = role["data"]["role_id"].as_str().expect("an id").to_owned();
            world.files.remove("/creds/role-id");
            world.config.auth = Auth::AppRole {
                mount: "approle".into(),
                role_id: Credential::Inline(Secret::new(role_id)),
                secret_id: Credential::File("/creds/secret-id".into()),
                wrapped: false,
            };
        }
        Way {
            name,
            world,
            file: "/creds/secret-id",
            good,
            other,
        }
    };
    let userpass = || {
        let mut world = World::new(flavour);
        give_password(&world, "one word");
        world.files.write("/creds/username", "kms");
        world.files.write("/creds/password", "one word");
        world.config.auth = Auth::Userpass {
            mount: "userpass".into(),
            username: Credential::File("/creds/username".into()),
            password: Credential::File("/creds/password".into()),
        };
        Way {
            name: "userpass",
            world,
            file: "/creds/password",
            good: "one word".into(),
            other: "another word".into(),
        }
    };
    let token = || {
        let mut world = World::new(flavour);
        let token = || {
            world.vault.create_token(&TokenSettings {
                policies: vec!["kms".to_owned()],
                ttl: Duration::from_secs(24 * 3600),
                ..TokenSettings::default()
            })
        };
        let (good, other) = (token(), token());
        world.use_token(&good);
        Way {
            name: "token",
            world,
            file: "/creds/token",
            good,
            other,
        }
    };
    vec![
        approle("approle", false),
        approle("sidecar", true),
        userpass(),
        token(),
    ]
}

/// The files vanish, every token ends; minutes later the files are back as they were.
#[test]
fn a_file_that_comes_back_as_it_was_is_tried_at_once() {
    both(|flavour| async move {
        for way in ways(flavour) {
            let mut running = way.world.start_good().await;
            way.world.files.remove(way.file);
            seconds(10).await;
            if !matches!(way.world.config.auth, Auth::Token { .. }) {
                way.end_tokens();
                running.client.wait_bad(30).await.expect("no credential");
            }
            seconds(180).await;
            way.world.files.write(way.file, &way.good);
            let took = running.client.wait_good(5).await;
            assert!(took.is_some(), "{}: not within a probe's pause", way.name);
            running.client.round_trip(&[1; 32]).await;
        }
    });
}

/// The file holds what no credential is, from one login on; the right one comes back.
#[test]
fn a_damaged_file_costs_no_login_and_the_right_one_is_tried_at_once() {
    both(|flavour| async move {
        for way in ways(flavour) {
            let mut running = way.world.start_good().await;
            way.world.files.write(way.file, "a\u{7}b\nc");
            way.end_tokens();
            running.client.wait_bad(30).await.expect("no credential");
            let logins = way.world.logins();
            seconds(300).await;
            assert_eq!(
                way.world.logins(),
                logins,
                "{}: rubbish is not sent",
                way.name
            );
            let right = match way.world.config.auth {
                Auth::Token { .. } => &way.other,
                _ => &way.good,
            };
            way.world.files.write(way.file, right);
            let took = running.client.wait_good(5).await;
            assert!(took.is_some(), "{}: not within a probe's pause", way.name);
        }
    });
}

/// The right file is there before Vault accepts it: tried at once, and again within half a minute.
#[test]
fn a_file_that_changes_while_vault_refuses_is_tried_at_once_and_soon_again() {
    both(|flavour| async move {
        for way in ways(flavour) {
            let mut running = way.world.start_good().await;
            let refused = way.refuse();
            way.end_tokens();
            running.client.wait_bad(30).await.expect("refused");
            seconds(240).await;
            let before = way.world.vault.hits(refused);
            give_password(&way.world, &way.other);
            way.world.files.write(way.file, &way.other);
            seconds(4).await;
            let tried = way.world.vault.hits(refused) - before;
            assert!(tried >= 1, "{}: {tried} tries", way.name);
            way.world.vault.clear(refused);
            let took = running.client.wait_good(40).await;
            assert!(took.is_some(), "{}: held back for long", way.name);
        }
    });
}

/// What is refused and does not change is not tried again for a quarter of an hour, five times at
/// most in three with a change in each: more would lock the role for every node.
#[test]
fn a_refused_credential_that_does_not_change_is_left_alone() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world.files.write("/creds/secret-id", "dead-secret-id");
        world.vault.revoke_all_tokens_of("approle");
        running.client.wait_bad(30).await.expect("refused");
        seconds(900).await;
        let refused = || {
            let log = world.vault.log();
            let logins = log.iter().filter(|r| r.path.contains("login"));
            logins.filter(|r| r.status == Some(400)).count()
        };
        assert!((1..=4).contains(&refused()), "{} in 15 min", refused());
        let before = refused();
        seconds(850).await;
        assert!(refused() <= before + 1, "{} more", refused() - before);
    });
}

/// The method is switched off for three minutes: no file changes, and a minute is enough to heal.
#[test]
fn a_login_mount_that_comes_back_is_found_within_a_minute() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let absent = raw_answer(403, r#"{"errors":["permission denied"]}"#);
        let absent = world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", absent));
        world.vault.revoke_all_tokens_of("approle");
        running.client.wait_bad(30).await.expect("refused");
        seconds(600).await;
        assert!(
            world.vault.hits(absent) <= 20,
            "{}",
            world.vault.hits(absent)
        );
        world.vault.clear(absent);
        running.client.wait_good(75).await.expect("a minute");
    });
}

/// Several refusals and then silence: what a file's change began ends with it.
#[test]
fn a_login_under_way_with_the_old_file_does_not_hide_the_new_one() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let good = world.vault.secret_id("approle", "kms");
        let mut running = world.start_good().await;
        world.files.write("/creds/secret-id", "dead-secret-id");
        let slow = Action::Delay(Duration::from_secs(5));
        let slow = world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", slow).times(1));
        world.vault.revoke_all_tokens_of("approle");
        seconds(22).await;
        assert_eq!(world.vault.hits(slow), 1, "the old one is on its way");
        world.files.write("/creds/secret-id", &good);
        running.client.wait_good(10).await.expect("the new one");
    });
}
