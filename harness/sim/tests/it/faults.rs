//! The mission's faults and their relatives, each ending as it should.

use std::time::Duration;

use kms_history::chaos::{Event, RpcEnd, VaultPath};
use kms_scenario::fault::{Direction, Edge, Fault, Requests, Rpc};
use kms_scenario::world::{Auth, Flavour, World};

use crate::bench::{in_world, seconds, spec};

#[test]
fn a_token_that_is_revoked_under_load_costs_no_write() {
    in_world(&spec(1), async |mut bench| {
        let before = bench.calls(VaultPath::Login);
        bench.inject("revoke", Fault::VaultRevokeTokens, &[]).await;
        assert_eq!(bench.world.hits("revoke"), 1);
        for _ in 0..30 {
            assert_eq!(bench.write(0).await, 201);
            seconds(2).await;
        }
        assert!(bench.status(0).await.is_ok());
        let logins = bench.calls(VaultPath::Login) - before;
        assert!((1..=3).contains(&logins), "{logins} logins");
        bench
    });
}

#[test]
fn a_partition_from_vault_shows_in_status_and_heals() {
    in_world(&spec(1), async |mut bench| {
        bench
            .inject("cut", Fault::NetPartition(Edge::Vault), &[0])
            .await;
        bench.wait_status(0, false, 60).await;
        seconds(120).await;
        assert!(bench.world.hits("cut") > 0);
        bench.recover("cut").await;
        let took = bench.wait_status(0, true, 60).await;
        assert!(took <= 15, "{took} s");
        seconds(15).await;
        assert_eq!(bench.write(0).await, 201);
        assert_eq!(bench.unreadable(0).await, 0);
        bench
    });
}

#[test]
fn answers_that_are_lost_are_a_partition_too() {
    in_world(&spec(1), async |mut bench| {
        let fault = Fault::NetPartitionOneWay(Edge::Vault, Direction::Answers);
        bench.inject("cut", fault, &[0]).await;
        bench.wait_status(0, false, 60).await;
        bench.recover("cut").await;
        bench.wait_status(0, true, 60).await;
        seconds(15).await;
        assert_eq!(bench.write(0).await, 201);
        bench
    });
}

/// Faults that are drawn overlap as they like: rights go and come back while Vault is sealed.
#[test]
fn rights_change_while_vault_is_sealed() {
    in_world(&spec(1), async |bench| {
        bench.inject("seal", Fault::VaultSeal, &[]).await;
        let rights = Fault::VaultPolicyRemoved(Vec::new());
        bench.inject("rights", rights, &[]).await;
        bench.recover("seal").await;
        bench.wait_status(0, false, 120).await;
        bench.inject("again", Fault::VaultSeal, &[]).await;
        bench.recover("rights").await;
        bench.recover("again").await;
        bench.wait_status(0, true, 120).await;
        bench
    });
}

/// A fault of the key that changed nothing for the barrier would make the run inconclusive.
#[test]
fn the_key_changes_while_vault_is_sealed() {
    in_world(&spec(1), async |bench| {
        bench.inject("seal", Fault::VaultSeal, &[]).await;
        bench.inject("rotate", Fault::VaultRotate(2), &[]).await;
        bench.inject("again", Fault::VaultRecreateKey, &[]).await;
        bench.inject("delete", Fault::VaultDeleteKey, &[]).await;
        for fault in ["rotate", "again", "delete"] {
            assert_eq!(bench.world.hits(fault), 1, "{fault}");
        }
        bench.wait_status(0, false, 120).await;
        bench
    });
}

#[test]
fn a_rotation_changes_the_key_id_once_everywhere_and_old_values_stay_readable() {
    in_world(&spec(2), async |mut bench| {
        let old = bench.status(0).await.unwrap();
        bench.inject("rotate", Fault::VaultRotate(1), &[]).await;
        assert_eq!(bench.world.hits("rotate"), 1);
        seconds(90).await;
        let new = bench.status(0).await.unwrap();
        assert_ne!(old, new);
        assert_eq!(bench.status(1).await.unwrap(), new);
        assert_eq!(bench.write(0).await, 201);
        assert_eq!(bench.unreadable(1).await, 0);
        let mut seen: Vec<&str> = Vec::new();
        for entry in bench.history() {
            if let (
                Some(0),
                Event::Polled {
                    end: RpcEnd::Ok { key_id, .. },
                },
            ) = (entry.node, &entry.event)
                && seen.last() != Some(&key_id.as_str())
            {
                seen.push(key_id);
            }
        }
        assert_eq!(seen, [old.as_str(), new.as_str()]);
        bench
    });
}

