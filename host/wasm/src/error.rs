//! What can go wrong with a plugin: one error per operation, each with the plugin's name.

use muster_core::plugin::PluginKind;
use std::time::Duration;

/// The host itself could not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// the compiler or the instance pool refused its settings
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// the threads of the guests could not be started
    #[error("cannot start the guests' runtime")]
    Runtime(#[source] std::io::Error),
    /// a bound that makes no sense
    #[error("{0}")]
    Options(String),
}

/// A component that is not taken in, and why.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// not a manifest; names the key
    #[error("manifest: {0}")]
    Manifest(String),
    /// not a WebAssembly component
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// the file is larger than any component may be
    #[error("the component has {size} bytes, at most {max} are accepted")]
    TooLarge {
        /// bytes of the file
        size: usize,
        /// bytes that are accepted
        max: usize,
    },
    /// the bytes are not those that the manifest names
    #[error("{plugin}: the component has sha256 {found}, its manifest says {expected}")]
    Digest {
        /// name in the manifest
        plugin: String,
        /// sha256 of the bytes
        found: String,
        /// sha256 in the manifest
        expected: String,
    },
    /// exports none of the worlds
    #[error("the component exports none of {known}; it exports: {found}")]
    NoWorld {
        /// the interfaces that make a plugin
        known: String,
        /// what it exports
        found: String,
    },
    /// made for a version of the interfaces that this node does not have
    #[error("{plugin}: made for muster:plugin@{found}, this node has {supported}")]
    Version {
        /// name in the manifest
        plugin: String,
        /// version that the component was made for
        found: String,
        /// version of this node
        supported: String,
    },
    /// the manifest and the component disagree about the kind
    #[error("{plugin}: the manifest says {}, the component is a {}", expected.world(), found.world())]
    Kind {
        /// name in the manifest
        plugin: String,
        /// kind in the manifest
        expected: PluginKind,
        /// kind of the component
        found: PluginKind,
    },
    /// it asks for more than its manifest grants
    #[error("{plugin}: imports {import}, which its manifest does not grant; {hint}")]
    NotGranted {
        /// name in the manifest
        plugin: String,
        /// the import that is one too many
        import: String,
        /// the line for the manifest, or why there is none
        hint: String,
    },
    /// could not be compiled or linked
    #[error("{plugin}: cannot be compiled: {text}")]
    Compile {
        /// name in the manifest
        plugin: String,
        /// the compiler's words
        text: String,
    },
    /// what it says about itself cannot be true
    #[error("{plugin}: its description is wrong: {text}")]
    Description {
        /// name in the manifest
        plugin: String,
        /// what is wrong
        text: String,
    },
    /// it broke when it was asked what it is
    #[error("cannot be described")]
    Describe(#[source] PluginError),
    /// the host is being stopped
    #[error("the plugin host is stopping")]
    Stopped,
}

/// What a guest says when it could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// the settings are of no use; the operator's to mend
    BadSettings,
    /// asked for something that it cannot do
    Unsupported,
    /// anything else
    Internal,
}

