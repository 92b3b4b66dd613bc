//! Form to [`Row`]: what goes together and what does not. All problems at once.

use kms_scenario::language::Problem;
use kms_scenario::language::file::ArmName;
use kms_scenario::language::head::Head;
use kms_scenario::language::ids::nearest_of;
use kms_scenario::language::problem::{Path, Source};
use kms_scenario::world::Flavour;

use super::form::{Count, DetectedTable, RehearsalFile, SeenTable, SignName};
use super::{Detection, Row, Sign};
use crate::oc::ask::Ask;
use crate::options::{MOST, Mode, Procedure};

/// An entry of an array.
struct Place<'a> {
    source: &'a Source<'a>,
    path: Path,
}

impl Place<'_> {
    fn problem(&self, key: &str, message: &str, fix: &str) -> Problem {
        self.source.problem(&self.path.key(key), message, fix)
    }
}

/// Checks a form. `stem` is the file's name without folder and ending.
pub(super) fn check(
    form: RehearsalFile,
    source: &Source<'_>,
    stem: Option<&str>,
) -> Result<Row, Vec<Problem>> {
    let mut problems = Vec::new();
    let head = Head {
        id: &form.id,
        title: &form.title,
        proves: &form.proves,
        arms: &form.arms,
    };
    head.check(source, stem, &mut problems);
    texts(&form, source, &mut problems);
    let at = table(&form, source, &mut problems);
    let mut seen = Vec::new();
    for (index, sign) in form.seen.iter().enumerate() {
        let path = Path::of(&["seen"]).index(index);
        match sign_of(sign, &Place { source, path }) {
            Ok(sign) => seen.push(sign),
            Err(found) => problems.extend(found),
        }
    }
    let mut detected = Vec::new();
    for (index, entry) in form.detected.iter().enumerate() {
        let path = Path::of(&["detected"]).index(index);
        match detection_of(entry, form.rehearsal.nodes, &Place { source, path }) {
            Ok(detection) => detected.push(detection),
            Err(found) => problems.extend(found),
        }
    }
    if form.seen.is_empty() && form.detected.is_empty() {
        problems.push(source.problem(
            &Path::of(&["seen"]),
            "nothing is looked for",
            "add [[seen]] with a sign, or [[detected]] with a command",
        ));
    }
    match at {
        Some(at) if problems.is_empty() => Ok(Row {
            at,
            seen,
            detected,
            form,
        }),
        _ => Err(problems),
    }
}

fn texts(form: &RehearsalFile, source: &Source<'_>, problems: &mut Vec<Problem>) {
    for (key, text) in [
        ("detect", &form.detect),
        ("remedy", &form.remedy),
        ("note", &form.note),
    ] {
        if text.trim().is_empty() {
            problems.push(source.problem(
                &Path::of(&[key]),
                "it is empty",
                "say it in a sentence, without a full stop",
            ));
        }
    }
    if let Some(index) = form.arms.iter().position(|arm| *arm != ArmName::Sim) {
        problems.push(source.problem(
            &Path::of(&["arms"]).index(index),
            "operators are played in the simulation alone",
            "write arms = [\"sim\"]",
        ));
    }
}

