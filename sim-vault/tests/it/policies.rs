//! Policies on both flavours: how rules join and which one counts, and what is said of damaged texts. Each answer is one that the
//! live servers gave; where they differ, both are written down.

use std::time::Duration;

use serde_json::{Value, json};
use sim_vault::{Core, Flavour, Options, Request};

struct Server {
    core: Core,
    token: String,
}

impl Server {
    /// With the engine `m`, the key `a`, and a token of the policy `p` alone.
    fn new(flavour: Flavour) -> Self {
        let core = Core::new(Options {
            flavour,
            root_token: "root".to_owned(),
            ..Options::default()
        });
        let mut server = Self {
            core,
            token: "root".to_owned(),
        };
        server.ask("POST", "sys/mounts/m", &json!({"type": "transit"}));
        server.ask("POST", "m/keys/a", &json!({}));
        let wanted = json!({"policies": ["p"], "no_default_policy": true});
        let (_, made) = server.ask("POST", "auth/token/create", &wanted);
        made["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .clone_into(&mut server.token);
        server
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.wrapped(method, path, body, "")
    }

    fn wrapped(&mut self, method: &str, path: &str, body: &Value, ttl: &str) -> (u16, Value) {
        let request = Request::new(method, &format!("/v1/{path}"))
            .token(&self.token)
            .header("X-Vault-Wrap-TTL", ttl)
            .json(body);
        let response = self.core.handle(Duration::ZERO, &request);
        (response.status, response.json())
    }

    /// Writes `p` as root: empty if that worked, else the error's text.
    fn policy(&mut self, text: &str) -> String {
        let request = Request::new("PUT", "/v1/sys/policies/acl/p")
            .token("root")
            .json(&json!({"policy": text}));
        let response = self.core.handle(Duration::ZERO, &request);
        match response.status {
            204 => String::new(),
            _ => response.json()["errors"][0]
                .as_str()
                .expect("an error")
                .replacen("failed to parse policy: ", "", 1),
        }
    }
}

fn both(story: impl Fn(&mut Server)) {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        story(&mut Server::new(flavour));
    }
}

const ENCRYPT: &str = "path \"m/encrypt/a\" { capabilities = [\"update\"] ";

#[test]
fn parameters_are_compared_as_the_servers_do() {
    let hi = json!({"plaintext": "aGk="});
    let version = json!({"plaintext": "aGk=", "key_version": 1});
    both(|server| {
        for (rule, body, status) in [
            ("allowed_parameters = {}", &hi, 200),
            ("allowed_parameters = { \"*\" = [\"x\"] }", &hi, 200),
            (
                "allowed_parameters = { \"plaintext\" = [\"*Gk*\"] }",
                &hi,
                200,
            ),
            (
                "allowed_parameters = { \"plaintext\" = [\"b*\"] }",
                &hi,
                403,
            ),
            (
                "allowed_parameters = { \"plaintext\" = [] \"key_version\" = [] }",
                &version,
                200,
            ),
            // a number is never equal to one
            (
                "allowed_parameters = { \"plaintext\" = [] \"key_version\" = [1] }",
                &version,
                403,
            ),
            ("denied_parameters = { \"*\" = [\"x\"] }", &hi, 403),
            ("required_parameters = [\"context\"]", &hi, 403),
        ] {
            assert_eq!(server.policy(&format!("{ENCRYPT} {rule} }}")), "");
            let (found, answer) = server.ask("POST", "m/encrypt/a", body);
            assert_eq!(found, status, "{rule}: {answer}");
        }
    });
}

