//! What an operator lets a plugin use at most, whatever its manifest asks for.

use crate::manifest::Manifest;
use std::time::Duration;

/// Upper bounds of the `[limits]` of a manifest; none leaves it to the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// bytes of linear memory
    pub memory: Option<u64>,
    /// CPU time of one call
    pub cpu: Option<Duration>,
    /// connections that one check may open
    pub connections: Option<u32>,
    /// bytes that one check may send and receive together
    pub traffic: Option<u64>,
}

/// A limit of one call that whoever meets it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    Traffic,
}

/// Which of them are lower than the manifest asks for: those are the operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Narrowed {
    connections: bool,
    traffic: bool,
}

impl Narrowed {
    pub(crate) const fn has(self, limit: Limit) -> bool {
        match limit {
            Limit::Connections => self.connections,
            Limit::Traffic => self.traffic,
        }
    }
}

impl Bounds {
    /// Lowers the limits of `manifest` to what is allowed.
    pub(crate) fn narrow(&self, manifest: &mut Manifest) -> Narrowed {
        let cpu = manifest.cpu();
        let limits = &mut manifest.limits;
        limits.memory = self.memory.map_or(limits.memory, |most| most.min(limits.memory));
        if let Some(most) = self.cpu {
            limits.cpu = Some(most.min(cpu));
        }
        let connections = self.connections.filter(|most| *most < limits.connections);
        let traffic = self.traffic.filter(|most| *most < limits.traffic);
        limits.connections = connections.unwrap_or(limits.connections);
        limits.traffic = traffic.unwrap_or(limits.traffic);
        Narrowed { connections: connections.is_some(), traffic: traffic.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::plugin::PluginKind;

    #[test]
    fn the_lower_of_manifest_and_operator_counts() {
        let asked = Manifest::bundled("x", PluginKind::HealthCheck);
        let mut manifest = asked.clone();
        assert_eq!(Bounds::default().narrow(&mut manifest), Narrowed::default());
        assert_eq!(manifest.limits, asked.limits, "nothing is bounded");
        let wide = Bounds {
            memory: Some(asked.limits.memory * 2),
            cpu: Some(asked.cpu() * 2),
            connections: Some(asked.limits.connections),
            traffic: Some(asked.limits.traffic),
        };
        assert_eq!(wide.narrow(&mut manifest), Narrowed::default());
        assert_eq!((manifest.limits.memory, manifest.cpu()), (asked.limits.memory, asked.cpu()));
        let low = Duration::from_millis(5);
        let narrow =
            Bounds { memory: Some(1 << 20), cpu: Some(low), connections: Some(1), traffic: Some(1 << 10) };
        assert_eq!(narrow.narrow(&mut manifest), Narrowed { connections: true, traffic: true });
        assert_eq!((manifest.limits.memory, manifest.cpu()), (1 << 20, low));
        assert_eq!((manifest.limits.connections, manifest.limits.traffic), (1, 1 << 10));
    }
}
