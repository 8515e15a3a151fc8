//! `muster check-config`: everything that can be judged without opening anything.

use super::{Failure, exit, print_line, runtime};
use crate::filters::Filters;
use crate::grpc::Tls;
use crate::lookup::{Granted, PluginSource};
use crate::plugins;
use crate::secrets::Secrets;
use crate::settings::Settings;
use muster_wasm::{HostOptions, PluginHost};
use std::path::Path;

pub(super) fn run(file: &Path) -> Result<u8, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::new(exit::USAGE, error);
    let settings = Settings::load(file).map_err(|error| wrong(&error))?;
    let secrets = Secrets::load(&settings.secrets).map_err(|error| wrong(&error))?;
    Tls::load(&settings.grpc.tls).map_err(|error| wrong(&error))?;
    runtime()?.block_on(async {
        // Compiled anew: the node's own cache is not ours to write to.
        let host = PluginHost::new(HostOptions::default()).map_err(|error| wrong(&error))?;
        let components = plugins::components(&settings).map_err(|error| wrong(&error))?;
        let granted = Granted::of(&components, &settings.lookup.kind);
        plugins::load(&host, components).await.map_err(|error| wrong(&error))?;
        let filters = Filters::load(&host, &secrets, &settings.filters, &settings.subscribers).await;
        filters.map_err(|error| wrong(&error))?;
        let source = PluginSource::new(&host, &secrets, &settings, granted, "127.0.0.1", 8848).await;
        source.map(drop).map_err(|error| wrong(&error))
    })?;
    print_line(&format!("{}: good", file.display()));
    Ok(exit::OK)
}
