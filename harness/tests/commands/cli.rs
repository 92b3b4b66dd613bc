//! Words, exit codes and JSON fields that people script against.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use kms_harness::vault::family::Family;
use serde_json::Value;

use super::support::{folder, harness, run, said, toy, toy_subject};

pub fn list_prints_rows_of_the_promised_form() {
    let rows = run(&["list", "--format", "json"]).ended(0).json();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() >= 168, "{} rows", rows.len());
    for row in rows {
        let row = row.as_object().unwrap();
        for field in [
            "id", "who", "level", "source", "since", "checks", "tests", "zoo",
        ] {
            assert!(row.contains_key(field), "{row:?} has no {field}");
        }
        let known = |name: &String| {
            [
                "id", "who", "level", "source", "since", "checks", "tests", "zoo", "reason",
            ]
            .contains(&name.as_str())
        };
        assert!(row.keys().all(known), "{row:?}");
    }
    let plugin = run(&["list", "--who", "plugin", "--format", "json"])
        .ended(0)
        .json();
    let who = |row: &Value| row["who"].as_str().unwrap().to_owned();
    assert!(
        plugin
            .as_array()
            .unwrap()
            .iter()
            .all(|row| ["plugin", "both"].contains(&who(row).as_str()))
    );
    assert!(plugin.as_array().unwrap().len() < rows.len());
}

/// Each requirement that a check of ours judges says so in its row.
pub fn list_names_every_check() {
    let rows = run(&["list", "--format", "json"]).ended(0).json();
    for check in kms_judge::checks() {
        for id in check.requirements {
            let row = rows
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["id"] == *id)
                .unwrap();
            assert!(
                row["checks"]
                    .as_array()
                    .unwrap()
                    .contains(&Value::from(check.id)),
                "{row}"
            );
        }
    }
}

pub fn explain_takes_ids_as_people_type_them() {
    for id in ["KMS2-ENC-05", "enc-05"] {
        assert!(run(&["explain", id]).ended(0).out.contains("KMS2-ENC-05"));
        assert_eq!(
            run(&["explain", id, "--format", "json"]).ended(0).json()["id"],
            "KMS2-ENC-05"
        );
    }
    assert!(
        run(&["explain", "KMS2-ENC-99"])
            .ended(2)
            .err
            .contains("ENC goes from")
    );
}

/// Wrong usage is exit 2, and the message names what was wrong and what would be right.
pub fn wrong_usage() {
    let home = folder();
    let path = |name: &str| home.path().join(name).display().to_string();
    std::fs::write(path("full"), "x").unwrap();
    std::fs::write(
        path("bad.toml"),
        "name = \"a\"\ncommand = [\"a\"]\ncolour = 1\n",
    )
    .unwrap();
    std::fs::write(
        path("self.toml"),
        format!(
            "name = \"a\"\ncommand = [{:?}]\n",
            env!("CARGO_BIN_EXE_kms-harness")
        ),
    )
    .unwrap();
    let toy = toy().display().to_string();
    let subject = toy_subject(home.path(), "").display().to_string();
    let (bad, own, taken) = (
        path("bad.toml"),
        path("self.toml"),
        home.path().display().to_string(),
    );
    let itself = env!("CARGO_BIN_EXE_kms-harness");
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["Usage"]),
        (&["judges"], &["judges"]),
        (&["check"], &["--socket"]),
        (
            &["check", "--socket", "/run/kms.sock"],
            &["unix:///PATH", "/run/kms.sock"],
        ),
        (
            &["check", "--socket", "tcp://127.0.0.1:1"],
            &["unix:///PATH"],
        ),
        (
            &["check", "--socket", "unix:///a", "--server-version", "31"],
            &["1.NN"],
        ),
        (
            &["apiserver", "--encryption-provider-config-automatic-reload"],
            &["--encryption-provider-config"],
        ),
        (
            &["run", "--subject", &subject, "--apiserver", "simulated"],
            &["--apiserver simulated", "sim, real"],
        ),
        (
            &["check", "--socket", "unix:///a", "--server-version", "1.26"],
            &["1.27"],
        ),
        (
            &["check", "--socket", "unix:///a", "--metrics-url", "a:1"],
            &["--metrics-url", "http://127.0.0.1:"],
        ),
        (
            &["check", "--socket", "unix:///a", "--other-socket", "b"],
            &["--other-socket", "unix:///"],
        ),
        (
            &["check", "--socket", "unix:///a", "--image", "/nowhere.tar"],
            &["/nowhere.tar", "ci/image", "docker save"],
        ),
        (&["run", "--image", "/nowhere.tar"], &["--subject"]),
        (
            &["check", "--socket", "unix:///a", "--profile", "gold"],
            &["core"],
        ),
        (
            &["check", "--socket", "unix:///a", "--seed", "x"],
            &["--seed"],
        ),
        (
            &["check", "--socket", "unix:///a", "--out", &taken],
            &["--out", "empty"],
        ),
        (
            &["run", "--vault", "consul"],
            &[
                "sim",
                "wiremock",
                "openbao",
                "vault",
                "container",
                "http[s]://HOST:PORT",
            ],
        ),
        (
            &["run", "--vault", "container"],
            &["--vault-image NAME:TAG"],
        ),
        (
            &["run", "--vault", "container", "--vault-image", "openbao"],
            &["--vault-image", "NAME:TAG"],
        ),
        (
            &["run", "--vault", "sim", "--vault-image", "a:b"],
            &["--vault-image", "--vault container"],
        ),
        (&["run", "--vault", "sim,openbao"], &["sim", "openbao"]),
        (
            &["run", "--vault", "http://127.0.0.1:1", "--plugin", &toy],
            &["--vault-token-path", "VAULT_TOKEN", "sys/mounts"],
        ),
        (
            &["run", "--vault-token-path", "/nowhere"],
            &["--vault-token-path", "ADDRESS"],
        ),
        (
            &["run", "--plugin", "/nowhere/kms"],
            &["--plugin", "/nowhere/kms"],
        ),
        (&["run", "--plugin", itself], &["harness itself"]),
        (&["run", "--subject", &own], &["harness itself"]),
        (&["run", "--subject", "/nowhere.toml"], &["/nowhere.toml"]),
        (
            &["run", "--subject", &bad],
            &["bad.toml", "colour", "line 3"],
        ),
        (
            &["run", "--subject", &subject, "--plugin", &toy],
            &["--plugin", "--subject"],
        ),
        (&["list", "--who", "nobody"], &["plugin"]),
        (&["list", "--format", "xml"], &["json"]),
        (&["judge"], &["BUNDLE"]),
        (&["judge", "/nowhere"], &["/nowhere", "history.jsonl"]),
    ];
    for (args, needles) in cases {
        let said = run(args).ended(2);
        for needle in *needles {
            assert!(
                said.err.contains(needle),
                "{args:?}: {needle:?} is not in {}",
                said.err
            );
        }
        assert_eq!(said.out, "", "{args:?}");
    }
}

