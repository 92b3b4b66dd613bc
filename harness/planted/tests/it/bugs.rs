//! Bugs in a simulated world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kms_planted::{Planted, Variant};
use kms_scenario::language::{self, Scenario};
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Outcome, outcome};
use kms_sim::run::{Company, run_with};
use kms_sim::{Between, Replaced};
use vault_kubernetes_kms::seam::BoxIo;

/// The same bug in every plugin of a world.
pub struct Bug {
    kms: Variant,
    vault: Variant,
    lives: Mutex<BTreeMap<u32, (Planted, Planted)>>,
}

impl Bug {
    pub fn new(variant: Variant) -> Arc<Self> {
        Self::on_both(variant, variant)
    }

    /// Middlemen without a bug: each has one of the other side.
    pub fn none() -> Arc<Self> {
        Self::on_both(Variant::LoginOnce, Variant::AlwaysOk)
    }

    fn on_both(kms: Variant, vault: Variant) -> Arc<Self> {
        let lives = Mutex::default();
        Arc::new(Self { kms, vault, lives })
    }

    fn life(&self, node: u32) -> (Planted, Planted) {
        self.lives.lock().unwrap()[&node].clone()
    }
}

impl Between for Bug {
    fn started(&self, node: u32) {
        let life = (Planted::new(self.kms), Planted::new(self.vault));
        self.lives.lock().unwrap().insert(node, life);
    }

    fn kms(&self, node: u32, caller: BoxIo) -> Replaced {
        let (io, work) = self.life(node).0.before_kms(caller);
        (Box::new(io), work)
    }

    fn vault(&self, node: u32, vault: BoxIo) -> Replaced {
        let (io, work) = self.life(node).1.before_vault(vault);
        (Box::new(io), work)
    }
}

/// A scenario of a test.
pub fn scenario(text: &str) -> Scenario {
    language::read(text, None).unwrap_or_else(|problems| {
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"))
    })
}

/// What a plan comes to with a bug, or why it could not be carried out.
pub fn carry_out(plan: &Plan, bug: Arc<Bug>) -> Result<Outcome, String> {
    let company = Company {
        between: Some(bug),
        ..Company::default()
    };
    let ran = run_with(plan, company);
    match ran.trouble {
        Some(trouble) => Err(trouble.to_string()),
        None => Ok(outcome(plan, &ran.history)),
    }
}