#[test]
fn parameters_count_on_reads_too() {
    both(|server| {
        let rule = "path \"m/keys/a\" { capabilities = [\"read\"]";
        for (more, path, status) in [
            ("required_parameters = [\"x\"]", "m/keys/a", 403),
            ("required_parameters = [\"x\"]", "m/keys/a?x=1", 200),
            ("denied_parameters = { \"x\" = [] }", "m/keys/a?x=1", 403),
            ("allowed_parameters = { \"y\" = [] }", "m/keys/a", 200),
            ("allowed_parameters = { \"y\" = [] }", "m/keys/a?x=1", 403),
        ] {
            assert_eq!(server.policy(&format!("{rule} {more} }}")), "");
            let request = Request::new("GET", &format!("/v1/{path}")).token(&server.token);
            let found = server.core.handle(Duration::ZERO, &request).status;
            assert_eq!(found, status, "{more} {path}");
        }
    });
}

#[test]
fn rules_of_one_pattern_join_before_they_are_asked() {
    both(|server| {
        let other = "path \"m/encrypt/a\" { capabilities = [\"read\"] allowed_parameters = { \"plaintext\" = [\"aGk=\"] } }";
        server.policy(&format!(
            "{ENCRYPT} allowed_parameters = {{ \"plaintext\" = [\"aGVsbG8=\"] }} }}\n{other}"
        ));
        for plaintext in ["aGk=", "aGVsbG8="] {
            let body = json!({"plaintext": plaintext});
            assert_eq!(
                server.ask("POST", "m/encrypt/a", &body).0,
                200,
                "{plaintext}"
            );
        }
        server.policy(&format!(
            "{ENCRYPT} }}\npath \"m/encrypt/a\" {{ policy = \"deny\" }}"
        ));
        let body = json!({"plaintext": "aGk="});
        assert_eq!(server.ask("POST", "m/encrypt/a", &body).0, 403);
    });
}

#[test]
fn an_answer_must_be_put_aside_for_as_long_as_the_policy_says() {
    both(|server| {
        server.policy(&format!(
            "{ENCRYPT} min_wrapping_ttl = \"60s\" max_wrapping_ttl = \"2m\" }}"
        ));
        let body = json!({"plaintext": "aGk="});
        for (ttl, status) in [
            ("", 403),
            ("59", 403),
            ("60", 200),
            ("120", 200),
            ("121", 403),
        ] {
            let found = server.wrapped("POST", "m/encrypt/a", &body, ttl).0;
            assert_eq!(found, status, "{ttl}");
        }
    });
}

#[test]
fn a_segment_may_be_empty_and_a_list_falls_back() {
    both(|server| {
        for (pattern, method, path, status) in [
            ("m/+/", "LIST", "m/keys", 200),
            ("m/+", "LIST", "m/keys", 200),
            ("m/keys", "LIST", "m/keys", 200),
            ("m/k*", "LIST", "m/keys", 200),
            ("m/+/a", "LIST", "m/keys", 403),
            ("m/+/+", "GET", "m/keys/", 405),
            ("m/+", "GET", "m/keys/", 403),
            // the later wildcard counts, whatever it allows
            (
                "m/+/a*\" { capabilities = [\"read\"] }\npath \"m/k*",
                "GET",
                "m/keys/a",
                403,
            ),
        ] {
            let caps = if status == 403 {
                "list"
            } else {
                "list\", \"read"
            };
            server.policy(&format!(
                "path \"{pattern}\" {{ capabilities = [\"{caps}\"] }}"
            ));
            let found = server.ask(method, path, &Value::Null).0;
            assert_eq!(found, status, "{pattern}: {method} {path}");
        }
    });
}

#[test]
fn openbao_reads_pages_and_expirations_before_anything_else_of_a_rule() {
    both(|server| {
        if server.core.flavour() == Flavour::Vault {
            return;
        }
        let expiration = "invalid expiration time: could not parse string as date and time";
        let page = "strconv.ParseInt: parsing \"x\": invalid syntax";
        for (path, fields, fault) in [
            ("a", "expiration = \"soon\" pagination_limit = \"x\"", page),
            (
                "a",
                "capabilities = [\"fly\"] expiration = \"soon\"",
                expiration,
            ),
            (
                "a",
                "capabilities = [\"deny\"] expiration = \"soon\"",
                expiration,
            ),
            ("a", "policy = \"nope\" pagination_limit = \"x\"", page),
            (
                "a",
                "min_wrapping_ttl = \"soon\" expiration = \"soon\"",
                expiration,
            ),
            ("+*", "expiration = \"soon\"", expiration),
        ] {
            assert_eq!(
                server.policy(&format!("path \"{path}\" {{ {fields} }}")),
                format!("path \"{path}\": path \"{path}\": {fault}")
            );
        }
    });
}

