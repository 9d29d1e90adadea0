//! Parts and their bounds, votes and certificates, and the engine's core under a simulated network.

mod parts;
mod simulator;
mod votes;
