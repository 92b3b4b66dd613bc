//! What is known of the key at one place: its versions, their ids, and what has changed about them.
//!
//! Pure: fed with key documents, asked about key_ids. Taking a version up needs a round trip,
//! which is the probe's business; the table only says which version is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::document::KeyDocument;
use super::format::Format;
use super::hashicorp::Words;
use super::id;
use crate::config::{Adopt, Place};

/// A latest version that stays gone back this long is no lagging standby.
const GONE_BACK: Duration = Duration::from_secs(60);

/// A version with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// Its key_id.
    pub key_id: Arc<str>,
    /// How values are written with it.
    pub format: Format,
}

struct Entry {
    created: Box<str>,
    version: Version,
}

/// What a key_id and a version number have to do with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// They belong together.
    Match(Version),
    /// The key_id is another version's, or the version has another key_id.
    Mismatch,
    /// The version has not been seen yet.
    Unknown,
}

/// What the document just observed asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A round trip at this version, then [`Table::take_up`].
    TakeUp(Version),
    /// A definite fault, with its remedy.
    Fault(String),
}

/// The table of one place.
pub struct Table {
    place: Place,
    adopt: Option<Adopt>,
    entries: BTreeMap<u64, Entry>,
    by_id: BTreeMap<Arc<str>, (u64, Format)>,
    current: Option<Version>,
    /// Ids that were once reported: none of them may come back after a change (KMS2-STATUS-08).
    reported: BTreeSet<Arc<str>>,
    highest: u64,
    gone_back_since: Option<Instant>,
    /// A fault that only a version with a new id ends, and what was latest when it began.
    replaced: Option<Replaced>,
}

struct Replaced {
    text: String,
    latest: (u64, Box<str>),
}

impl Table {
    /// An empty table.
    pub fn new(place: Place, adopt: Option<Adopt>) -> Self {
        Self {
            place,
            adopt,
            entries: BTreeMap::new(),
            by_id: BTreeMap::new(),
            current: None,
            reported: BTreeSet::new(),
            highest: 0,
            gone_back_since: None,
            replaced: None,
        }
    }

    /// The version in use.
    pub fn current(&self) -> Option<&Version> {
        self.current.as_ref()
    }

    /// Whether no document has been read yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What `key_id` and version `number` have to do with each other, for a value of `format`.
    pub fn lookup(&self, key_id: &str, number: u64, format: Format) -> Lookup {
        match format {
            Format::Community => return self.lookup_community(key_id, number),
            Format::HashiCorp => return self.lookup_hashicorp(key_id, number),
            Format::Bound | Format::Unbound => {}
        }
        match (self.by_id.get(key_id), self.entries.get(&number)) {
            (Some(known), Some(entry)) if *known == (number, format) => {
                Lookup::Match(entry.version.clone())
            }
            (Some(_), _) | (None, Some(_)) => Lookup::Mismatch,
            (None, None) => Lookup::Unknown,
        }
    }

    /// The community plugin's key_id is the number in the label; in its older releases it was the
    /// time of the version's creation.
    fn lookup_community(&self, key_id: &str, number: u64) -> Lookup {
        match self.entries.get(&number) {
            Some(entry) if key_id == number.to_string() || key_id == &*entry.created => {
                Lookup::Match(entry.version.clone())
            }
            Some(_) => Lookup::Mismatch,
            None => Lookup::Unknown,
        }
    }

    /// HashiCorp's key_id names the place and the version, or it is another key's.
    fn lookup_hashicorp(&self, key_id: &str, number: u64) -> Lookup {
        let named = Words::of(key_id).is_some_and(|words| words.name(&self.place, number));
        match self.entries.get(&number) {
            _ if !named => Lookup::Mismatch,
            Some(entry) => Lookup::Match(entry.version.clone()),
            None => Lookup::Unknown,
        }
    }

    /// Whether `key_id` belongs to any version seen here.
    pub fn knows(&self, key_id: &str) -> bool {
        self.by_id.contains_key(key_id)
    }

    fn key_id(&self, number: u64, created: &str, format: Format) -> Arc<str> {
        id::key_id_in(format.word(), &self.place, number, created).into()
    }

    fn version(&self, number: u64, created: &str) -> Version {
        let format = Format::written(self.adopt);
        Version {
            number,
            key_id: self.key_id(number, created, format),
            format,
        }
    }

