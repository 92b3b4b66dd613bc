//! The command line as people run it, on real processes: a toy plugin, our own, and what is left
//! of both afterwards.

mod cli;
mod processes;
mod product;
mod support;
mod toy;
mod workspace;