#[test]
fn a_deleted_key_is_told_and_nothing_is_written_with_it() {
    in_world(&spec(1), async |mut bench| {
        bench.inject("delete", Fault::VaultDeleteKey, &[]).await;
        assert_eq!(bench.world.hits("delete"), 1);
        bench.wait_status(0, false, 60).await;
        // the seed in memory may be used for three minutes (KMS2-OUT-02)
        seconds(400).await;
        assert_eq!(bench.write(0).await, 500);
        assert!(bench.unreadable(0).await > 0);
        bench
    });
}

#[test]
fn a_key_that_was_made_again_is_another_key() {
    in_world(&spec(1), async |bench| {
        let old = bench.status(0).await.unwrap();
        bench.inject("again", Fault::VaultRecreateKey, &[]).await;
        seconds(120).await;
        assert_ne!(bench.status(0).await.ok(), Some(old));
        bench
    });
}

#[test]
fn a_killed_plugin_serves_again_and_its_stale_connection_is_noticed() {
    in_world(&spec(1), async |mut bench| {
        bench.inject("kill", Fault::PluginKill, &[0]).await;
        assert_eq!(bench.world.hits("kill"), 1);
        assert!(bench.status(0).await.is_err());
        seconds(60).await;
        bench.recover("kill").await;
        bench.wait_status(0, true, 10).await;
        seconds(15).await;
        assert_eq!(bench.write(0).await, 201);
        assert_eq!(bench.unreadable(0).await, 0);
        let lives = bench
            .history()
            .iter()
            .filter(|entry| entry.event == Event::PluginStarted)
            .count();
        assert_eq!(lives, 2);
        bench
    });
}

#[test]
fn a_stopped_plugin_ends_by_itself_and_revokes_its_token() {
    in_world(&spec(1), async |mut bench| {
        bench.inject("stop", Fault::PluginStop, &[0]).await;
        let stopped = Event::PluginStopped("stopped".to_owned());
        assert!(bench.history().iter().any(|entry| entry.event == stopped));
        assert_eq!(bench.calls(VaultPath::Revoke), 1);
        let error = bench.status(0).await.unwrap_err();
        assert!(error.starts_with("Unavailable"), "{error}");
        bench.recover("stop").await;
        bench.wait_status(0, true, 10).await;
        bench
    });
}

#[test]
fn a_frozen_plugin_answers_nothing_until_it_goes_on() {
    in_world(&spec(1), async |mut bench| {
        bench.inject("freeze", Fault::PluginFreeze, &[0]).await;
        let error = bench.status(0).await.unwrap_err();
        assert!(error.starts_with("DeadlineExceeded"), "{error}");
        seconds(120).await;
        assert!(bench.world.hits("freeze") > 0);
        bench.recover("freeze").await;
        bench.wait_status(0, true, 30).await;
        seconds(15).await;
        assert_eq!(bench.write(0).await, 201);
        bench
    });
}

#[test]
fn an_api_server_that_restarts_reads_what_was_written() {
    in_world(&spec(1), async |mut bench| {
        bench.world.apiserver(0).restart().await.unwrap();
        seconds(5).await;
        assert_eq!(bench.write(0).await, 201);
        assert_eq!(bench.unreadable(0).await, 0);
        bench
    });
}

#[test]
fn a_sealed_vault_shows_and_opens_again() {
    for flavour in [Flavour::Openbao, Flavour::Vault] {
        let mut spec = spec(1);
        spec.vault.flavour = flavour;
        in_world(&spec, async |bench| {
            bench.inject("seal", Fault::VaultSeal, &[]).await;
            bench.wait_status(0, false, 60).await;
            assert!(bench.world.hits("seal") > 0);
            bench.recover("seal").await;
            bench.wait_status(0, true, 60).await;
            bench
        });
    }
}

#[test]
fn every_way_to_log_in_survives_ended_tokens_or_says_why_not() {
    for (auth, comes_back) in [
        (Auth::Approle, true),
        (Auth::Userpass, true),
        (Auth::Token, false),
    ] {
        let mut spec = spec(1);
        spec.vault.auth = auth;
        in_world(&spec, async |bench| {
            bench.inject("end", Fault::VaultExpireTokens, &[]).await;
            assert_eq!(bench.world.hits("end"), 1);
            if comes_back {
                seconds(60).await;
                assert!(bench.status(0).await.is_ok(), "{auth:?}");
            } else {
                bench.wait_status(0, false, 60).await;
                bench.inject("new", Fault::CredentialsChanged, &[0]).await;
                bench.wait_status(0, true, 60).await;
            }
            bench
        });
    }
}

