//! How the parts of the node are, as they last said themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// It works.
    Ok,
    /// It is switched off or not in use, and why.
    Off(String),
    /// It does not work, and why.
    Failing(String),
}

/// Whether the node can do its work without the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Without it the node is of no use: the health request answers 503.
    Vital,
    /// Without it the node works less well.
    Helpful,
}

/// All services that there are. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    services: Arc<Mutex<BTreeMap<&'static str, (Importance, ServiceState)>>>,
}

/// One service's place in [`Health`].
#[derive(Clone, Debug)]
pub struct Service {
    name: &'static str,
    health: Health,
}

impl Health {
    /// Adds a service.
    #[must_use]
    pub fn register(&self, name: &'static str, importance: Importance, state: ServiceState) -> Service {
        self.lock().insert(name, (importance, state));
        Service { name, health: self.clone() }
    }

    /// Every service with its state, by name.
    #[must_use]
    pub fn services(&self) -> BTreeMap<&'static str, ServiceState> {
        self.lock().iter().map(|(name, (_, state))| (*name, state.clone())).collect()
    }

    /// Whether no service fails.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.lock().values().any(|(_, state)| matches!(state, ServiceState::Failing(_)))
    }

    /// Whether a vital service fails.
    #[must_use]
    pub fn is_useless(&self) -> bool {
        let fails = |state: &ServiceState| matches!(state, ServiceState::Failing(_));
        self.lock().values().any(|(importance, state)| *importance == Importance::Vital && fails(state))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, (Importance, ServiceState)>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Says how it is now. A change is logged.
    pub fn set(&self, state: ServiceState) {
        let mut services = self.health.lock();
        let Some((_, current)) = services.get_mut(self.name) else { return };
        if *current == state {
            return;
        }
        match &state {
            ServiceState::Ok => tracing::info!(service = self.name, "{} works", self.name),
            ServiceState::Off(why) => tracing::info!(service = self.name, "{} is off: {why}", self.name),
            ServiceState::Failing(why) => tracing::warn!(service = self.name, "{} fails: {why}", self.name),
        }
        *current = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_vital_failure_makes_the_node_useless() {
        let health = Health::default();
        let storage = health.register("storage", Importance::Vital, ServiceState::Ok);
        let federation = health.register("federation", Importance::Helpful, ServiceState::Off("alone".to_owned()));
        assert!(health.is_healthy());
        federation.set(ServiceState::Failing("cut off".to_owned()));
        assert!(!health.is_healthy() && !health.is_useless());
        storage.set(ServiceState::Failing("disk full".to_owned()));
        assert!(health.is_useless());
        storage.set(ServiceState::Ok);
        federation.set(ServiceState::Ok);
        assert!(health.is_healthy());
    }
}
