//! Transit: using keys, keeping them, batches, and keys that come from elsewhere.

use serde_json::{Value, json};

use super::Row;

const KEY: &str = "m/keys/{a|a|a|b|c}";
const WHO: &str = "root root root $t1";

fn plaintexts() -> Value {
    json!(["aGk=", "", "!!", "aGk", null, 5, "aGVsbG8=", { "a": 1 }, true, ["aGk="], "aGk=\n"])
}

fn ciphertexts() -> Value {
    json!([
        "$c1",
        "$c1",
        "$c1",
        "$c2",
        "$c3",
        "",
        "vault:v1:AAAA",
        "vault:v9:AAAA",
        "vault:v0:AAAA",
        "vault:v-1:AAAA",
        "vault:v1:",
        "vault:1:AAAA",
        "vault:v1",
        "vault:vx:AAAA",
        "Vault:v1:AAAA",
        "nonsense",
        7,
        null,
        "$c1A",
        "vault:v1:!!",
        "vault:v01:AAAA",
        "vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ["$c1"]
    ])
}

fn versions() -> Value {
    json!([1, 0, 2, 3, -1, "1", "x", 1.5, null, "", true, [1]])
}

fn flags() -> Value {
    json!([true, false, "true", "maybe", 1, 0, null, "", [true]])
}

fn contexts() -> Value {
    json!(["Y3R4", "Y3R4", "!", "", "b3RoZXI=", 5, null])
}

fn associated() -> Value {
    json!(["YWFk", "YWFk", "!", "", 5, null])
}

fn periods() -> Value {
    json!([
        "1h", "24h", 10, 3600, 0, "soon", -5, "", "2d", null, true, "30m"
    ])
}

fn types() -> Value {
    json!([
        "aes256-gcm96",
        "aes128-gcm96",
        "chacha20-poly1305",
        "xchacha20-poly1305",
        "ed25519",
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-p521",
        "hmac",
        "nope",
        "",
        "aes256-cmac",
        "managed_key",
        "ml-dsa",
        "hybrid",
        5
    ])
}

/// Encrypt, decrypt, rewrap and data keys, on keys of every kind.
pub fn use_keys() -> Vec<Row> {
    vec![
        Row::new(4, "POST", "m/keys/{a|b|c}").body([
            ("type", types()),
            ("derived", json!([true, false])),
            ("convergent_encryption", json!([true, false])),
            ("exportable", json!([true])),
        ]),
        Row::new(1, "POST", "m/keys/r").body([("type!", json!(["rsa-2048"]))]),
        Row::new(4, "POST", "m/keys/{a|a|b|c}/rotate"),
        Row::new(3, "POST", "m/keys/{a|a|b|c}/config").body([
            ("min_decryption_version", json!([1, 2, 3, 0])),
            ("min_encryption_version", json!([1, 2, 3, 0])),
            ("deletion_allowed", json!([true])),
        ]),
        Row::new(1, "DELETE", "m/keys/{a|b|c}"),
        Row::new(1, "DELETE", "m/keys/{a|b|c}/soft-delete"),
        Row::new(1, "POST", "m/keys/{a|b|c}/soft-delete-restore"),
        Row::new(12, "POST|PUT", "m/encrypt/{a|a|b|c|r}")
            .by(WHO)
            .body([
                ("plaintext!", plaintexts()),
                ("key_version", versions()),
                ("associated_data", associated()),
                ("context", contexts()),
                ("type", types()),
                ("nonce", json!(["AAAA", "", "AAAAAAAAAAAAAAAA"])),
                ("convergent_encryption", flags()),
                ("colour", json!(["blue"])),
                ("name", json!(["z"])),
            ]),
        Row::new(2, "POST", "m/encrypt/{a|b|c|d}")
            .by(WHO)
            .body([("plaintext", plaintexts()), ("context", contexts())]),
        Row::new(10, "POST", "m/decrypt/{a|a|b|c|r}").by(WHO).body([
            ("ciphertext!", ciphertexts()),
            ("associated_data", associated()),
            ("context", contexts()),
            ("nonce", json!(["AAAA"])),
            ("key_version", versions()),
        ]),
        Row::new(4, "POST", "m/rewrap/{a|a|b|c|r}").by(WHO).body([
            ("ciphertext!", ciphertexts()),
            ("key_version", versions()),
            ("context", contexts()),
            ("associated_data", associated()),
            ("nonce", json!(["AAAA"])),
        ]),
        Row::new(2, "POST", "m/datakey/{plaintext|wrapped|other}/{a|b|c|d}")
            .by(WHO)
            .body([
                ("bits", json!([256, 128, 512, 100, "256", "x"])),
                ("context", contexts()),
                ("key_version", versions()),
                ("associated_data", associated()),
            ]),
        Row::new(1, "POST", "m/config/keys").body([("disable_upsert", flags())]),
        Row::new(1, "GET", "m/config/keys"),
    ]
}

