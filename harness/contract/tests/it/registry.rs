//! The registry's own rules.

use std::collections::BTreeSet;

use kms_contract::{
    Basis, Confidence, Level, Minor, Profile, Requirement, Who, all, areas, digest_of, get,
    registry_digest, sources,
};

const OWN_AREAS: [&str; 6] = ["RT", "AVAIL", "ROT", "SEC", "OBS", "PERF"];

fn is_own(requirement: &Requirement) -> bool {
    OWN_AREAS.contains(&requirement.area())
}

#[test]
fn holds_168_written_and_26_own_entries_of_which_6_are_information() {
    assert_eq!(all().filter(|one| !is_own(one)).count(), 168);
    assert_eq!(all().filter(|one| is_own(one)).count(), 26);
    assert_eq!(all().filter(|one| one.who == Who::Info).count(), 6);
    let own: Vec<_> = areas()
        .iter()
        .map(|area| area.code)
        .filter(|code| OWN_AREAS.contains(code))
        .collect();
    assert_eq!(own, OWN_AREAS, "own areas stand last and in this order");
}

#[test]
fn ids_are_unique_and_numbered_without_gaps_in_their_area() {
    let mut seen = BTreeSet::new();
    for area in areas() {
        for (index, requirement) in area.requirements.iter().enumerate() {
            assert_eq!(
                requirement.id,
                format!("KMS2-{}-{:02}", area.code, index + 1)
            );
            assert_eq!(requirement.area(), area.code);
            assert!(
                seen.insert(requirement.id),
                "{} stands twice",
                requirement.id
            );
        }
    }
}

#[test]
fn every_entry_is_found_by_its_exact_id_only() {
    for requirement in all() {
        assert_eq!(get(requirement.id), Some(requirement));
    }
    for wrong in [
        "",
        "KMS2-",
        "KMS2-ENC",
        "KMS2-ENC-5",
        "KMS2-ENC-005",
        "ENC-05",
        "kms2-enc-05",
    ] {
        assert_eq!(get(wrong), None, "{wrong:?}");
    }
}

#[test]
fn texts_are_single_lines_and_sentences_end_with_a_full_stop() {
    for one in all() {
        let id = one.id;
        assert!(
            one.sentence.ends_with('.') && one.sentence.len() > 20,
            "{id}: sentence"
        );
        assert!(
            !one.title.is_empty() && !one.title.ends_with('.'),
            "{id}: title"
        );
        assert!(one.title.chars().count() <= 50, "{id}: title is long");
        for note in [one.source_conflict, one.reason].into_iter().flatten() {
            assert!(note.ends_with('.'), "{id}: {note}");
        }
        let texts = [
            one.title,
            one.sentence,
            one.source,
            one.reason.unwrap_or_default(),
        ];
        for text in texts.into_iter().chain(one.source_conflict) {
            assert!(
                !text.contains('\n') && !text.contains("  "),
                "{id}: {text:?}"
            );
            assert_eq!(text, text.trim(), "{id}");
        }
    }
}

#[test]
fn practice_is_never_a_must_and_only_practice_is_unsupported() {
    for one in all() {
        assert!(
            one.basis != Basis::Practice || one.level != Level::Must,
            "{}",
            one.id
        );
        assert_eq!(
            one.confidence.is_empty(),
            one.basis == Basis::Practice && is_own(one),
            "{}: facts say how they are known, own judgement does not",
            one.id
        );
        let distinct: BTreeSet<_> = one.confidence.iter().collect();
        assert_eq!(distinct.len(), one.confidence.len(), "{}", one.id);
    }
}

#[test]
fn a_must_that_is_only_derived_is_flagged() {
    let flagged: Vec<_> = all()
        .filter(|one| one.is_unconfirmed())
        .map(|one| one.id)
        .collect();
    assert_eq!(flagged, ["KMS2-STATE-08"]);
    let derived_should = get("KMS2-VER-01").unwrap();
    assert_eq!(derived_should.confidence, [Confidence::Derived]);
    assert!(!derived_should.is_unconfirmed());
}

#[test]
fn sources_are_short_names_requirement_ids_or_issues() {
    for one in all() {
        assert!(!one.source.is_empty(), "{}", one.id);
        for source in one.sources() {
            let known = sources::expand(source).is_some()
                || get(source).is_some()
                || source.starts_with("kubernetes/kubernetes#");
            assert!(known, "{}: source {source:?}", one.id);
        }
    }
    let names: BTreeSet<_> = sources::SOURCES.iter().map(|(short, _)| short).collect();
    assert_eq!(names.len(), sources::SOURCES.len());
}