    /// Takes a document in.
    pub fn observe(&mut self, now: Instant, document: &KeyDocument) -> Due {
        if let Some(text) = &document.unfit {
            return Due::Fault(text.clone());
        }
        let changed = self.learn(document);
        let created = &document.versions[&document.latest];
        let latest = (document.latest, created.clone());
        if let Some(fault) = self.replacement(now, changed, &latest) {
            return Due::Fault(fault);
        }
        self.highest = self.highest.max(document.latest);
        let version = self.version(document.latest, created);
        match &self.current {
            Some(current) if *current == version => Due::Nothing,
            // A lagging standby shows an older version after every rotation.
            Some(current) if current.number > version.number && self.replaced.is_none() => {
                Due::Nothing
            }
            _ if self.reported.contains(&version.key_id) => Due::Nothing,
            _ => Due::TakeUp(version),
        }
    }

    /// Whether the key is another one than before, or is still.
    fn replacement(
        &mut self,
        now: Instant,
        changed: Option<u64>,
        latest: &(u64, Box<str>),
    ) -> Option<String> {
        let Place { mount, key, .. } = &self.place;
        let as_before = self.current.as_ref().is_some_and(|c| {
            c.number == latest.0
                && self
                    .entries
                    .get(&c.number)
                    .is_some_and(|e| e.created == latest.1)
        });
        if changed.is_none() && latest.0 >= self.highest {
            self.gone_back_since = None;
            if as_before {
                self.replaced = None;
            }
        }
        if let Some(replaced) = &self.replaced {
            let fresh = self.version(latest.0, &latest.1);
            // It ends when the key is what it was, or when somebody rotates it on purpose.
            if replaced.latest == *latest || self.reported.contains(&fresh.key_id) {
                return Some(replaced.text.clone());
            }
            return None;
        }
        let text = if let Some(number) = changed {
            format!(
                "key {key} at {mount} was replaced: version {number} has another creation time than before; \
                 what the old key encrypted cannot be read; restore the old key from a backup, or rotate the \
                 new one to accept it"
            )
        } else if latest.0 < self.highest {
            let since = *self.gone_back_since.get_or_insert(now);
            if now - since < GONE_BACK {
                return None;
            }
            format!(
                "key {key} at {mount} has gone back from version {} to {}, as after restoring an old backup; \
                 restore the newest one, or rotate the key to go on with a new version",
                self.highest, latest.0
            )
        } else {
            return None;
        };
        self.replaced = Some(Replaced {
            text: text.clone(),
            latest: latest.clone(),
        });
        Some(text)
    }

    /// `version`, of `document`, has proved itself: key_id and Encrypt switch together, here.
    pub fn take_up(&mut self, version: Version, document: &KeyDocument) {
        if self.replaced.take().is_some() {
            self.entries.clear();
            self.by_id.clear();
            self.highest = 0;
        }
        self.learn(document);
        self.reported.insert(version.key_id.clone());
        self.current = Some(version);
    }