/// A call that ended without an answer. Never says anything about the target: health, membership and pushed
/// lists stay as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// the guest broke: panic, wild pointer, stack or memory exhausted
    #[error("{plugin}: trapped: {text}")]
    Trap {
        /// the plugin
        plugin: String,
        /// the trap, with the guest's last words
        text: String,
    },
    /// not done in time, and not because the target was slow
    #[error("{plugin}: not done after {after:?}")]
    Deadline {
        /// the plugin
        plugin: String,
        /// the wall time it had
        after: Duration,
    },
    /// more CPU than a call may use
    #[error("{plugin}: used more than {limit:?} of CPU")]
    Cpu {
        /// the plugin
        plugin: String,
        /// what a call may use
        limit: Duration,
    },
    /// the guest said that it could not do its work
    #[error("{plugin}: {message}")]
    Fault {
        /// the plugin
        plugin: String,
        /// which of the three
        kind: FaultKind,
        /// its words
        message: String,
    },
    /// it could not do its work because it was refused something that is not granted
    #[error("{plugin}: {message}: it asked for what it is not granted; {grant}")]
    Refused {
        /// the plugin
        plugin: String,
        /// its words
        message: String,
        /// where to add which line
        grant: String,
    },
    /// no place for the call in time; says nothing about the plugin
    #[error("{plugin}: no place for another call: {text}")]
    Overloaded {
        /// the plugin
        plugin: String,
        /// which bound was reached
        text: String,
    },
    /// called off after repeated faults
    #[error("{plugin}: in quarantine for another {retry_in:?}")]
    Quarantined {
        /// the plugin
        plugin: String,
        /// when a trial call will be let through
        retry_in: Duration,
    },
    /// called off by an operator, until one lets it be called again
    #[error("{plugin}: called off by an operator")]
    CalledOff {
        /// the plugin
        plugin: String,
    },
    /// it answered more than an answer may hold
    #[error("{plugin}: answered too much: {text}")]
    OutputTooLarge {
        /// the plugin
        plugin: String,
        /// which bound was passed
        text: String,
    },
    /// it answered what cannot be right, such as an index past the end of the list
    #[error("{plugin}: answered wrongly: {text}")]
    WrongAnswer {
        /// the plugin
        plugin: String,
        /// what is wrong
        text: String,
    },
    /// the endpoint of a lookup, or one that a check asks beside its target, did not answer in time; says nothing about
    /// the plugin
    #[error("{plugin}: was still waiting for its endpoint after {after:?}")]
    EndpointTimedOut {
        /// the plugin
        plugin: String,
        /// the wall time it had
        after: Duration,
    },
    /// the host is being stopped
    #[error("{plugin}: the plugin host is stopping")]
    Stopped {
        /// the plugin
        plugin: String,
    },
}

impl PluginError {
    /// A stable dotted word for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "plugin.trap",
            Self::Deadline { .. } => "plugin.deadline",
            Self::Cpu { .. } => "plugin.cpu",
            Self::Fault { kind: FaultKind::BadSettings, .. } => "plugin.fault.bad-settings",
            Self::Fault { kind: FaultKind::Unsupported, .. } => "plugin.fault.unsupported",
            Self::Fault { kind: FaultKind::Internal, .. } => "plugin.fault.internal",
            Self::Refused { .. } => "plugin.refused",
            Self::Overloaded { .. } => "plugin.overloaded",
            Self::Quarantined { .. } => "plugin.quarantined",
            Self::CalledOff { .. } => "plugin.called-off",
            Self::OutputTooLarge { .. } => "plugin.output-too-large",
            Self::WrongAnswer { .. } => "plugin.wrong-answer",
            Self::EndpointTimedOut { .. } => "plugin.endpoint-timed-out",
            Self::Stopped { .. } => "plugin.stopped",
        }
    }

    /// Every word that [`Self::code`] may give, for metrics that list them all.
    pub const CODES: [&'static str; 14] = [
        "plugin.trap",
        "plugin.deadline",
        "plugin.cpu",
        "plugin.fault.bad-settings",
        "plugin.fault.unsupported",
        "plugin.fault.internal",
        "plugin.refused",
        "plugin.overloaded",
        "plugin.quarantined",
        "plugin.called-off",
        "plugin.output-too-large",
        "plugin.wrong-answer",
        "plugin.endpoint-timed-out",
        "plugin.stopped",
    ];

    /// Whether it counts towards the plugin's quarantine.
    ///
    /// Bad settings do not: they belong to one service, and one tenant's mistake must not take the plugin away
    /// from all others. Nor does what a member lookup says that it could not do: that is its source, which is away
    /// for as long as it is, and must be seen as soon as it is back.
    pub const fn counts_against(&self, kind: PluginKind) -> bool {
        match self {
            Self::Fault { .. } if matches!(kind, PluginKind::MemberLookup) => false,
            Self::Trap { .. }
            | Self::Deadline { .. }
            | Self::Cpu { .. }
            | Self::Fault { kind: FaultKind::Internal | FaultKind::Unsupported, .. }
            | Self::OutputTooLarge { .. }
            | Self::WrongAnswer { .. } => true,
            Self::Fault { kind: FaultKind::BadSettings, .. }
            | Self::Refused { .. }
            | Self::Overloaded { .. }
            | Self::Quarantined { .. }
            | Self::CalledOff { .. }
            | Self::EndpointTimedOut { .. }
            | Self::Stopped { .. } => false,
        }
    }
}
