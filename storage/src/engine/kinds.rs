//! The engines there are, and how each is set up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The engines that can hold a node's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// sled 0.34: the default.
    #[default]
    Sled,
    /// fjall 3: for large nodes; less memory and space, more commits per second.
    Fjall,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Fjall];

    /// The name in configuration (`storage.engine`) and in the manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEngine)
    }
}

/// Not the name of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the storage engine is \"sled\" or \"fjall\"")]
pub struct UnknownEngine;

/// What an engine persists about its own layout at creation. Later openings must use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineSettings {
    /// sled: bytes of a segment. The 512 KiB it would choose make large pages spill into files that it never syncs.
    #[serde(default = "default_segment_bytes")]
    pub sled_segment_bytes: u32,
}

fn default_segment_bytes() -> u32 {
    2 * 1024 * 1024
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { sled_segment_bytes: default_segment_bytes() }
    }
}

/// What may change from one opening to the next.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Memory meant for the store, in bytes; the engine's cache gets the part that keeps the whole below it.
    pub memory_bytes: u64,
    /// Whether `apply` ends with a real disk barrier. Only the control of the power-cut test says no.
    pub(super) barrier: bool,
}

impl Tuning {
    /// Tuning for a memory budget.
    #[must_use]
    pub fn with_memory(memory_bytes: u64) -> Self {
        Self { memory_bytes, barrier: true }
    }

    /// Acknowledges writes that may not survive a power cut. Exists for the control of the power-cut test, which must
    /// find losses with it; no configuration leads here.
    #[doc(hidden)]
    #[must_use]
    pub fn without_barrier(mut self) -> Self {
        self.barrier = false;
        self
    }
}

impl Default for Tuning {
    /// 256 MiB.
    fn default() -> Self {
        Self::with_memory(256 * 1024 * 1024)
    }
}