    /// Enters the versions that are new; returns one whose creation time has changed.
    fn learn(&mut self, document: &KeyDocument) -> Option<u64> {
        let mut changed = None;
        for (number, created) in &document.versions {
            match self.entries.get(number) {
                Some(entry) if entry.created == *created => {}
                Some(_) => changed = Some(*number),
                None => {
                    let version = self.version(*number, created);
                    // A node may be in the other phase already, or still.
                    for format in [Format::Bound, Format::Unbound] {
                        if format == version.format || self.adopt.is_some() {
                            let key_id = self.key_id(*number, created, format);
                            self.by_id.insert(key_id, (*number, format));
                        }
                    }
                    self.entries.insert(
                        *number,
                        Entry {
                            created: created.clone(),
                            version,
                        },
                    );
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            namespace: String::new(),
            mount: "transit".into(),
            key: "kms-key".into(),
            epoch: String::new(),
        }
    }

    /// A document from `version:created` pairs, newest last.
    fn document(versions: &str) -> KeyDocument {
        let versions: BTreeMap<u64, Box<str>> = versions
            .split(' ')
            .map(|v| v.split_once(':').expect("version:created"))
            .map(|(v, c)| (v.parse().expect("number"), c.into()))
            .collect();
        let latest = *versions.keys().last().expect("one version");
        KeyDocument {
            latest,
            min_decryption: 1,
            min_encryption: 0,
            versions,
            unfit: None,
        }
    }

    fn take(table: &mut Table, now: Instant, versions: &str) -> Arc<str> {
        let document = document(versions);
        match table.observe(now, &document) {
            Due::TakeUp(version) => table.take_up(version, &document),
            other => panic!("{versions}: {other:?}"),
        }
        table.current().expect("taken up").key_id.clone()
    }

    #[test]
    fn bug_038_versions_created_in_one_second_have_ids_of_their_own() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        let mut ids = BTreeSet::new();
        let mut versions = "1:100".to_owned();
        ids.insert(take(&mut table, now, &versions));
        for n in 2..=11 {
            // v9, v10 and v11 share a second; 9 sorts after 11 as text.
            versions.push_str(&format!(" {n}:{}", 100 + n.min(9)));
            ids.insert(take(&mut table, now, &versions));
        }
        assert_eq!(ids.len(), 11);
        assert_eq!(table.current().map(|v| v.number), Some(11));
    }

    #[test]
    fn a_lagging_standby_is_ignored_for_a_minute() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        take(&mut table, now, "1:100");
        let id = take(&mut table, now, "1:100 2:200");
        let at = |s| now + Duration::from_secs(s);
        assert_eq!(table.observe(at(1), &document("1:100")), Due::Nothing);
        assert_eq!(table.observe(at(59), &document("1:100")), Due::Nothing);
        assert_eq!(
            table.observe(at(60), &document("1:100 2:200")),
            Due::Nothing
        );
        assert_eq!(
            table.observe(at(61), &document("1:100")),
            Due::Nothing,
            "the minute begins anew"
        );
        let Due::Fault(text) = table.observe(at(122), &document("1:100")) else {
            panic!("definite")
        };
        assert!(text.contains("from version 2 to 1"), "{text}");
        assert_eq!(
            table.current().map(|v| v.key_id.clone()),
            Some(id),
            "key_id never goes back"
        );
        assert_eq!(
            table.observe(at(123), &document("1:100 2:200")),
            Due::Nothing,
            "back as it was"
        );
    }

