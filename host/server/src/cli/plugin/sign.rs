//! `muster plugin keygen`, `sign` and `verify`.

use super::{Failure, Found, failed, load_component, locate, usage};
use crate::cli::{exit, print_line, runtime};
use crate::settings::Settings;
use crate::trust::{Package, PublicKey, Signatures, SigningKey, Statement, Trust, TrustKey};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Keygen {
    /// Where to keep the private key; the public one goes beside it, with .pub
    file: PathBuf,
    /// What the key is called; it stands after the public key and is for people [default: name of the file]
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Sign {
    /// A component file with its manifest beside it, or a project
    #[arg(value_name = "FILE")]
    plugin: String,
    /// File of the private key: of `muster plugin keygen`, or of `openssl genpkey -algorithm ed25519`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// A component file with its manifest and its signatures beside it, or a project
    #[arg(value_name = "FILE")]
    plugin: String,
    #[command(flatten)]
    trusting: Trusting,
}

/// Whose signatures count.
#[derive(Debug, clap::Args)]
pub(super) struct Trusting {
    /// A key that is trusted: `ed25519:…`, or a file that holds it; may be given several times
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// The settings whose plugins.trust-keys are trusted, too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Trusting {
    fn keys(&self) -> Result<Vec<TrustKey>, Failure> {
        self.key.iter().map(|text| trust_key(text)).collect()
    }

    /// The policy of the settings, with the keys given; without settings one of the keys must have signed, if there are
    /// any.
    pub(super) fn trust(&self) -> Result<Trust, Failure> {
        let keys = self.keys()?;
        let Some(config) = &self.config else { return Ok(Trust::requiring(keys)) };
        let mut settings = Settings::load(config).map_err(usage)?;
        settings.plugins.trust_keys.extend(keys);
        Ok(Trust::of(&settings))
    }
}

pub(super) fn keygen(keygen: &Keygen) -> Result<u8, Failure> {
    let path = &keygen.file;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = keygen.name.clone().unwrap_or(stem);
    let public_path = with_suffix(path, ".pub");
    if public_path.exists() {
        return Err(usage(format!("{} is there already; choose another file", public_path.display())));
    }
    let key = SigningKey::create(path).map_err(failed)?;
    let public = TrustKey { key: key.public(), name };
    // What is printed has to read back: the name is checked by the same rule.
    let public: TrustKey = public.to_string().parse().map_err(|_| usage("--name: at most 64 letters"))?;
    put(&public_path, format!("{public}\n").as_bytes())?;
    print_line(&format!(
        "private key  {}  (only its owner can read it; whoever has it can sign)\npublic key   {}\n\n\
         # in the settings of every node that is to trust it:\n[plugins]\ntrust-keys = [\"{public}\"]",
        path.display(),
        public_path.display(),
    ));
    Ok(exit::OK)
}

pub(super) fn sign(sign: &Sign) -> Result<u8, Failure> {
    let path = file_of(&sign.plugin)?;
    let key = SigningKey::load(&sign.key).map_err(usage)?;
    // Nothing is signed that a node would not take.
    runtime()?.block_on(load_component(&path.to_string_lossy()))?;
    let package = Package::read(&path).map_err(failed)?;
    let statement = package.statement();
    // Signatures of other bytes, and what is none, make way.
    let others = package.signature.as_ref().and_then(|text| Signatures::parse(text).ok());
    let signatures = Signatures::sign(&key, &statement, others);
    let file = path.with_extension("sig");
    put(&file, signatures.to_string().as_bytes())?;
    print_line(&format!("{}\n{}", file.display(), signed(&signatures, &statement, |_| None)));
    Ok(exit::OK)
}

pub(super) fn verify(verify: &Verify) -> Result<u8, Failure> {
    let path = file_of(&verify.plugin)?;
    let mut keys = verify.trusting.keys()?;
    if let Some(config) = &verify.trusting.config {
        keys.extend(Settings::load(config).map_err(usage)?.plugins.trust_keys);
    }
    let package = Package::read(&path).map_err(failed)?;
    let name = |key: &PublicKey| keys.iter().find(|one| one.key == *key).map(|one| one.name.clone());
    let trust = Trust::requiring(keys.clone());
    let refused = |error| failed(format!("{}: {error}", path.display()));
    trust.admit(&package, crate::trust::Source::Folder).map_err(refused)?;
    let Some(Ok(signatures)) = package.signature.as_ref().map(|text| Signatures::parse(text)) else {
        return Err(failed(format!("{}: it is not signed", path.display())));
    };
    print_line(&format!("{}: good\n{}", path.display(), signed(&signatures, &package.statement(), name)));
    Ok(exit::OK)
}

/// Who signed, one a line, and the digest of what they signed.
fn signed(
    signatures: &Signatures,
    statement: &Statement,
    name: impl Fn(&PublicKey) -> Option<String>,
) -> String {
    let mut lines = vec![format!("package    {}", statement.digest())];
    lines.extend(signatures.iter().map(|one| {
        let known = name(&one.key).map(|name| format!("  trusted, {name}")).unwrap_or_default();
        format!("signed by  {}{known}", one.key)
    }));
    lines.join("\n")
}

/// The component file that the command line names.
pub(super) fn file_of(plugin: &str) -> Result<PathBuf, Failure> {
    match locate(plugin)? {
        Found::File(path) => Ok(path),
        Found::Bundled(_) => {
            Err(usage(format!("{plugin} is part of this program; it has no files and needs no signature")))
        }
    }
}

fn trust_key(text: &str) -> Result<TrustKey, Failure> {
    let read = || std::fs::read_to_string(text).map_err(|error| usage(format!("{text}: {error}")));
    let written = if text.starts_with("ed25519:") { text.to_owned() } else { read()? };
    written.parse().map_err(|error| usage(format!("{text}: {error}")))
}

/// Writes a file whole or not at all.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unwritten = |error: &dyn std::fmt::Display| failed(format!("{}: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
        .map_err(|error| unwritten(&error))?;
    file.write_all(bytes).map_err(|error| unwritten(&error))?;
    file.persist(path).map_err(|error| unwritten(&error))?;
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