#[test]
fn openbao_asks_a_list_with_its_slash_first_and_vault_without() {
    both(|server| {
        let openbao = server.core.flavour() == Flavour::OpenBao;
        for (bare, with_slash) in [
            ("m/*", "m/+/+"),
            ("m/+", "m/+/+"),
            ("+/keys", "m/+/+"),
            ("m/+", "m/*"),
            ("m/+", "m/+/*"),
        ] {
            for list_with_slash in [true, false] {
                let caps = |yes: bool| if yes { "[\"list\"]" } else { "[]" };
                server.policy(&format!(
                    "path \"{bare}\" {{ capabilities = {} }}\npath \"{with_slash}\" {{ capabilities = {} }}",
                    caps(!list_with_slash),
                    caps(list_with_slash)
                ));
                let wanted = if list_with_slash == openbao { 200 } else { 403 };
                let found = server.ask("LIST", "m/keys", &Value::Null).0;
                assert_eq!(found, wanted, "{bare} {with_slash} {list_with_slash}");
            }
        }
    });
}

#[test]
fn a_mount_is_shown_to_whoever_may_do_something_below_it() {
    both(|server| {
        for (pattern, capabilities, status) in [
            ("m/keys", "read", 200),
            ("m/keys", "deny", 403),
            ("+/keys", "read", 200),
            ("+/keys", "deny", 403),
            ("m", "read", 200),
            ("x/keys", "read", 403),
            // as the servers have it
            ("*", "deny", 200),
        ] {
            server.policy(&format!(
                "path \"{pattern}\" {{ capabilities = [\"{capabilities}\"] }}"
            ));
            let found = server
                .ask("GET", "sys/internal/ui/mounts/m", &Value::Null)
                .0;
            assert_eq!(found, status, "{pattern} {capabilities}");
        }
    });
}

