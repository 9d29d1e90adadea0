//! Writing to a store and checking what survived: by a child process that can be killed at any moment.

mod child;
mod workload;

pub use child::{Child, Line};
pub use workload::{Heads, STREAMS, Violation, child_main};