/// Creating, reading, listing, configuring, trimming, exporting, backing up and deleting.
pub fn keep_keys() -> Vec<Row> {
    vec![
        Row::new(6, "POST|PUT", KEY).by(WHO).body([
            ("type", types()),
            ("derived", flags()),
            ("exportable", flags()),
            ("convergent_encryption", flags()),
            ("allow_plaintext_backup", flags()),
            ("auto_rotate_period", periods()),
            ("key_size", json!([32, 0, 31, 512, 513, "32"])),
            ("context", contexts()),
            ("name", json!(["a"])),
            ("colour", json!(["blue"])),
        ]),
        Row::new(5, "GET", KEY).by(WHO),
        Row::new(1, "LIST|GET", "m/keys{|/|?list=true|?list=1|?list=no|?after=a|?list=true&after=a|?list=true&limit=1|?list=true&limit=x|?list=true&limit=-1}").by(WHO),
        Row::new(5, "POST|PUT", "m/keys/{a|a|b|c}/rotate").by(WHO).body([("colour", json!(["blue"]))]),
        Row::new(8, "POST", "m/keys/{a|a|b|c}/config").by(WHO).body([
            ("min_decryption_version", versions()),
            ("min_encryption_version", versions()),
            ("deletion_allowed", flags()),
            ("exportable", flags()),
            ("allow_plaintext_backup", flags()),
            ("auto_rotate_period", periods()),
            ("colour", json!(["blue"])),
        ]),
        Row::new(3, "POST", "m/keys/{a|a|b|c}/trim").body([("min_available_version", versions())]),
        Row::new(2, "POST", "m/keys/{a|a|b|c}/config").body([
            ("min_decryption_version!", json!([2, 3])),
            ("min_encryption_version!", json!([2, 3])),
        ]),
        Row::new(3, "DELETE", KEY).by(WHO),
        Row::new(2, "POST", "m/keys/{a|b|c}/config").body([("deletion_allowed!", json!([true]))]),
        Row::new(3, "DELETE|POST|GET", "m/keys/{a|a|b}/soft-delete"),
        Row::new(2, "POST|DELETE", "m/keys/{a|a|b}/soft-delete-restore"),
        Row::new(5, "GET", "m/export/{encryption-key|signing-key|hmac-key|public-key|certificate-chain|nope}/{a|a|b|c}{|/1|/2|/latest|/v1|/0|/x|/-1}").by(WHO),
        Row::new(3, "GET", "m/backup/{a|a|b|c}"),
        Row::new(3, "POST", "m/restore{|/a|/d|/e}").body([
            ("backup", json!(["$b1", "$b1", "$b1", "", "!!", "AAAA", null, 5])),
            ("force", json!([true, false])),
        ]),
        Row::new(2, "POST", "m/random{|/16|/0|/x|/131073}").by(WHO).body([
            ("bytes", json!([16, 0, -1, "8", "x", 131_072, 131_073])),
            ("format", json!(["base64", "hex", "nope", ""])),
        ]),
        Row::new(1, "GET|POST", "m/cache-config").body([("size", json!([0, 100, 5, -1, 500]))]),
        Row::new(1, "GET|POST", "m/config/keys").body([("disable_upsert", flags())]),
        Row::new(1, "PATCH|HEAD|DELETE", "m/keys/{a|b}{|/config|/rotate|/trim}"),
    ]
}

