//! The rules of Muster.
//!
//! What a registration, a missed beat, a verdict or a committed write *means* is decided here, without I/O:
//! plain structs and functions, `now` as an argument, outputs as a list of effects. No runtime, socket, clock
//! or lock. Nacos's wire forms and status codes are the shell's business.

pub mod cluster;
pub mod damping;
pub mod health;
pub mod ids;
pub mod instance;
pub mod naming;
pub mod persist;
pub mod plugin;
pub mod rollout;
pub mod service;
pub mod switches;
pub mod time;
pub mod validate;
pub mod wheel;

pub use ids::{ClientId, ServiceKey};
pub use instance::{Instance, Metadata, Overlay};
pub use time::Millis;
