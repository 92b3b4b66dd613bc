//! What the model must do, requirement by requirement, and on the recordings of the real code.

#[path = "../../replay/mod.rs"]
mod replay;

mod traces;