    #[test]
    fn a_replaced_key_is_a_fault_until_it_is_rotated_on_purpose() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        let old = take(&mut table, now, "1:100");
        assert!(matches!(
            table.observe(now, &document("1:900")),
            Due::Fault(_)
        ));
        assert!(matches!(
            table.observe(now, &document("1:900")),
            Due::Fault(_)
        ));
        let new = take(&mut table, now, "1:900 2:950");
        assert_ne!(old, new);
        assert_eq!(table.observe(now, &document("1:900 2:950")), Due::Nothing);
        assert_eq!(table.lookup(&old, 1, Format::Bound), Lookup::Mismatch);
    }

    #[test]
    fn a_restored_backup_with_another_key_under_the_same_number_gets_another_id() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        let ids = [
            take(&mut table, now, "1:100"),
            take(&mut table, now, "1:100 2:200"),
        ];
        let later = now + Duration::from_secs(61);
        assert_eq!(table.observe(now, &document("1:100")), Due::Nothing);
        assert!(matches!(
            table.observe(later, &document("1:100")),
            Due::Fault(_)
        ));
        let third = take(&mut table, later, "1:100 2:999");
        assert!(!ids.contains(&third));
        assert!(
            matches!(table.lookup(&ids[0], 1, Format::Bound), Lookup::Match(_)),
            "what is still the same stays readable"
        );
    }

    #[test]
    fn hidden_versions_do_not_change_ids() {
        let (mut a, mut b, now) = (
            Table::new(place(), None),
            Table::new(place(), None),
            Instant::now(),
        );
        assert_eq!(
            take(&mut a, now, "1:100 2:200 3:300"),
            take(&mut b, now, "3:300")
        );
        assert_eq!(
            a.lookup(
                &a.current().expect("taken").key_id.clone(),
                2,
                Format::Bound
            ),
            Lookup::Mismatch
        );
        assert_eq!(b.lookup("v1.unseen", 2, Format::Bound), Lookup::Unknown);
    }

    #[test]
    fn an_unfit_key_is_a_fault_whatever_its_versions() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        let unfit = KeyDocument {
            unfit: Some("key k is derived".into()),
            ..document("1:100")
        };
        let fault = Due::Fault("key k is derived".into());
        assert_eq!(table.observe(now, &unfit), fault);
        take(&mut table, now, "1:100");
        assert_eq!(table.observe(now, &unfit), fault);
    }

    #[test]
    fn a_version_that_only_a_lagging_standby_shows_is_not_taken_up() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        take(&mut table, now, "1:100 2:200 3:300");
        // Never reported, and older all the same.
        assert_eq!(table.observe(now, &document("1:100 2:200")), Due::Nothing);
        assert_eq!(table.current().map(|v| v.number), Some(3));
    }

    #[test]
    fn a_version_that_was_seen_but_not_proved_counts_for_going_back() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        take(&mut table, now, "1:100");
        let seen = table.observe(now, &document("1:100 2:200"));
        assert!(matches!(seen, Due::TakeUp(_)));
        assert_eq!(table.observe(now, &document("1:100")), Due::Nothing);
        let later = now + GONE_BACK;
        let fault = table.observe(later, &document("1:100"));
        assert!(matches!(fault, Due::Fault(_)), "{fault:?}");
    }

    #[test]
    fn a_new_key_that_was_accepted_is_followed_from_its_own_versions_on() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        let old = ["1:100", "1:100 2:200", "1:100 2:200 3:300"]
            .map(|versions| take(&mut table, now, versions));
        let replaced = table.observe(now, &document("1:900"));
        assert!(matches!(replaced, Due::Fault(_)));
        take(&mut table, now, "1:900 2:950");
        // Two versions are fewer than three, and no going back.
        for s in [0, 30, 61, 300] {
            let at = now + Duration::from_secs(s);
            assert_eq!(table.observe(at, &document("1:900 2:950")), Due::Nothing);
        }
        assert_eq!(table.lookup(&old[2], 3, Format::Bound), Lookup::Unknown);
        // A backup of the old key that hides what would give it away: its id was reported once.
        assert_eq!(table.observe(now, &document("3:300")), Due::Nothing);
        assert_eq!(table.current().map(|v| v.number), Some(2));
    }

    #[test]
    fn half_of_the_way_back_is_not_the_way_back() {
        let (mut table, now) = (Table::new(place(), None), Instant::now());
        for versions in ["1:100", "1:100 2:200", "1:100 2:200 3:300"] {
            take(&mut table, now, versions);
        }
        let later = now + GONE_BACK;
        assert_eq!(table.observe(now, &document("1:100")), Due::Nothing);
        for versions in ["1:100", "1:100 2:200"] {
            let fault = table.observe(later, &document(versions));
            assert!(matches!(fault, Due::Fault(_)), "{versions}: {fault:?}");
        }
        let back = table.observe(later, &document("1:100 2:200 3:300"));
        assert_eq!(back, Due::Nothing);
    }

    #[test]
    fn taking_over_reads_every_phase_and_writes_its_own() {
        let now = Instant::now();
        let ids = [None, Some(Adopt::Community), Some(Adopt::CommunityFinal)].map(|adopt| {
            let mut table = Table::new(place(), adopt);
            let id = take(&mut table, now, "1:100");
            (table, id)
        });
        let [(plain, bound), (first, unbound), (last, final_id)] = &ids;
        assert_eq!(bound, final_id, "the end of it is what it would be without");
        assert_ne!(bound, unbound);
        for table in [first, last] {
            for (key_id, format) in [
                (&**bound, Format::Bound),
                (&**unbound, Format::Unbound),
                ("1", Format::Community),
                ("100", Format::Community),
            ] {
                let found = table.lookup(key_id, 1, format);
                assert!(matches!(found, Lookup::Match(_)), "{key_id}: {found:?}");
            }
            assert_eq!(table.lookup(bound, 1, Format::Unbound), Lookup::Mismatch);
            assert_eq!(table.lookup(unbound, 1, Format::Bound), Lookup::Mismatch);
            assert_eq!(table.lookup("2", 1, Format::Community), Lookup::Mismatch);
            assert_eq!(table.lookup("2", 2, Format::Community), Lookup::Unknown);
        }
        assert_eq!(plain.lookup(unbound, 1, Format::Bound), Lookup::Mismatch);
    }
}