/// A real server that is not there: the message says how to have one.
pub fn a_real_server_that_is_not_there() {
    for family in [Family::OpenBao, Family::Vault] {
        let toy = toy().display().to_string();
        let word = family.to_string();
        let args = ["run", "--vault", &word, "--plugin", &toy];
        let nowhere = folder();
        let without = || {
            let mut command = harness(&args);
            command
                .env("PATH", nowhere.path())
                .env("KMS_CACHE", nowhere.path());
            said(command.output().unwrap()).ended(2).err
        };
        let variable = format!("${}", family.part().variable);
        let absent = without();
        assert!(
            absent.contains(&variable) && absent.contains(family.part().script),
            "{absent}"
        );
        // A wrapper script of that name is not the server.
        let wrapper = nowhere.path().join(family.part().program);
        std::fs::write(&wrapper, "#!/bin/sh\nexec /nowhere/server \"$@\"\n").unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(without().contains(&variable));
        let wrong = harness(&args)
            .env(family.part().variable, "/nowhere/server")
            .output()
            .unwrap();
        let wrong = said(wrong).ended(2).err;
        assert!(wrong.contains("/nowhere/server"), "{wrong}");
    }
}

/// No daemon: exit 3 at once, and the message says how to have one. A harness that was built without containers
/// says that first, as wrong usage.
pub fn a_docker_daemon_that_is_not_there() {
    let home = folder();
    let toy = toy_subject(home.path(), "").display().to_string();
    let out = home.path().join("out").display().to_string();
    let args = [
        "run",
        "--vault",
        "container",
        "--vault-image",
        "a:b",
        "--subject",
        &toy,
        "--out",
        &out,
    ];
    let nowhere = format!("unix://{}", home.path().join("none.sock").display());
    let absent = harness(&args).env("DOCKER_HOST", nowhere).output().unwrap();
    let (code, words) = if cfg!(feature = "container") {
        (3, ["DOCKER_HOST", "ci/docker"])
    } else {
        (2, ["a:b", "`--features container`"])
    };
    let absent = said(absent).ended(code).err;
    assert!(words.iter().all(|word| absent.contains(word)), "{absent}");
}

/// What cannot be reached is not judged: exit 3 and an inconclusive report, never a pass.
pub fn what_cannot_be_reached_is_inconclusive() {
    let home = folder();
    let socket = home.path().join("kms.sock");
    // Bound once and closed: the file is there, nobody listens.
    drop(UnixListener::bind(&socket).unwrap());
    for (name, url) in [
        (
            "absent",
            format!("unix://{}/none.sock", home.path().display()),
        ),
        ("dead", format!("unix://{}", socket.display())),
    ] {
        let out = home.path().join(name).display().to_string();
        let report = run(&["check", "--socket", &url, "--format", "json", "--out", &out])
            .ended(3)
            .json();
        assert_eq!(report["profiles"][0]["result"], "inconclusive", "{report}");
        assert_eq!(report["profiles"][0]["counts"]["pass"], 0);
    }
}

pub fn unwritable_folder_is_exit_3() {
    let home = folder();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("out").display().to_string();
    let said = run(&["check", "--socket", "unix:///nowhere.sock", "--out", &below]).ended(3);
    assert!(
        said.err.contains("make the bundle's folder"),
        "{}",
        said.err
    );
}

/// A plugin that ends at once: exit 3, and its own last words are shown.
pub fn a_plugin_that_does_not_start_is_exit_3() {
    let home = folder();
    let subject = toy_subject(home.path(), "start").display().to_string();
    let out = home.path().join("out").display().to_string();
    let said = run(&["run", "--subject", &subject, "--out", &out]).ended(3);
    assert!(
        said.err.contains("told not to start") && said.err.contains("exit code 1"),
        "{}",
        said.err
    );
}
