//! Ids that a scenario may prove: requirements, the public bugs that the library is about, and the rows of the operators'
//! fault table.

/// Numbers of the known public bugs; `BUG-001` is 1. Numbers are never reused, so there are gaps.
const BUGS: &[u16] = &[
    1, 2, 4, 6, 7, 9, 10, 12, 13, 15, 16, 17, 18, 20, 22, 23, 25, 26, 27, 28, 30, 31, 33, 35, 37,
    38, 39, 40, 41, 42, 45, 47, 49, 51, 52, 53, 55, 57, 58, 59, 61, 62, 63, 65, 67, 69, 71, 72, 73,
    74, 76, 78, 79, 80, 81, 83, 84, 86, 87, 89, 90, 91, 92, 93, 94, 96, 98, 99, 100, 102, 103, 104,
    105, 108, 109, 110, 111, 112, 114, 116, 117, 118, 119, 121, 122, 124, 125, 126, 128, 129, 131,
    133, 135,
];

/// Rows of the operators' fault table, and traps.
const ROWS: u16 = 29;
const TRAPS: u16 = 12;

/// Whether it is a requirement, a known bug, or a row of the operators' fault table.
#[must_use]
pub fn known(id: &str) -> bool {
    kms_contract::get(id).is_some() || all_bugs().chain(all_rows()).any(|known| known == id)
}

/// What can go wrong with the operators: `OCP-FAULT-01` to `-29`, `OCP-TRAP-01` to `-12`.
pub fn all_rows() -> impl Iterator<Item = String> {
    let faults = (1..=ROWS).map(|number| format!("OCP-FAULT-{number:02}"));
    faults.chain((1..=TRAPS).map(|number| format!("OCP-TRAP-{number:02}")))
}

/// All known bugs, such as `BUG-001`.
pub fn all_bugs() -> impl Iterator<Item = String> {
    BUGS.iter().map(|number| format!("BUG-{number:03}"))
}

/// The known id that looks most like this one, if any does.
#[must_use]
pub fn nearest(id: &str) -> Option<String> {
    let ids = kms_contract::all()
        .map(|requirement| requirement.id.to_owned())
        .chain(all_bugs())
        .chain(all_rows());
    nearest_of(id, ids)
}

/// The name that looks most like a wrong one, if any does.
pub fn nearest_of(wrong: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, &name), name))
        .min()
        .filter(|(distance, _)| *distance <= 3.max(wrong.len() / 3))
        .map(|(_, name)| name)
}