/// The table's own fields. The step, if it is one of the procedure's.
fn table(
    form: &RehearsalFile,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) -> Option<&'static str> {
    let table = &form.rehearsal;
    let path = Path::of(&["rehearsal"]);
    let faulty = table.procedure.takes_faults() && table.procedure != Procedure::Troubleshoot;
    if !faulty {
        problems.push(source.problem(
            &path.key("procedure"),
            format!("{} is no place for a fault", table.procedure.word()),
            "write another one, such as \"verify\"",
        ));
    }
    if table.mode == Mode::Newest {
        problems.push(source.problem(
            &path.key("mode"),
            "faults are played under operators of the modes seed and v2",
            "write \"v2\"",
        ));
    }
    if table
        .nodes
        .is_some_and(|nodes| !(1..=MOST.0).contains(&nodes))
    {
        let fix = format!("write 1 to {}", MOST.0);
        problems.push(source.problem(&path.key("nodes"), "so many nodes there cannot be", fix));
    }
    if table.objects > MOST.1 {
        let fix = format!("write 0 to {}", MOST.1);
        problems.push(source.problem(&path.key("objects"), "so many objects are too many", fix));
    }
    for (index, rule) in table.breaks.iter().enumerate() {
        if table.breaks[..index].contains(rule) {
            let path = path.key("breaks").index(index);
            problems.push(source.problem(&path, "it stands there twice", "name it once"));
        }
    }
    let steps = table.procedure.steps();
    let found = steps.iter().find(|step| **step == table.step).copied();
    if found.is_none() {
        let near = nearest_of(&table.step, steps.iter().map(|step| (*step).to_owned()));
        problems.push(source.problem(
            &path.key("step"),
            format!("{} has no step {:?}", table.procedure.word(), table.step),
            near.map_or_else(
                || format!("write one of {}", steps.join(", ")),
                |near| format!("did you mean {near:?}?"),
            ),
        ));
    }
    found
}

/// What a sign takes beside its name.
fn takes(sign: SignName) -> &'static [&'static str] {
    match sign {
        SignName::PodsNotReady => &["count"],
        SignName::VaultHealth | SignName::VaultAnswered => &["status"],
        SignName::ReadRefused | SignName::RevisionListed => &["text"],
        _ => &[],
    }
}

fn sign_of(table: &SeenTable, place: &Place<'_>) -> Result<Sign, Vec<Problem>> {
    let given = [
        ("count", table.count.is_some()),
        ("status", !table.status.is_empty()),
        ("text", table.text.is_some()),
    ];
    let takes = takes(table.sign);
    let mut problems = Vec::new();
    for (key, given) in given {
        if given && !takes.contains(&key) {
            problems.push(place.problem(key, "this sign does not take it", "remove it"));
        }
        if !given && takes.contains(&key) {
            let fix = match key {
                "count" => "write count = \"all\", or a number",
                "status" => "write status = [503], or other HTTP statuses",
                _ => "write text = \"…\"",
            };
            problems.push(place.problem(key, "this sign needs it", fix));
        }
    }
    if problems.is_empty() {
        Ok(Sign {
            name: table.sign,
            count: table.count.map(|count| match count {
                Count::Number(number) => Some(number),
                Count::All(_) => None,
            }),
            status: table.status.clone(),
            text: table.text.clone().unwrap_or_default(),
        })
    } else {
        Err(problems)
    }
}

fn detection_of(
    table: &DetectedTable,
    nodes: Option<usize>,
    place: &Place<'_>,
) -> Result<Detection, Vec<Problem>> {
    let mut problems = Vec::new();
    let ask = Ask::read(&table.command);
    if let Err(fix) = &ask {
        let message = "the simulated cluster does not answer this command";
        problems.push(place.problem("command", message, fix));
    }
    if table.contains.is_empty() && table.lacks.is_empty() {
        let fix = "write contains = [\"…\"] or lacks = [\"…\"]";
        problems.push(place.problem("contains", "nothing is expected of the output", fix));
    }
    let names = ask.as_ref().is_ok_and(Ask::of_a_node);
    match table.node {
        Some(_) if ask.is_ok() && !names => {
            let fix = "remove it, or write {node} in the command";
            problems.push(place.problem("node", "the command names no node", fix));
        }
        Some(node) if !(1..=nodes.unwrap_or(3)).contains(&node) => {
            let fix = format!("write 1 to {}", nodes.unwrap_or(3));
            problems.push(place.problem("node", "there is no such node", &fix));
        }
        _ => {}
    }
    match ask {
        Ok(ask) if problems.is_empty() => Ok(Detection {
            ask,
            node: table.node.map(|node| node - 1),
            contains: table.contains.clone(),
            lacks: table.lacks.clone(),
        }),
        _ => Err(problems),
    }
}

/// The simulation's own word for a make of Vault.
pub(super) fn flavour(flavour: Flavour) -> sim_vault::Flavour {
    match flavour {
        Flavour::Openbao => sim_vault::Flavour::OpenBao,
        Flavour::Vault => sim_vault::Flavour::Vault,
    }
}