#[test]
fn profiles_follow_from_who_level_and_basis() {
    let profile = |id: &str| get(id).unwrap().profile();
    assert_eq!(
        profile("KMS2-STATUS-03"),
        Some(Profile::Core),
        "must of the proto"
    );
    assert_eq!(profile("KMS2-STATUS-02"), Some(Profile::Core), "binds both");
    assert_eq!(
        profile("KMS2-RT-01"),
        Some(Profile::Core),
        "own, but the caller's"
    );
    assert_eq!(
        profile("KMS2-ROT-03"),
        Some(Profile::Production),
        "must of documentation"
    );
    assert_eq!(
        profile("KMS2-AVAIL-01"),
        Some(Profile::Production),
        "should"
    );
    assert_eq!(profile("KMS2-STATUS-05"), None, "binds the API server");
    assert_eq!(profile("KMS2-SRV-01"), None, "information");
}

#[test]
fn conflicting_sources_are_noted_where_an_edge_is_disputed() {
    let noted: Vec<_> = all()
        .filter(|one| one.source_conflict.is_some())
        .map(|one| one.id)
        .collect();
    assert_eq!(
        noted,
        [
            "KMS2-STATUS-04",
            "KMS2-ENC-05",
            "KMS2-ENC-06",
            "KMS2-ENC-08"
        ]
    );
    for id in &noted[..3] {
        let note = get(id).unwrap().source_conflict.unwrap();
        assert!(note.contains("1024 is a warning, 1025 a failure"), "{id}");
    }
}

#[test]
fn server_versions_bound_a_requirement() {
    let since = |id: &str| get(id).unwrap().since;
    assert_eq!(since("KMS2-CONN-04"), Minor(32));
    assert_eq!(since("KMS2-STATUS-02"), Minor(29));
    let downgrade = get("KMS2-VER-01").unwrap();
    assert!(downgrade.holds_for(Minor(27)));
    assert!(!downgrade.holds_for(Minor(28)) && !downgrade.holds_for(Minor(26)));
    assert!(get("KMS2-ENC-05").unwrap().holds_for(Minor(37)));
}

#[test]
fn server_versions_are_read_strictly() {
    assert_eq!("1.34".parse(), Ok(Minor(34)));
    assert_eq!("v1.9".parse(), Ok(Minor(9)));
    for wrong in ["", "1", "1.", "2.34", "1.34.1", "1.+3", "1.300", "34"] {
        let error = wrong.parse::<Minor>().unwrap_err().to_string();
        assert!(error.contains("1.NN"), "{wrong:?}: {error}");
    }
}

#[test]
fn ids_without_a_test_say_why() {
    let silent: Vec<_> = all()
        .filter(|one| one.reason.is_some())
        .map(|one| one.id)
        .collect();
    assert_eq!(
        silent,
        [
            "KMS2-ENC-04",
            "KMS2-STALE-05",
            "KMS2-LOG-03",
            "KMS2-SRV-01",
            "KMS2-SRV-02",
            "KMS2-SRV-03",
            "KMS2-SRV-04",
            "KMS2-MOCK-01",
            "KMS2-MOCK-02",
            "KMS2-AVAIL-02",
        ]
    );
}

#[test]
fn the_digest_changes_with_every_field() {
    let before = registry_digest();
    assert!(before.starts_with("sha256:") && before.len() == 7 + 64);
    assert_eq!(before, registry_digest());

    let original = *get("KMS2-ENC-05").unwrap();
    let changes: [fn(&mut Requirement); 12] = [
        |one| one.id = "KMS2-ENC-99",
        |one| one.title = "other",
        |one| one.sentence = "Other.",
        |one| one.who = Who::Both,
        |one| one.level = Level::Should,
        |one| one.basis = Basis::Caller,
        |one| one.confidence = &[Confidence::Code],
        |one| one.source = "ENV",
        |one| one.since = Minor(28),
        |one| one.until = Some(Minor(30)),
        |one| one.source_conflict = None,
        |one| one.reason = Some("Because."),
    ];
    let mut digests = BTreeSet::from([digest_of([&original])]);
    for change in changes {
        let mut changed = original;
        change(&mut changed);
        assert!(
            digests.insert(digest_of([&changed])),
            "a change went unseen: {changed:?}"
        );
    }
}