/// Many at once.
pub fn batches() -> Vec<Row> {
    let partial = || json!([207, 200, 999, 599, 600, 0, -1, "207", "x"]);
    vec![
        Row::new(2, "POST", "m/keys/{b|c}").body([
            ("type!", types()),
            ("derived", json!([true])),
            ("convergent_encryption", json!([true])),
        ]),
        Row::new(2, "POST", "m/keys/{a|b|c}/rotate"),
        Row::new(1, "POST", "m/keys/a/config").body([
            ("min_decryption_version!", json!([1, 2])),
            ("min_encryption_version", json!([0, 1, 2])),
        ]),
        Row::new(8, "POST", "m/encrypt/{a|a|b|c|d}").by(WHO).body([
            ("batch_input!", json!("@plaintext")),
            ("partial_failure_response_code", partial()),
            ("context", contexts()),
            ("plaintext", json!(["aGk="])),
            ("type", json!(["aes128-gcm96", "nope"])),
            ("convergent_encryption", json!([true])),
            ("colour", json!(["blue"])),
        ]),
        Row::new(8, "POST", "m/decrypt/{a|a|b|c|d}").by(WHO).body([
            ("batch_input!", json!("@ciphertext")),
            ("partial_failure_response_code", partial()),
            ("ciphertext", json!(["$c1"])),
            ("colour", json!(["blue"])),
        ]),
        Row::new(4, "POST", "m/rewrap/{a|a|b|c|d}").by(WHO).body([
            ("batch_input!", json!("@rewrap")),
            ("partial_failure_response_code", partial()),
            ("colour", json!(["blue"])),
        ]),
        Row::new(2, "POST", "m/encrypt/a").by(WHO).body([
            ("plaintext!", json!(["aGk=", "aGVsbG8="])),
            ("associated_data", json!(["YWFk"])),
        ]),
        Row::new(2, "POST", "m/{encrypt|decrypt|rewrap}/a").body([(
            "batch_input!",
            json!([
                [],
                {},
                "x",
                "[]",
                5,
                null,
                [5],
                ["x"],
                [[]],
                [null],
                [true],
                [{}],
                [{}, 5],
                "[{\"plaintext\":\"aGk=\"}]"
            ]),
        )]),
    ]
}

/// Import and what may be done with imported keys.
pub fn bring_keys() -> Vec<Row> {
    let wrapped = || json!(["$imp256", "$imp256", "$imp128", "", "!!", "AAAA", null]);
    vec![
        Row::new(8, "POST", "m/keys/{i|j|a}/import").body([
            ("ciphertext", wrapped()),
            (
                "type",
                json!(["aes256-gcm96", "aes128-gcm96", "chacha20-poly1305", "nope"]),
            ),
            (
                "hash_function",
                json!(["SHA256", "SHA1", "SHA512", "nope", "sha256", ""]),
            ),
            ("allow_rotation", flags()),
            ("derived", json!([true, false])),
            ("exportable", json!([true])),
            ("allow_plaintext_backup", json!([true])),
            ("auto_rotate_period", periods()),
            ("public_key", json!(["x", ""])),
        ]),
        Row::new(3, "POST", "m/keys/{i|j|k}/import").body([
            ("ciphertext!", json!(["$imp256"])),
            ("allow_rotation", json!([true])),
        ]),
        Row::new(4, "POST", "m/keys/{i|j|a|z}/import_version").body([
            ("ciphertext", wrapped()),
            ("hash_function", json!(["SHA256", "SHA1", "nope"])),
            ("version", json!([1, 2, 9, 0, -1, "x"])),
        ]),
        Row::new(1, "GET|POST", "m/wrapping_key"),
        Row::new(2, "POST", "m/keys/{i|j}/rotate"),
        Row::new(2, "POST", "m/keys/{i|j}/config").body([
            ("deletion_allowed", json!([true])),
            ("min_decryption_version", versions()),
        ]),
        Row::new(2, "GET|DELETE", "m/keys/{i|j|k}"),
        Row::new(2, "POST", "m/encrypt/{i|j|k}")
            .body([("plaintext!", json!(["aGk="])), ("context", contexts())]),
        Row::new(2, "POST", "m/decrypt/{i|j|k}").body([("ciphertext!", json!(["$c1"]))]),
        Row::new(1, "GET", "m/export/encryption-key/{i|j|k}"),
        Row::new(1, "GET", "m/backup/{i|j|k}"),
        Row::new(1, "POST", "m/restore/{k|l}").body([("backup!", json!(["$b1"]))]),
    ]
}