#[test]
fn a_disabled_auth_method_comes_back_with_the_same_credentials() {
    for auth in [Auth::Approle, Auth::Userpass] {
        let mut spec = spec(1);
        spec.vault.auth = auth;
        in_world(&spec, async |bench| {
            bench.inject("disable", Fault::VaultDisableAuth, &[]).await;
            bench.wait_status(0, false, 120).await;
            bench.recover("disable").await;
            bench.wait_status(0, true, 120).await;
            bench
        });
    }
}

#[test]
fn lasting_faults_of_vault_hit_and_heal() {
    let faults = [
        Fault::VaultStop,
        Fault::VaultHold(Requests::All),
        Fault::VaultError {
            requests: Requests::All,
            status: 503,
            retry_after: Some(1),
            count: None,
        },
        Fault::VaultGarbage(Requests::Transit),
        Fault::VaultCutBody(Requests::Transit),
        Fault::VaultReset(Requests::All),
        Fault::VaultPolicyRemoved(Vec::new()),
        Fault::VaultSoftDelete,
        Fault::VaultAuditBlocked,
    ];
    for fault in faults {
        in_world(&spec(1), async |mut bench| {
            let kind = fault.kind();
            bench.inject("fault", fault, &[]).await;
            bench.wait_status(0, false, 120).await;
            assert!(bench.world.hits("fault") > 0, "{kind} hit nothing");
            bench.recover("fault").await;
            let hits = bench.world.hits("fault");
            bench.wait_status(0, true, 120).await;
            seconds(15).await;
            assert_eq!(bench.write(0).await, 201, "{kind}");
            assert_eq!(bench.world.hits("fault"), hits, "{kind}: over is over");
            bench
        });
    }
}

#[test]
fn faults_that_a_plugin_rides_out_leave_status_good() {
    let faults = [
        Fault::VaultSlow {
            requests: Requests::All,
            min: Duration::from_millis(10),
            max: Duration::from_millis(200),
        },
        Fault::NetLatency {
            edge: Edge::Vault,
            min: Duration::from_millis(20),
            max: Duration::from_millis(80),
        },
        Fault::NetReset(Edge::Vault),
        Fault::NetReset(Edge::Socket),
        Fault::NetHalfClose(Edge::Vault, Direction::Answers),
        Fault::NetBandwidth(Edge::Vault, 20_000),
        Fault::NetSlowReader(Edge::Vault, 50_000),
        Fault::RpcDelay {
            method: None,
            min: Duration::from_millis(10),
            max: Duration::from_millis(100),
        },
        Fault::VaultRestart,
        Fault::PluginRestart,
        Fault::CredentialsChanged,
        Fault::ClockAdvance(Duration::from_secs(30)),
        Fault::ClockSkew {
            by: Duration::from_secs(3600),
            behind: true,
        },
    ];
    for fault in faults {
        in_world(&spec(1), async |mut bench| {
            let kind = fault.kind();
            bench.inject("fault", fault, &[0]).await;
            seconds(90).await;
            assert!(bench.world.hits("fault") > 0, "{kind} hit nothing");
            assert!(bench.status(0).await.is_ok(), "{kind}");
            assert_eq!(bench.write(0).await, 201, "{kind}");
            bench.recover("fault").await;
            bench
        });
    }
}

#[test]
fn credentials_that_are_gone_are_no_trouble_until_a_login_and_come_back() {
    for fault in [Fault::CredentialsRemoved, Fault::CredentialsDamaged] {
        in_world(&spec(1), async |bench| {
            bench.inject("files", fault, &[0]).await;
            // tokens may be renewed for ten minutes
            bench.wait_status(0, false, 700).await;
            assert!(bench.world.hits("files") > 0);
            bench.recover("files").await;
            bench.wait_status(0, true, 120).await;
            bench
        });
    }
}

