//! Wrong scenarios: each one thing wrong in the good one, and the error that must come of it, whole.

use kms_scenario::language::read;

use crate::good::GOOD;

/// What is wrong, what is replaced by what, the error.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[test]
fn every_error_has_place_field_and_fix() {
    let mut wrong = Vec::new();
    for (name, changes, expected) in CASES {
        let mut text = GOOD.to_owned();
        for (from, to) in *changes {
            assert!(text.contains(from), "{name}: nothing to replace");
            text = text.replacen(from, to, 1);
        }
        let found = match read(&text, Some("token-revoked")) {
            Ok(_) => "no error".to_owned(),
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n")
            }
        };
        if found != *expected {
            wrong.push(format!(
                "== {name}\n-- expected\n{expected}\n-- found\n{found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(CASES.len() >= 60);
}

/// Whoever mends one thing at a time would run the check ten times.
#[test]
fn all_errors_come_at_once() {
    let text = GOOD
        .replace("node = \"any\"", "node = 9")
        .replace("BUG-001", "BUG-999")
        .replace("limit = 20", "limit = 20\nwithin = \"1s\"");
    assert_eq!(read(&text, None).unwrap_err().len(), 3);
}

const CASES: &[Case] = &[
    (
        "an unclosed string",
        &[(r#"id = "token-revoked""#, r#"id = "token-revoked"#)],
        r#"1:20: invalid basic string, expected `"`; correct the TOML"#,
    ),
    (
        "a key twice",
        &[(
            r#"nodes = 3
server"#,
            r#"nodes = 3
nodes = 2
server"#,
        )],
        r#"9:1: duplicate key; correct the TOML"#,
    ),
    (
        "an unknown key at the top",
        &[(r#"mission ="#, r#"misson ="#)],
        r#"4:1: misson: unknown key; did you mean `mission`?"#,
    ),
    (
        "an unknown key in the world",
        &[(
            r#"nodes = 3
server"#,
            r#"nodez = 3
server"#,
        )],
        r#"8:1: world.nodez: unknown key; did you mean `nodes`?"#,
    ),
    (
        "an unknown key in an inline table",
        &[(r#"auth = "approle""#, r#"authh = "approle""#)],
        r#"10:43: world.vault.authh: unknown key; did you mean `auth`?"#,
    ),
    (
        "an unknown key of a fault",
        &[(r#"node = "any""#, r#"nod = "any""#)],
        r#"39:1: fault[1].nod: unknown key; did you mean `node`?"#,
    ),
    (
        "an unknown key of an expectation",
        &[(r#"limit = 20"#, r#"limits = 20"#)],
        r#"51:1: expect[2].limits: unknown key; did you mean `limit`?"#,
    ),
    (
        "an unknown key in hits",
        &[(r#"hits = { at-least = 1 }"#, r#"hits = { at-most = 1 }"#)],
        r#"31:10: fault[0].hits.at-most: unknown key; did you mean `at-least`?"#,
    ),
    (
        "an unknown key like no other",
        &[(r#"mission = "expired-tokens""#, r#"zzzzzzzzzz = 1"#)],
        r#"4:1: zzzzzzzzzz: unknown key; remove it; there are arms, expect, fault, id, load, mission, phases, proves, scale, title, waives, world"#,
    ),
    (
        "an unknown phase",
        &[(r#"baseline = "2m""#, r#"basline = "2m""#)],
        r#"22:1: phases.basline: unknown key; did you mean `baseline`?"#,
    ),
    (
        "an unknown load",
        &[(r#"reads = "30/min""#, r#"read = "30/min""#)],
        r#"16:1: load.read: unknown key; did you mean `reads`?"#,
    ),
    (
        "no id",
        &[(
            r#"id = "token-revoked"
"#,
            r#""#,
        )],
        r#"1:1: missing field `id`; add id = …"#,
    ),
    (
        "no kind",
        &[(
            r#"kind = "vault-revoke-tokens"
"#,
            r#""#,
        )],
        r#"27:1: fault[0]: missing field `kind`; add kind = …"#,
    ),
    (
        "no time",
        &[(
            r#"at = "90s"
"#,
            r#""#,
        )],
        r#"33:1: fault[1]: missing field `at`; add at = …"#,
    ),
    (
        "a time without unit",
        &[(r#"at = "90s""#, r#"at = "90""#)],
        r#"37:6: fault[1].at: "90" is no time: the unit is missing; write it like "30s", "1m30s" or "250ms""#,
    ),
    (
        "a time that is a number",
        &[(r#"at = "90s""#, r#"at = 90"#)],
        r#"37:6: fault[1].at: invalid type: integer `90`; write a time or a range of times with units, such as "30s" or "10s..60s""#,
    ),
    (
        "a time with an unknown unit",
        &[(r#"settle = "30s""#, r#"settle = "30sec""#)],
        r#"21:10: phases.settle: "30sec" is no time: "sec" is no unit (ns, us, ms, s, m, h, d); write it like "30s", "1m30s" or "250ms""#,
    ),
    (
        "a range backwards",
        &[(r#"at = "10s..60s""#, r#"at = "60s..10s""#)],
        r#"30:6: fault[0].at: "60s..10s" runs backwards; write the shorter time first"#,
    ),
    (
        "a rate without time",
        &[(r#"writes = "6/min""#, r#"writes = "6""#)],
        r#"15:10: load.writes: "6" is no rate; write it like "6/min", "2/s" or "1/h""#,
    ),
    (
        "a rate that is too high",
        &[(r#"writes = "6/min""#, r#"writes = "5000/s""#)],
        r#"15:10: load.writes: "5000/s" is more than 1000/s; write a lower rate"#,
    ),
    (
        "a number that is a text",
        &[(
            r#"nodes = 3
server"#,
            r#"nodes = "3"
server"#,
        )],
        r#"8:9: world.nodes: invalid type: string "3"; write a whole number, 0 or more"#,
    ),
    (
        "a negative number",
        &[(r#"objects = 20"#, r#"objects = -1"#)],
        r#"17:11: load.objects: invalid value: integer `-1`; write a whole number, 0 or more"#,
    ),
    (
        "an unknown kind",
        &[(r#"kind = "net-partition""#, r#"kind = "net-partitoin""#)],
        r#"35:8: fault[1].kind: unknown variant `net-partitoin`; did you mean `net-partition`?"#,
    ),
    (
        "an unknown mission",
        &[(
            r#"mission = "expired-tokens""#,
            r#"mission = "expired-token""#,
        )],
        r#"4:11: mission: unknown variant `expired-token`; did you mean `expired-tokens`?"#,
    ),
    (
        "an unknown arm",
        &[(r#"arms = ["sim", "process"]"#, r#"arms = ["sims"]"#)],
        r#"5:9: arms[0]: unknown variant `sims`; did you mean `sim`?"#,
    ),
    (
        "an unknown flavour",
        &[(r#"flavour = "openbao""#, r#"flavour = "open-bao""#)],
        r#"10:21: world.vault.flavour: unknown variant `open-bao`; did you mean `openbao`?"#,
    ),
    (
        "an unknown auth method",
        &[(r#"auth = "approle""#, r#"auth = "ldap""#)],
        r#"10:50: world.vault.auth: unknown variant `ldap`; write one of `approle`, `userpass`, `token`"#,
    ),
    (
        "an unknown provider",
        &[(
            r#"providers = ["kms", "identity"]"#,
            r#"providers = ["kms", "secretbox"]"#,
        )],
        r#"12:21: world.providers[1]: unknown variant `secretbox`; write one of `kms`, `identity`, `aescbc`"#,
    ),
    (
        "an unknown edge",
        &[(r#"edge = "vault""#, r#"edge = "etcd""#)],
        r#"36:8: fault[1].edge: unknown variant `etcd`; write `vault` or `socket`"#,
    ),
    (
        "an unknown node",
        &[(r#"node = "any""#, r#"node = "some""#)],
        r#"39:8: fault[1].node: invalid value: string "some"; write a node's number, "all" or "any""#,
    ),
    (
        "an unknown moment",
        &[(r#"after = "heal""#, r#"after = "fault""#)],
        r#"47:9: expect[1].after: unknown variant `fault`; write `heal`"#,
    ),
    (
        "a year and more",
        &[(r#"fault = "5m""#, r#"fault = "400d""#)],
        r#"23:9: phases.fault: "400d" is no time: it is longer than a year; write it like "30s", "1m30s" or "250ms""#,
    ),
    (
        "an id with capitals",
        &[(r#"id = "token-revoked""#, r#"id = "Token-Revoked""#)],
        r#"1:6: id: "Token-Revoked" is not kebab-case; write small letters and digits with single dashes between words"#,
    ),
    (
        "an id unlike the file's name",
        &[(r#"id = "token-revoked""#, r#"id = "token-revoked-2""#)],
        r#"1:6: id: the file is called "token-revoked"; write id = "token-revoked", or rename the file"#,
    ),
    (
        "an empty title",
        &[(
            r#"title = "Tokens are revoked under load; the plugin logs in again.""#,
            r#"title = """#,
        )],
        r#"2:9: title: it is empty; say in one sentence what happens and what must hold"#,
    ),
    (
        "nothing proved",
        &[(r#"proves = ["BUG-001", "KMS2-RT-01"]"#, r#"proves = []"#)],
        r#"3:10: proves: it proves nothing; name requirements (KMS2-…), bugs (BUG-…) or rows (OCP-…)"#,
    ),
    (
        "an unknown bug",
        &[(r#""BUG-001""#, r#""BUG-003""#)],
        r#"3:11: proves[0]: there is no "BUG-003"; did you mean "BUG-001"?"#,
    ),
    (
        "an unknown requirement",
        &[(r#""KMS2-RT-01""#, r#""KMS2-RT-99""#)],
        r#"3:22: proves[1]: there is no "KMS2-RT-99"; did you mean "KMS2-RT-01"?"#,
    ),
    (
        "a bug twice",
        &[(r#"["BUG-001", "KMS2-RT-01"]"#, r#"["BUG-001", "BUG-001"]"#)],
        r#"3:22: proves[1]: "BUG-001" stands there twice; name it once"#,
    ),
    (
        "no arm",
        &[(r#"arms = ["sim", "process"]"#, r#"arms = []"#)],
        r#"5:8: arms: it can run nowhere; write arms = ["sim"]"#,
    ),
    (
        "an arm twice",
        &[(r#"arms = ["sim", "process"]"#, r#"arms = ["sim", "sim"]"#)],
        r#"5:8: arms: an arm stands there twice; name each once"#,
    ),
    (
        "a scale of zero",
        &[(r#"process = 0.1"#, r#"process = 0.0"#)],
        r#"55:11: scale.process: 0 is no factor; write more than 0 and at most 1"#,
    ),
    (
        "a scale above one",
        &[(r#"process = 0.1"#, r#"process = 2.0"#)],
        r#"55:11: scale.process: 2 is no factor; write more than 0 and at most 1"#,
    ),
    (
        "a scale of the cluster above one",
        &[("process = 0.1", "process = 0.1\ncluster = 2.0")],
        r#"56:11: scale.cluster: 2 is no factor; write more than 0 and at most 1"#,
    ),
    (
        "a waiver of what is not judged",
        &[(
            r#"[world]"#,
            r#"waives = ["status-ok"]
[world]"#,
        )],
        r#"7:11: waives[0]: "status-ok" is not judged by default; write one of no-acknowledged-write-lost, no-wrong-bytes, readable-by-fresh-apiserver, no-plaintext-anywhere, key-id-never-flaps, key-id-never-returns, key-id-agrees, deadlines-kept, no-second-owner"#,
    ),
    (
        "no nodes",
        &[(
            r#"nodes = 3
server"#,
            r#"nodes = 0
server"#,
        )],
        r#"8:9: world.nodes: 0 nodes cannot be run; write 1 to 7"#,
    ),
    (
        "too many nodes",
        &[(
            r#"nodes = 3
server"#,
            r#"nodes = 30
server"#,
        )],
        r#"8:9: world.nodes: 30 nodes cannot be run; write 1 to 7"#,
    ),
    (
        "a server without KMS v2",
        &[(r#""1.37""#, r#""1.24""#)],
        r#"9:18: world.server-version: "1.24" is no version with KMS v2; write 1.27 to 1.37"#,
    ),
    (
        "a provider twice",
        &[(r#"["kms", "identity"]"#, r#"["kms", "kms"]"#)],
        r#"12:21: world.providers[1]: it stands there twice; name each provider once"#,
    ),
    (
        "no provider",
        &[(r#"["kms", "identity"]"#, r#"[]"#)],
        r#"12:13: world.providers: there is no provider; write providers = ["kms", "identity"]"#,
    ),
    (
        "a Vault of two",
        &[(r#"nodes = 3, auth"#, r#"nodes = 2, auth"#)],
        r#"10:40: world.vault.nodes: 2 nodes make no cluster; write 1, 3 or 5"#,
    ),
    (
        "a token that lives longer than it may",
        &[(r#"token-max-ttl = "10m""#, r#"token-max-ttl = "10s""#)],
        r#"10:96: world.vault.token-max-ttl: it is shorter than token-ttl, 1m; write at least 1m"#,
    ),
    (
        "a token of half seconds",
        &[(r#"token-ttl = "60s""#, r#"token-ttl = "1500ms""#)],
        r#"10:73: world.vault.token-ttl: Vault counts in seconds; write whole seconds"#,
    ),
    (
        "a key that cannot encrypt",
        &[(
            r#"token-ttl = "60s""#,
            r#"token-ttl = "60s", key-type = "ed25519""#,
        )],
        r#"10:91: world.vault.key-type: "ed25519" cannot encrypt; write one of aes128-gcm96, aes256-gcm96, chacha20-poly1305, rsa-2048, rsa-3072, rsa-4096"#,
    ),
    (
        "a secret-id without AppRole",
        &[(
            r#"auth = "approle""#,
            r#"auth = "userpass", secret-id-uses = 1"#,
        )],
        r#"10:79: world.vault.secret-id-uses: only AppRole has secret-ids; remove it, or set auth = "approle""#,
    ),
    (
        "a flag with dashes",
        &[(
            r#"providers = ["kms", "identity"]"#,
            r#"plugin = { "--log-level" = "debug" }"#,
        )],
        r#"12:28: world.plugin.--log-level: "--log-level" is no flag's name; write it without leading dashes, such as vault-timeout"#,
    ),
    (
        "a latency of minutes",
        &[(r#"socket = "100us""#, r#"socket = "2m""#)],
        r#"11:42: world.latency.socket: that is more than a minute; write a shorter latency, or use a fault"#,
    ),
    (
        "no objects",
        &[(r#"objects = 20"#, r#"objects = 0"#)],
        r#"17:11: load.objects: 0 objects are not enough, or too many; write 1 to 10000"#,
    ),
    (
        "a value that is too large",
        &[(r#"size = 1024"#, r#"size = 2000000"#)],
        r#"18:8: load.size: a value of 2000000 bytes cannot be made; write 32 to 921600"#,
    ),
    (
        "no time to settle",
        &[(r#"settle = "30s""#, r#"settle = "1s""#)],
        r#"21:10: phases.settle: an API server needs seconds to be ready; write at least 5s"#,
    ),
    (
        "an id twice",
        &[(r#"id = "parted""#, r#"id = "revoke""#)],
        r#"34:6: fault[1].id: "revoke" is the id of another fault; give it another id"#,
    ),
    (
        "an id with blanks",
        &[(r#"id = "parted""#, r#"id = "parted net""#)],
        r#"34:6: fault[1].id: "parted net" is not kebab-case; write small letters and digits with single dashes between words"#,
    ),
    (
        "a fault after the phase",
        &[(r#"at = "90s""#, r#"at = "6m""#)],
        r#"37:6: fault[1].at: the fault phase lasts 5m; write an earlier time, or lengthen phases.fault"#,
    ),
    (
        "a fault that outlasts the phase",
        &[(r#"for = "30s""#, r#"for = "4m""#)],
        r#"38:7: fault[1].for: it would outlast the fault phase of 5m; shorten it, lengthen phases.fault, or remove it: then it lasts until heal"#,
    ),
    (
        "a length of what happens once",
        &[(r#"hits = { at-least = 1 }"#, r#"for = "30s""#)],
        r#"31:7: fault[0].for: vault-revoke-tokens happens once; remove for"#,
    ),
    (
        "a length of nothing",
        &[(r#"for = "30s""#, r#"for = "0s""#)],
        r#"38:7: fault[1].for: it would be over at once; write for = "30s""#,
    ),
    (
        "a node of what all share",
        &[(r#"hits = { at-least = 1 }"#, r#"node = 1"#)],
        r#"31:8: fault[0].node: vault-revoke-tokens happens to what all nodes share; remove node"#,
    ),
    (
        "a node that is not there",
        &[(r#"node = "any""#, r#"node = 3"#)],
        r#"39:8: fault[1].node: there is no node 3; write 0 to 2, or raise world.nodes"#,
    ),
    (
        "a fault that need not hit",
        &[(r#"at-least = 1"#, r#"at-least = 0"#)],
        r#"31:21: fault[0].hits.at-least: a fault that need not touch anything proves nothing; write at-least = 1"#,
    ),
    (
        "a missing parameter",
        &[(
            r#"edge = "vault"
"#,
            r#""#,
        )],
        r#"33:1: fault[1].edge: net-partition needs `edge`; add edge = …"#,
    ),
    (
        "a parameter of another kind",
        &[(
            r#"edge = "vault""#,
            r#"edge = "vault"
status = 503"#,
        )],
        r#"37:10: fault[1].status: net-partition has no `status`; remove it; net-partition takes edge"#,
    ),
    (
        "a parameter of a kind without any",
        &[(r#"hits = { at-least = 1 }"#, r#"rate = 5"#)],
        r#"31:8: fault[0].rate: vault-revoke-tokens has no `rate`; remove it"#,
    ),
    (
        "a status that is no error",
        &[(
            r#"kind = "net-partition"
edge = "vault""#,
            r#"kind = "vault-error"
status = 200"#,
        )],
        r#"36:10: fault[1].status: 200 is no error; write a code from 400 to 599
39:8: fault[1].node: vault-error happens to what all nodes share; remove node"#,
    ),
    (
        "half a second to retry after",
        &[(
            r#"kind = "net-partition"
edge = "vault""#,
            r#"kind = "vault-error"
status = 429
retry-after = "500ms""#,
        )],
        r#"37:15: fault[1].retry-after: 500ms cannot be said in the header; write whole seconds, at most 1h
40:8: fault[1].node: vault-error happens to what all nodes share; remove node"#,
    ),
    (
        "a code that is no error",
        &[(
            r#"kind = "net-partition"
edge = "vault""#,
            r#"kind = "rpc-status"
code = 0"#,
        )],
        r#"36:8: fault[1].code: 0 is no error code of gRPC; write 1 to 16, such as 14 for Unavailable"#,
    ),
    (
        "a clock that does not move",
        &[(
            r#"kind = "net-partition"
edge = "vault""#,
            r#"kind = "clock-skew"
by = "0s""#,
        )],
        r#"36:6: fault[1].by: the clock does not move; write by = "5m""#,
    ),
    (
        "a rate of zero",
        &[(
            r#"kind = "net-partition"
edge = "vault"
at = "90s"
for = "30s"
node = "any""#,
            r#"kind = "vault-quota"
rate = 0
at = "90s""#,
        )],
        r#"36:8: fault[1].rate: 0 does nothing; write at least 1"#,
    ),
    (
        "no rights to take",
        &[(
            r#"kind = "net-partition"
edge = "vault"
at = "90s"
for = "30s"
node = "any""#,
            r#"kind = "vault-policy-removed"
rights = []
at = "90s""#,
        )],
        r#"36:10: fault[1].rights: no right is taken; name rights, or leave it out for all of them"#,
    ),
    (
        "an object that is not there",
        &[(
            r#"kind = "net-partition"
edge = "vault"
at = "90s"
for = "30s"
node = "any""#,
            r#"kind = "store-damage"
damage = "data"
object = 20
at = "90s""#,
        )],
        r#"37:10: fault[1].object: there is no object 20; write 0 to 19, or raise load.objects"#,
    ),
    (
        "a restore of nothing",
        &[(
            r#"kind = "net-partition"
edge = "vault"
at = "90s"
for = "30s"
node = "any""#,
            r#"kind = "restore"
at = "90s""#,
        )],
        r#"35:8: fault[1].kind: there is no backup to restore; add a fault of kind "backup" that is surely earlier"#,
    ),
    (
        "a step-down of a Vault of one",
        &[
            (r#"nodes = 3, auth"#, r#"nodes = 1, auth"#),
            (
                r#"kind = "vault-revoke-tokens""#,
                r#"kind = "vault-step-down""#,
            ),
        ],
        r#"29:8: fault[0].kind: a Vault of one node has no standby; set world.vault.nodes = 3"#,
    ),
    (
        "a soft delete in HashiCorp's",
        &[
            (r#"flavour = "openbao""#, r#"flavour = "vault""#),
            (
                r#"kind = "vault-revoke-tokens""#,
                r#"kind = "vault-soft-delete""#,
            ),
        ],
        r#"29:8: fault[0].kind: only OpenBao can soft-delete a key; set world.vault.flavour = "openbao", or use vault-delete-key"#,
    ),
    (
        "nothing expected",
        &[(
            r#"[[expect]]
always = "no-acknowledged-write-lost"

[[expect]]
eventually = "status-ok"
within = "15s"
after = "heal"

[[expect]]
always = "vault-logins-at-most"
limit = 20
per = "10m"

"#,
            r#""#,
        )],
        r#"1:1: expect: nothing is expected; add [[expect]] with always, eventually or sometimes"#,
    ),
    (
        "nothing in an expectation",
        &[(
            r#"always = "no-acknowledged-write-lost"
"#,
            r#""#,
        )],
        r#"41:1: expect[0]: nothing is expected; write one of always, eventually, sometimes; another expectation is another [[expect]]"#,
    ),
    (
        "two in one expectation",
        &[(
            r#"always = "no-acknowledged-write-lost""#,
            r#"always = "no-acknowledged-write-lost"
sometimes = "status-bad""#,
        )],
        r#"41:1: expect[0]: more than one thing is expected; write one of always, eventually, sometimes; another expectation is another [[expect]]"#,
    ),
    (
        "an unknown invariant",
        &[(
            r#""no-acknowledged-write-lost""#,
            r#""no-acknowledged-write-list""#,
        )],
        r#"42:10: expect[0].always: there is no invariant "no-acknowledged-write-list"; did you mean "no-acknowledged-write-lost"?"#,
    ),
    (
        "a safety that is only eventual",
        &[(
            r#"eventually = "status-ok""#,
            r#"eventually = "no-wrong-bytes""#,
        )],
        r#"45:14: expect[1].eventually: "no-wrong-bytes" cannot be meant with `eventually`; write always = "no-wrong-bytes""#,
    ),
    (
        "a liveness that is always",
        &[(
            r#"always = "no-acknowledged-write-lost""#,
            r#"always = "recovers""#,
        )],
        r#"42:10: expect[0].always: "recovers" cannot be meant with `always`; write eventually = "recovers""#,
    ),
    (
        "no bound",
        &[(
            r#"within = "15s"
"#,
            r#""#,
        )],
        r#"44:1: expect[1].within: `eventually` has no bound; add within = "60s", counted from the beginning of heal"#,
    ),
    (
        "a bound after the end",
        &[(r#"within = "15s""#, r#"within = "10m""#)],
        r#"46:10: expect[1].within: it is counted from the beginning of heal, and the run ends 3m10s later; shorten it, or lengthen phases.liveness"#,
    ),
    (
        "a bound of nothing",
        &[(
            r#"always = "no-acknowledged-write-lost""#,
            r#"always = "no-wrong-bytes"
within = "3s""#,
        )],
        r#"43:10: expect[0].within: `within` means nothing here: nothing is waited for; remove it"#,
    ),
    (
        "a count without limit",
        &[(
            r#"limit = 20
"#,
            r#""#,
        )],
        r#"49:1: expect[2].limit: `limit` is missing; add limit = 20"#,
    ),
    (
        "a count without window",
        &[(
            r#"per = "10m"
"#,
            r#""#,
        )],
        r#"49:1: expect[2].per: `per` is missing; add per = "10m""#,
    ),
    (
        "a phase of the whole run",
        &[(
            r#"always = "no-acknowledged-write-lost""#,
            r#"always = "no-wrong-bytes"
during = "fault""#,
        )],
        r#"43:10: expect[0].during: `during` means nothing here: it is judged over the whole run; remove it"#,
    ),
    (
        "a node that is not there, expected",
        &[(
            r#"always = "no-acknowledged-write-lost""#,
            r#"always = "status-ok"
node = 5"#,
        )],
        r#"43:8: expect[0].node: there is no node 5; write 0 to 2"#,
    ),
    (
        "an expectation twice",
        &[(
            r#"always = "no-acknowledged-write-lost""#,
            r#"always = "vault-logins-at-most"
limit = 20
per = "10m""#,
        )],
        r#"51:1: expect[2]: it stands there twice; remove one"#,
    ),
    (
        "no liveness to wait for",
        &[(r#"liveness = "3m""#, r#"liveness = "0s""#)],
        r#"46:10: expect[1].within: it is counted from the beginning of heal, and the run ends 10s later; shorten it, or lengthen phases.liveness"#,
    ),
];
