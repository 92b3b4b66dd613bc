//! Where a procedure is played: the cluster, the steps so far, and the fault that waits for its step.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver_api::Trouble;

use crate::fault;
use crate::report::{Expectation, FaultStory, Part, Rule, Shown, Step};
use crate::scenario::Row;
use crate::world::World;

/// A rollout that shows no movement for so long is given up by whoever watches it.
pub const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// The stage.
pub struct Stage {
    /// The cluster.
    pub world: Box<World>,
    steps: Vec<Step>,
    armed: Option<(Arc<Row>, &'static str)>,
    happened: Option<fault::Happened>,
}

impl Stage {
    /// A stage on a cluster; the fault happens before its step.
    pub fn new(world: Box<World>, fault: Option<(Arc<Row>, &'static str)>) -> Self {
        Self {
            world,
            steps: Vec::new(),
            armed: fault,
            happened: None,
        }
    }

    /// The next step; what was stored is read before it.
    ///
    /// # Errors
    /// The fault that is due cannot be made.
    pub async fn begin(&mut self, id: &'static str, title: &str) -> Result<(), Trouble> {
        self.world.audit().await;
        if let Some((row, _)) = self.armed.take_if(|(_, at)| *at == id) {
            let happened = fault::inject(&mut self.world, Arc::clone(&row), id).await;
            let happened = happened.map_err(|error| {
                Trouble::new(format!("{} cannot happen before {id}: {error}", row.id()))
            })?;
            self.happened = Some(happened);
        }
        self.steps.push(Step {
            id: id.to_owned(),
            title: title.to_owned(),
            at: self.time(),
            lines: Vec::new(),
            expectations: Vec::new(),
        });
        Ok(())
    }

    /// The fault has happened and is not undone.
    pub fn is_faulty(&self) -> bool {
        self.happened.is_some()
    }

    /// The cluster's clock.
    pub fn time(&self) -> String {
        self.world.clock.now().strftime("%H:%M:%S").to_string()
    }

    fn last(&mut self) -> &mut Step {
        self.steps.last_mut().expect("a step was begun")
    }

    /// A command of the procedure, and what it prints now.
    pub fn command(&mut self, command: impl Into<String>, output: impl Into<String>) {
        let at = self.time();
        let (command, output) = (command.into(), output.into());
        self.last().lines.push(Shown::Command {
            at,
            command,
            output,
        });
    }

    /// A remark.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.last().lines.push(Shown::Note { text });
    }

    /// Something that the procedure expects here.
    pub fn expect(&mut self, text: &str, held: bool, found: impl Into<String>) {
        let expectation = Expectation {
            text: text.to_owned(),
            held,
            found: found.into(),
        };
        self.last().expectations.push(expectation);
    }

    /// Ends the story: what a fault showed, its remedy, whether the cluster came back.
    ///
    /// # Errors
    /// The remedy cannot be carried out.
    pub async fn end(mut self, title: &str) -> Result<Part, Trouble> {
        self.world.audit().await;
        let story = match self.happened.take() {
            Some(happened) => Some(self.tell(happened).await?),
            None => None,
        };
        let began = crate::world::plugin::BEGIN;
        let broken = self.world.broken.iter().map(|broken| {
            let at = broken.at.strftime("%H:%M:%S");
            format!("{at} {}", broken.text)
        });
        Ok(Part {
            title: title.to_owned(),
            broken: broken.collect(),
            rules: self
                .world
                .broken
                .iter()
                .map(|it| Rule::of(it.invariant))
                .collect(),
            steps: self.steps,
            fault: story,
            simulated_seconds: (self.world.clock.since_epoch() - began).as_secs(),
        })
    }

    async fn tell(&mut self, happened: fault::Happened) -> Result<FaultStory, Trouble> {
        let row = Arc::clone(&happened.row);
        let at = happened.at;
        let seen = fault::seen(&mut self.world, &happened).await;
        let detected = fault::detected(&self.world, &happened).await?;
        fault::remedy(&mut self.world, &happened).await?;
        let recovered = fault::recovered(&mut self.world).await;
        Ok(FaultStory {
            id: row.id().to_owned(),
            title: row.title().to_owned(),
            at: at.to_owned(),
            seen,
            detect: row.form.detect.clone(),
            detected,
            remedy: row.form.remedy.clone(),
            note: row.form.note.clone(),
            recovered,
        })
    }
}