/// The text, and what OpenBao and Vault say; one answer where they agree.
const DAMAGED: &[(&str, &str, &str)] = &[
    (
        "path \"x\" { capabilities = [\"fly\"] }",
        "path \"x\": path \"x\": invalid capability \"fly\"",
        "path \"x\": invalid capability \"fly\"",
    ),
    (
        "path \"x\" {\n y = 1 }",
        "path \"x\": 1 error occurred:\n\t* invalid key \"y\" on line 2\n\n",
        "1 error occurred:\n\t* path \"x\": invalid key \"y\" on line 2\n\n",
    ),
    (
        "Name = \"x\"",
        "1 error occurred:\n\t* invalid key \"Name\" on line 1\n\n",
        "",
    ),
    (
        "path \"x\" { capabilities = \"read\" }",
        "path \"x\": path \"x\": At 1:27: unknown slice type: *ast.LiteralType",
        "path \"x\": At 1:27: unknown slice type: *ast.LiteralType",
    ),
    (
        "path \"x\" { capabilities = [[\"read\"]] }",
        "path \"x\": path \"x\": At 1:28: root.Capabilities[0]: unknown type for string *ast.ListType",
        "path \"x\": At 1:28: root.Capabilities[0]: unknown type for string *ast.ListType",
    ),
    (
        "path \"x\" { allowed_parameters = [\"x\"] }",
        "path \"x\": path \"x\": At 1:33: root.allowed_parameters: not an object type for map (*ast.ListType)",
        "path \"x\": At 1:33: root.allowed_parameters: not an object type for map (*ast.ListType)",
    ),
    (
        "path \"x\" { min_wrapping_ttl = [] }",
        "path \"x\": error parsing min_wrapping_ttl: could not parse duration from input",
        "error parsing min_wrapping_ttl: could not parse duration from input",
    ),
    (
        "path \"m/+*\" { }",
        "path \"m/+*\": path \"m/+*\": invalid use of wildcards ('+*' is forbidden)",
        "path \"m/+*\": invalid use of wildcards ('+*' is forbidden)",
    ),
    (
        "path \"{{\" { }",
        "path \"{{\": failed to validate policy templating: unbalanced templating characters",
        "failed to validate policy templating: unbalanced templating characters",
    ),
    (
        "path \"x\" { capabilities = [\"read\" }",
        "At 1:35: error parsing list, expected comma or list end, got: RBRACE",
        "At 1:36: object expected closing RBRACE got: EOF",
    ),
    (
        "path \"x\" { capabilities = }",
        "At 1:27: Unknown token: 1:27 RBRACE }",
        "At 1:28: object expected closing RBRACE got: EOF",
    ),
    (
        "path \"x\" { capabilities }",
        "At 1:25: key 'capabilities' expected start of object ('{') or assignment ('=')",
        "",
    ),
    (
        "path \"x\" { capabilities = [\"read\" \"list\"] }",
        "At 1:35: error parsing list, expected comma or list end, got: STRING",
        "",
    ),
    (
        "path \"x\" { capabilities = [read] }",
        "At 1:28: unexpected token while parsing list: IDENT",
        "",
    ),
    (
        "path \"x\" = 5",
        "At 1:10: nested object expected: LBRACE got: ASSIGN",
        "",
    ),
    (
        "path \"x\" {{ }}",
        "At 1:11: expected: IDENT | STRING got: LBRACE",
        "",
    ),
    ("path \"x\\q\" { }", "At 1:9: illegal char escape", ""),
    ("path \"x", "At 1:8: literal not terminated", ""),
    ("/* open", "At 1:8: comment not terminated", ""),
    ("= 5", "At 1:1: no object keys found!", ""),
    ("0x", "At 1:3: illegal hexadecimal number", ""),
    (
        "path \"x\" {",
        "At 1:12: object expected closing RBRACE got: EOF",
        "",
    ),
    (
        "path = []",
        "path \"path\": cannot check HCL keys of type *ast.ListType",
        "",
    ),
    (
        "{\"path\":{\"x\":{\"capabilities\":[null]}}}",
        "unexpected token while parsing list: NULL",
        "",
    ),
    (
        "{\"path\":{\"x\":5}}",
        "path \"path\": 1 error occurred:\n\t* invalid key \"x\" on line 1\n\n",
        "1 error occurred:\n\t* path \"path\": invalid key \"x\" on line 1\n\n",
    ),
    (
        "{\"path\":{\"x\":{\"capabilities\":null}}}",
        "path \"x\": path \"x\": At -: unknown slice type: *ast.LiteralType",
        "path \"x\": At -: unknown slice type: *ast.LiteralType",
    ),
];

#[test]
fn damaged_policies_are_refused_in_the_servers_words() {
    both(|server| {
        let openbao = server.core.flavour() == Flavour::OpenBao;
        for (text, of_openbao, of_vault) in DAMAGED {
            let wanted = if openbao || of_vault.is_empty() {
                of_openbao
            } else {
                of_vault
            };
            assert_eq!(server.policy(text), *wanted, "{text}");
        }
    });
}

#[test]
fn some_damage_goes_unseen() {
    both(|server| {
        for text in [
            "x \"y\" { } ".replace('x', "path").as_str(),
            "path \"x\" { capabilities = [\"read\",] }",
            "path \"x\" { } y =",
            "{",
            "{\"path\":{\"x\":{\"capabilities\":[\"read\"]}}",
            "{\"path\":{\"x\":{\"capabilities\":[\"read\"],}}}",
            "# only this",
        ] {
            assert_eq!(server.policy(text), "", "{text}");
        }
    });
}