#[test]
fn the_proxy_on_the_socket_answers_holds_and_cuts() {
    let message = "injected".to_owned();
    let faults = [
        Fault::RpcStatus {
            method: Some(Rpc::Status),
            code: 14,
            message,
        },
        Fault::RpcHold(Some(Rpc::Status)),
        Fault::RpcCut(Some(Rpc::Status)),
    ];
    for fault in faults {
        in_world(&spec(1), async |mut bench| {
            bench.history();
            let began = bench.recorder.now();
            bench.inject("rpc", fault, &[0]).await;
            seconds(120).await;
            assert!(bench.world.hits("rpc") > 0);
            bench.recover("rpc").await;
            assert!(
                bench.status(0).await.is_ok(),
                "the plugin itself is well, and so is the way past the proxy"
            );
            let polls = bench.history().iter().filter(|entry| entry.at > began);
            let failed = polls
                .filter(|entry| {
                    matches!(
                        entry.event,
                        Event::Polled {
                            end: RpcEnd::Failed { .. }
                        }
                    )
                })
                .count();
            assert!(failed > 0, "the API server saw it");
            seconds(30).await;
            assert_eq!(bench.write(0).await, 201);
            bench
        });
    }
}

#[test]
fn a_partition_between_api_server_and_plugin_hits_one_node_only() {
    in_world(&spec(2), async |mut bench| {
        bench
            .inject("cut", Fault::NetPartition(Edge::Socket), &[1])
            .await;
        seconds(400).await;
        assert_eq!(bench.write(0).await, 201);
        assert_eq!(bench.write(1).await, 500);
        bench.recover("cut").await;
        seconds(180).await;
        assert_eq!(bench.write(1).await, 201);
        bench
    });
}

#[test]
fn a_cluster_elects_and_the_plugins_follow() {
    let mut spec = spec(1);
    spec.vault.nodes = 3;
    in_world(&spec, async |mut bench| {
        bench.inject("down", Fault::VaultStepDown, &[]).await;
        seconds(30).await;
        bench.wait_status(0, true, 30).await;
        assert_eq!(bench.write(0).await, 201);
        bench
    });
}

/// Nobody undoes it: Vault's other nodes come back by themselves, and OpenBao's never went.
#[test]
fn a_frozen_leader_stops_a_cluster_of_vault_for_half_a_minute() {
    for flavour in [Flavour::Vault, Flavour::Openbao] {
        let mut spec = spec(1);
        spec.vault.nodes = 3;
        spec.vault.flavour = flavour;
        in_world(&spec, async |mut bench| {
            bench.inject("frozen", Fault::VaultFreezeLeader, &[]).await;
            let mut within = 1;
            if flavour == Flavour::Vault {
                bench.wait_status(0, false, 20).await;
                within = 60;
            } else {
                seconds(15).await;
            }
            bench.wait_status(0, true, within).await;
            assert_eq!(bench.write(0).await, 201);
            bench.recover("frozen").await;
            seconds(30).await;
            bench.wait_status(0, true, 1).await;
            bench
        });
    }
}

#[test]
fn a_trimmed_version_is_gone_and_says_so() {
    in_world(&spec(1), async |mut bench| {
        bench.inject("rotate", Fault::VaultRotate(1), &[]).await;
        seconds(90).await;
        bench.inject("trim", Fault::VaultTrim(None), &[]).await;
        assert_eq!(bench.world.hits("trim"), 1);
        assert_eq!(bench.write(0).await, 201);
        assert!(bench.unreadable(0).await > 0, "version 1 is gone for good");
        bench
    });
}

#[test]
fn a_fault_ends_at_its_deadline_without_the_engine() {
    in_world(&spec(1), async |bench| {
        let order = kms_scenario::world::Order {
            id: "seal".to_owned(),
            fault: Fault::VaultSeal,
            nodes: Vec::new(),
            deadline: Duration::from_secs(100),
        };
        bench.world.inject(&order).await.unwrap();
        bench.wait_status(0, false, 60).await;
        seconds(60).await;
        bench.wait_status(0, true, 60).await;
        bench
    });
}

#[test]
fn what_the_simulation_cannot_make_is_refused_with_the_reason() {
    in_world(&spec(1), async |bench| {
        let order = kms_scenario::world::Order {
            id: "ca".to_owned(),
            fault: Fault::CaChanged,
            nodes: vec![0],
            deadline: Duration::from_secs(1),
        };
        let trouble = bench.world.inject(&order).await.unwrap_err();
        assert!(trouble.0.contains("plain HTTP"), "{trouble}");
        bench
    });
}

#[test]
fn a_needle_is_found_where_it_stands_and_nowhere_else() {
    in_world(&spec(1), async |bench| {
        // the path of the key is on the wire, and in nobody's log
        let needles = [b"/v1/transit/keys/kms-key".to_vec(), b"canary".to_vec()];
        let found = bench.world.leaks(&needles).await.unwrap();
        assert_eq!(found, ["from plugin-0 to Vault"]);
        bench
    });
}
