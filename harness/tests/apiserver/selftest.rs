//! The comparison itself: it must notice what it is there to notice.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::again::{self, Found, Playing};
use crate::allowed::{Allowed, Difference};
use crate::facts::{Facts, Names, Seen, hash, metrics};

const LIST: &str = r#"
[[difference]]
id = "known"
reason = "because"
label = "check: .*"
real = "yes"
simulated = "nothing"

[[difference]]
id = "other"
reason = "because"
label = "other"
real = ".*"
simulated = ".*"
"#;

fn text(value: &str) -> Seen {
    Seen::Text(value.to_owned())
}

fn facts<const N: usize>(facts: [(&str, Seen); N]) -> Facts {
    facts.map(|(label, seen)| (label.to_owned(), seen)).into()
}

/// What differs is found, unless the list explains exactly that; what the list explains must occur.
pub async fn differences_are_found_or_explained(_: ()) -> Result<()> {
    let number = |value| Seen::Number { value, slack: 2 };
    let real = facts([
        ("a", text("200")),
        ("b", number(5)),
        ("c", number(5)),
        ("check: x", text("yes")),
        ("check: y", text("no")),
    ]);
    let simulated = facts([
        ("a", text("500")),
        ("b", number(7)),
        ("c", number(8)),
        ("d", text("more")),
    ]);
    let mut allowed = Allowed::parse(LIST)?;
    let found: Vec<String> = allowed
        .compare(&real, &simulated)
        .into_iter()
        .map(|difference| difference.label)
        .collect();
    ensure!(found == ["a", "c", "check: y", "d"], "{found:?}");
    ensure!(allowed.unused() == ["other"]);
    ensure!(Allowed::parse(LIST)?.unused() == ["known", "other"]);
    ensure!(Allowed::parse(LIST)?.compare(&real, &real).is_empty());
    let silent = LIST.replacen("because", " ", 1);
    ensure!(Allowed::parse(&silent).is_err(), "an entry needs a reason");
    Allowed::read().map(drop)
}

/// A planted difference that is always there fails; one that is there once is told; one that the other playing never
/// reached fails, too. A story that breaks off twice fails wherever it did.
pub async fn what_lasts_fails_and_what_was_chance_is_told(_: ()) -> Result<()> {
    let planted = |chapter, label: &str| Found {
        story: "planted".into(),
        chapter,
        difference: Difference {
            label: label.into(),
            real: "200".into(),
            simulated: "500".into(),
        },
    };
    let playing = |found: &[&Found], broke: Option<usize>| Playing {
        found: found.iter().map(|found| (*found).clone()).collect(),
        broke: broke.map(|chapter| (chapter, "no answer".to_owned())),
        facts: 1,
        seconds: 1.0,
    };
    let (a, b) = (planted(1, "a"), planted(3, "b"));
    let elsewhere = planted(2, "a");
    let cases = [
        (vec![playing(&[], None)], "", ""),
        (vec![playing(&[&a], None); 2], "1a", ""),
        (
            vec![playing(&[&a, &b], None), playing(&[&b], None)],
            "3b",
            "1a",
        ),
        (vec![playing(&[&a], None), playing(&[], None)], "", "1a"),
        (
            vec![playing(&[&a], None), playing(&[&elsewhere], None)],
            "",
            "1a2a",
        ),
        (
            vec![playing(&[], Some(2)), playing(&[&a, &b], None)],
            "3b",
            "1a2broke off",
        ),
        (
            vec![playing(&[&b], None), playing(&[&a], Some(2))],
            "3b",
            "1a2broke off",
        ),
        (
            vec![playing(&[], Some(2)), playing(&[], Some(4))],
            "2broke off4broke off",
            "",
        ),
    ];
    for (number, (playings, lasting, once)) in cases.into_iter().enumerate() {
        let count = playings.len();
        let mut left = playings.into_iter();
        let verdict = again::judged("planted", async || {
            left.next().expect("a story is played twice at most")
        })
        .await;
        let shown = |found: &[Found]| -> String {
            found
                .iter()
                .map(|found| format!("{}{}", found.chapter, found.difference.label))
                .collect()
        };
        let seen = (shown(&verdict.lasting), shown(&verdict.once), verdict.facts);
        ensure!(
            seen == (lasting.to_owned(), once.to_owned(), count),
            "case {number}: {seen:?}"
        );
    }
    let long = vec!["x".to_owned(); 100];
    ensure!(again::compact(long).lines().count() == again::LINES + 1);
    let wide = Found {
        difference: Difference {
            label: "ä".repeat(500),
            real: "1\n".repeat(500),
            simulated: "2".repeat(500),
        },
        ..a
    };
    ensure!(wide.to_string().chars().count() < 240 && !wide.to_string().contains('\n'));
    Ok(())
}

/// Names stand for what is random; what is not random stays.
pub async fn only_random_words_are_replaced(_: ()) -> Result<()> {
    let mut names = Names::new(Path::new("/tmp/kms-x"));
    ensure!(names.key_id("v1.a") == "KEY-1" && names.key_id("v1.b") == "KEY-2");
    let seen = format!(
        "dial unix /tmp/kms-x/k.sock, key v1.b, {}, expired at 2026-01-02T03:04:05Z (now 2026-01-02T03:04:06+01:00), \
         uid 0d961382-6c69-463f-9c60-805b28e7b81a, v1.37.2, 127.0.0.1:443, 2026-01-02",
        hash(b"v1.a")
    );
    let shown = names.in_text(&seen);
    let wanted = "dial unix DIR/k.sock, key KEY-2, hash of KEY-1, expired at TIME (now TIME), \
                  uid UUID, v1.37.2, 127.0.0.1:443, 2026-01-02";
    ensure!(shown == wanted, "{shown}");
    let line = "apiserver_envelope_encryption_key_id_hash_total{apiserver_id_hash=\"sha256:1\",x=\"y\"} 3\n\
                apiserver_storage_transformation_operations_total{status=\"Canceled\",transformation_type=\"from_storage\"} 1\n\
                apiserver_request_total 7\n";
    let seen = metrics(&names, line);
    let label = "metrics: apiserver_envelope_encryption_key_id_hash_total{apiserver_id_hash=\"ID\",x=\"y\"}";
    ensure!(
        seen.len() == 1 && matches!(seen.get(label), Some(Seen::Number { value: 3, .. })),
        "{seen:?}"
    );
    Ok(())
}
