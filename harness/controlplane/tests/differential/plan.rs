//! Plans for random stories. A plan becomes a story while the model plays it: only then is there a newest key to delete.

use kms_controlplane::object::{COMPONENT_LABEL, MANAGED_NAMESPACE};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::Side;
use crate::player::Player;
use crate::recordings::Operators;
use crate::steps;
use crate::story::{self, Story, Told};

/// Operators of a plan, those of most stories first.
const CASTS: [Operators; 4] = [
    crate::recordings::KAS_ONLY,
    &[("openshift-kube-apiserver", &["secrets"], 1)],
    &[
        ("openshift-kube-apiserver", &["secrets", "configmaps"], 3),
        (
            "openshift-oauth-apiserver",
            &[
                "oauthaccesstokens.oauth.openshift.io",
                "oauthauthorizetokens.oauth.openshift.io",
            ],
            2,
        ),
    ],
    &[
        ("openshift-kube-apiserver", &["secrets", "configmaps"], 2),
        ("openshift-apiserver", &["routes.route.openshift.io"], 1),
        (
            "openshift-oauth-apiserver",
            &[
                "oauthaccesstokens.oauth.openshift.io",
                "oauthauthorizetokens.oauth.openshift.io",
            ],
            1,
        ),
    ],
];

/// Steps of a plan.
const LENGTH: std::ops::RangeInclusive<usize> = 1..=30;

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    cast: usize,
    /// What it does; the story has a step for each.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    /// Which operator it is about, if there are several.
    who: usize,
    text: String,
}

/// Plans, at random.
pub fn plans() -> impl Strategy<Value = Plan> {
    let texts = steps::all()
        .into_iter()
        .map(|(weight, text)| (weight, Just(text)));
    let step = (0..3_usize, Union::new_weighted(texts.collect()))
        .prop_map(|(who, text)| Step { who, text });
    let cast = prop_oneof![6 => Just(0_usize), 2 => Just(1), 2 => Just(2), 1 => Just(3)];
    let opening = (0..steps::OPENINGS.len()).prop_map(|n| steps::OPENINGS[n]);
    (cast, opening, vec(step, LENGTH)).prop_map(|(cast, opening, steps)| {
        let opening = opening.iter().map(|text| Step {
            who: 0,
            text: (*text).to_owned(),
        });
        let steps = opening.chain(steps).collect();
        Plan { cast, steps }
    })
}

impl Plan {
    /// The story, and what the model says to it.
    pub fn tell(&self, side: Side) -> (Story, Told) {
        let mut story = Story::new(CASTS[self.cast], []);
        let mut player = story.player(side);
        let mut broke = None;
        for step in &self.steps {
            let text = step.fill_in(&player);
            broke = story::play(&mut player, &text);
            story.steps.push(text);
            if broke.is_some() {
                break;
            }
        }
        (story, Told::of(player, broke))
    }
}

impl Step {
    /// The text, its words with `$` replaced by what they stand for now.
    fn fill_in(&self, player: &Player) -> String {
        let operators = &player.cluster.components;
        let operator = &operators[self.who % operators.len()];
        let secrets =
            player
                .cluster
                .api
                .cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &operator.name);
        let mut keys: Vec<u64> = secrets
            .filter_map(|secret| secret.name.rsplit('-').next()?.parse().ok())
            .collect();
        keys.sort_unstable();
        let newest = keys.last().copied().unwrap_or(1);
        let older = keys.iter().rev().nth(1).copied().unwrap_or(newest);
        let mine = |line: &&serde_json::Value| {
            line["what"] == "revision"
                && (operators.len() == 1 || line["comp"] == operator.name.as_str())
        };
        let revision = player
            .lines
            .iter()
            .rev()
            .find(mine)
            .and_then(|line| line["name"].as_str()?.parse().ok())
            .unwrap_or(1_u64);
        let (first, last) = (operator.resources.first(), operator.resources.last());
        let resource = |gr: Option<&kms_controlplane::resource::GroupResource>| {
            gr.map_or("secrets".to_owned(), ToString::to_string)
        };
        let step = player
            .lines
            .iter()
            .filter(|line| line["what"] == "do")
            .count();
        let mut text = self.text.clone();
        for (word, meaning) in [
            ("$NEWEST", newest.to_string()),
            ("$OLDER", older.to_string()),
            ("$NEXT", newest.saturating_add(1).to_string()),
            ("$REVISION", revision.to_string()),
            ("$BEFORE", revision.saturating_sub(1).max(1).to_string()),
            ("$AFTER", (revision + 1).to_string()),
            ("$FIRST", resource(first)),
            ("$LAST", resource(last)),
            ("$STEP", step.to_string()),
        ] {
            text = text.replace(word, &meaning);
        }
        match self.who % operators.len() {
            0 => text,
            _ => format!("@{} {text}", operator.name),
        }
    }
}
