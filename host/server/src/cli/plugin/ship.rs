//! `muster plugin pack`, `unpack`, `push` and `pull`: plugins on their way.

use super::sign::{Trusting, file_of, put};
use super::{Failure, failed, load_component, usage};
use crate::cli::{exit, print_line, runtime};
use crate::secrets::Secret;
use crate::ship::{self, Artifact, Credentials, Named, Reference, Registry, RegistryOptions};
use crate::trust::{Package, Source, Standing, Trust};
use muster_wasm::Inspection;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pack {
    /// Component files with their manifests, and signatures if there are any, beside them; or projects
    #[arg(value_name = "FILE", required = true)]
    plugins: Vec<String>,
    /// The bundle; what is there is written over
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unpack {
    /// What `pack` made, or another OCI image layout in a tar file that holds plugins
    bundle: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Push {
    /// A component file with its manifest, and its signatures if there are any, beside it; or a project
    #[arg(value_name = "FILE")]
    plugin: String,
    /// Where it goes: HOST[:PORT]/REPOSITORY[:TAG]
    reference: Reference,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pull {
    /// What `push` printed: HOST[:PORT]/REPOSITORY[:TAG]@sha256:HEX
    reference: Reference,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    place: Place,
}

/// Where plugins are put.
#[derive(Debug, clap::Args)]
struct Place {
    /// The folder for NAME.wasm, NAME.toml and NAME.sig, such as a node's plugins.directory
    #[arg(long, short, value_name = "FOLDER", default_value = ".")]
    directory: PathBuf,
    /// Write over another version of the same name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    trusting: Trusting,
}

/// How a registry is reached.
#[derive(Debug, clap::Args)]
struct Access {
    /// Without TLS, for a registry on this machine
    #[arg(long)]
    plain_http: bool,
    /// Authorities beside the public ones, in PEM
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    ca: Option<PathBuf>,
    /// Who asks
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// Their password or token
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

impl Access {
    fn registry(&self, reference: &Reference) -> Result<Registry, Failure> {
        let password = self.password_file.as_ref().map(|path| {
            let text = fs::read_to_string(path);
            text.map_err(|error| usage(format!("--password-file {}: {error}", path.display())))
        });
        let credentials = match (self.user.clone(), password.transpose()?) {
            (Some(user), Some(text)) => Some(Credentials { user, password: Secret::new(text.trim_end()) }),
            _ => None,
        };
        let options =
            RegistryOptions { plain_http: self.plain_http, authorities: self.ca.clone(), credentials };
        Registry::new(reference, options).map_err(usage)
    }
}

pub(super) fn pack(pack: &Pack) -> Result<u8, Failure> {
    let plugins = pack.plugins.iter().map(|plugin| ready(plugin)).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Vec::new();
    let digests = ship::write(&plugins, &mut bytes).map_err(failed)?;
    put(&pack.out, &bytes)?;
    for ((plugin, _), digest) in plugins.iter().zip(digests) {
        print_line(&format!("{}  {digest}", plugin.name));
    }
    print_line(&format!("{}  {} bytes", pack.out.display(), bytes.len()));
    Ok(exit::OK)
}

pub(super) fn unpack(unpack: &Unpack) -> Result<u8, Failure> {
    let wrong = |error: &dyn std::fmt::Display| failed(format!("{}: {error}", unpack.bundle.display()));
    let file = File::open(&unpack.bundle).map_err(|error| wrong(&error))?;
    let plugins = ship::read(BufReader::new(file)).map_err(|error| wrong(&error))?;
    unpack.place.keep_all(&plugins)
}

pub(super) fn push(push: &Push) -> Result<u8, Failure> {
    let Reference { tag, digest, .. } = &push.reference;
    if digest.is_some() {
        return Err(usage("push takes no digest: it says which one comes of the files"));
    }
    let (plugin, inspection) = ready(&push.plugin)?;
    let artifact = Artifact::of(&plugin, &inspection).map_err(failed)?;
    let mut registry = push.access.registry(&push.reference)?;
    let pushed = runtime()?.block_on(registry.push(&artifact, tag.as_deref())).map_err(failed)?;
    print_line(&Reference { digest: Some(pushed), ..push.reference.clone() }.to_string());
    Ok(exit::OK)
}

pub(super) fn pull(pull: &Pull) -> Result<u8, Failure> {
    let reference = &pull.reference;
    let not_pinned = || usage(ship::RegistryError::NotPinned(reference.to_string()));
    let digest = reference.digest.as_ref().ok_or_else(not_pinned)?;
    let mut registry = pull.access.registry(reference)?;
    let plugin = runtime()?.block_on(registry.pull(digest)).map_err(failed)?;
    pull.place.keep_all(&[plugin])
}

/// A plugin as it would be taken by a node; one that would not is not shipped.
fn ready(plugin: &str) -> Result<(Named, Inspection), Failure> {
    let path = file_of(plugin)?;
    let (_, _, info) = runtime()?.block_on(load_component(&path.to_string_lossy()))?;
    let package = Package::read(&path).map_err(failed)?;
    let named = Named::new(package).map_err(|error| failed(format!("{}: {error}", path.display())))?;
    // a signature that is wrong already would only be found by whoever gets it
    judged(&Trust::requiring(Vec::new()), &named)?;
    Ok((named, info.inspection))
}

/// Who signed it, in a few words.
fn judged(trust: &Trust, plugin: &Named) -> Result<String, Failure> {
    let standing = trust.admit(&plugin.package, Source::Installed);
    let refused = |error| failed(format!("{}: {error}", plugin.name));
    let list = |signers: Vec<String>| signers.join(", ");
    Ok(match standing.map_err(refused)? {
        Standing::Trusted(keys) => {
            format!("signed by {}", list(keys.iter().map(ToString::to_string).collect()))
        }
        Standing::Tolerated { signers, .. } if signers.is_empty() => "not signed".into(),
        Standing::Tolerated { signers, .. } => {
            let signers = signers.iter().map(ToString::to_string).collect();
            format!("signed by {}, whom nobody here is told to trust", list(signers))
        }
    })
}

impl Place {
    /// Keeps all or, when one is refused, none.
    fn keep_all(&self, plugins: &[Named]) -> Result<u8, Failure> {
        let trust = self.trusting.trust()?;
        let standings = plugins.iter().map(|plugin| judged(&trust, plugin)).collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        for plugin in plugins {
            if !names.insert(&plugin.name) {
                return Err(failed(format!(
                    "two plugins are called {}; their files would be the same",
                    plugin.name
                )));
            }
            self.may_keep(plugin)?;
        }
        fs::create_dir_all(&self.directory)
            .map_err(|error| failed(format!("{}: {error}", self.directory.display())))?;
        for (plugin, standing) in plugins.iter().zip(standings) {
            let component = self.keep(plugin)?;
            let digest = plugin.package.statement().digest();
            print_line(&format!("{}\n  package {digest}\n  {standing}", component.display()));
        }
        Ok(exit::OK)
    }

    fn path(&self, plugin: &Named, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", plugin.name))
    }

    /// Nothing of another version is written over unless that is asked for.
    fn may_keep(&self, plugin: &Named) -> Result<(), Failure> {
        let component = self.path(plugin, "wasm");
        let there = ["wasm", "toml", "sig"].iter().any(|extension| self.path(plugin, extension).exists());
        let same = || Package::read(&component).is_ok_and(|package| package == plugin.package);
        if self.replace || !there || same() {
            return Ok(());
        }
        let path = component.display();
        Err(usage(format!(
            "another version of {} is there already. See what the new one asks for more (unpack it elsewhere, then \
             muster plugin diff {path} NEW), and write over it with --replace",
            component.display()
        )))
    }

    /// The component comes last: a folder is looked through by its components.
    fn keep(&self, plugin: &Named) -> Result<PathBuf, Failure> {
        let Package { wasm, manifest, signature } = &plugin.package;
        let file = self.path(plugin, "sig");
        match signature {
            Some(signature) => put(&file, signature)?,
            None => absent(&file)?,
        }
        put(&self.path(plugin, "toml"), manifest)?;
        let component = self.path(plugin, "wasm");
        put(&component, wasm)?;
        Ok(component)
    }
}

fn absent(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
