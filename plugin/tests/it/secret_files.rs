//! BUG-012, BUG-099: credential files as editors, `echo` and Kubernetes leave them.

use std::io;
use std::path::Path;

use vault_kubernetes_kms::process::world::FileSecrets;
use vault_kubernetes_kms::seam::SecretSource;
use vault_kubernetes_kms::secret_file::{
    Kind, MAX_CREDENTIAL, SecretFileError, Unfit, read_credential,
};

use crate::config_world::{CANARY, Files, fit_for_a_log};

const ALL: [Kind; 5] = [
    Kind::Token,
    Kind::Id,
    Kind::SecretId,
    Kind::Username,
    Kind::Password,
];

fn read(content: impl AsRef<[u8]>, kind: Kind) -> Result<String, SecretFileError> {
    let files = Files::default().with("/f", content);
    read_credential(&files, Path::new("/f"), kind).map(|secret| secret.expose().to_owned())
}

#[test]
fn bug_012_line_ends_and_a_bom_are_cut_for_every_kind() {
    for kind in ALL {
        for content in [
            "CANARY",
            "CANARY\n",
            "CANARY\r\n",
            "CANARY\n\n",
            "\u{feff}CANARY\r\n",
        ] {
            assert_eq!(
                read(content, kind).unwrap(),
                "CANARY",
                "{kind:?} {content:?}"
            );
        }
    }
}

#[test]
fn bug_012_blanks_around_are_cut_except_a_passwords() {
    for kind in ALL {
        let kept = read(" \tCANARY  \n", kind);
        match kind {
            Kind::Password => assert!(kept.is_err(), "a tab is a control character"),
            _ => assert_eq!(kept.unwrap(), "CANARY", "{kind:?}"),
        }
    }
    assert_eq!(
        read("\u{feff}  two words  \r\n", Kind::Password).unwrap(),
        "  two words  "
    );
}

#[test]
fn bug_012_what_cannot_be_used_names_the_file_and_not_the_value() {
    let long = CANARY.repeat(MAX_CREDENTIAL);
    let rows: [(&[u8], Kind, Unfit); 14] = [
        (b"", Kind::Token, Unfit::Empty),
        (b"\xef\xbb\xbf", Kind::Password, Unfit::Empty),
        (b" \t\r\n", Kind::SecretId, Unfit::Blank),
        (b"   ", Kind::Password, Unfit::Blank),
        (b"CAN\tCANARY", Kind::Password, Unfit::Control(3)),
        (b"CANARY\x00", Kind::Id, Unfit::Control(6)),
        (b"\nCANARY", Kind::Password, Unfit::Control(0)),
        (b"CANARY\nCANARY\n", Kind::SecretId, Unfit::Lines(2)),
        (b"CANARY\xff", Kind::Token, Unfit::NotUtf8),
        (b"\xfe\xff\0C\0A", Kind::Token, Unfit::Utf16),
        ("CANARY\u{e9}".as_bytes(), Kind::Token, Unfit::NotAToken),
        (b"CANARY CANARY", Kind::Token, Unfit::NotAToken),
        (b"CANARY/../x", Kind::Username, Unfit::NotAUserName),
        (b"..", Kind::Username, Unfit::NotAUserName),
    ];
    for (content, kind, expected) in rows {
        let error = read(content, kind).unwrap_err();
        assert!(
            matches!(&error, SecretFileError::Unfit { unfit, .. } if *unfit == expected),
            "{content:?}: {error:?}"
        );
        assert!(error.to_string().starts_with("/f: "), "{error}");
        fit_for_a_log(&error.to_string());
        fit_for_a_log(&format!("{error:?}"));
        assert!(error.fix().contains(kind.as_str()), "{}", error.fix());
    }
    let error = read(&long, Kind::Token).unwrap_err();
    assert!(
        error.to_string().contains("too long") && !error.to_string().contains(CANARY),
        "{error}"
    );
}

#[test]
fn bug_099_a_folder_is_searched_for_the_kinds_names() {
    let files = Files::default()
        .with("/d/role_id", "role\n")
        .with("/d/secret-id", "secret\n")
        .with("/d/token", "token\n")
        .with("/d/username", "user\n")
        .with("/d/password", " pass \n");
    for (kind, expected) in ALL
        .into_iter()
        .zip(["token", "role", "secret", "user", " pass "])
    {
        assert_eq!(
            read_credential(&files, Path::new("/d"), kind)
                .unwrap()
                .expose(),
            expected
        );
    }
    let error = read_credential(
        &Files::default().with("/d/odd", "x"),
        Path::new("/d"),
        Kind::Id,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/d: the folder holds no role-id or role_id"
    );
}

#[test]
fn bug_099_a_folder_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let read = |kind| read_credential(&FileSecrets, folder.path(), kind);
    let error = read(Kind::Id).unwrap_err().to_string();
    assert!(
        error.ends_with("the folder holds no role-id or role_id"),
        "{error}"
    );
    std::fs::write(folder.path().join("ROLE_ID"), "role").unwrap();
    let error = read(Kind::Id).unwrap_err().to_string();
    assert!(error.ends_with("; found: ROLE_ID"), "{error}");
    std::fs::write(folder.path().join("role_id"), "role\n").unwrap();
    assert_eq!(read(Kind::Id).unwrap().expose(), "role");
}

#[test]
fn a_file_of_the_host_is_read_whole_and_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "0123456789").unwrap();
    assert_eq!(
        FileSecrets.read(&path, 10).unwrap().as_slice(),
        b"0123456789"
    );
    assert_eq!(
        FileSecrets.read(&path, 9).unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
    assert_eq!(
        FileSecrets
            .read(&folder.path().join("none"), 9)
            .unwrap_err()
            .kind(),
        io::ErrorKind::NotFound
    );
    assert_eq!(
        FileSecrets.read(folder.path(), 9).unwrap_err().kind(),
        io::ErrorKind::IsADirectory
    );
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert!(FileSecrets.read(&empty, 9).unwrap().is_empty());
    assert!(
        !FileSecrets
            .read(Path::new("/proc/self/status"), 1 << 20)
            .unwrap()
            .is_empty(),
        "size 0 by its metadata"
    );
}

#[test]
fn a_named_pipe_in_a_files_place_does_not_hold_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = read_credential(&FileSecrets, &pipe, Kind::Token).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_symlink_swap_is_seen_at_the_next_read() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, value) in [("v1", "one"), ("v2", "two")] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("token"), value).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/token", at("token")).unwrap();
    let read = || {
        read_credential(&FileSecrets, &at("token"), Kind::Token)
            .unwrap()
            .expose()
            .to_owned()
    };
    assert_eq!(read(), "one");
    symlink("v2", at("..next")).unwrap();
    std::fs::rename(at("..next"), at("..data")).unwrap();
    assert_eq!(read(), "two");
}
