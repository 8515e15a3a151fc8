//! Who is trusted, and what becomes of plugins that none of them signed.

use super::key::{PublicKey, TrustKey};
use super::package::Package;
use super::signature::{SignatureError, Signatures};
use crate::settings::Settings;

/// What becomes of a plugin that nobody signed who is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// It is refused.
    Deny,
    /// It is taken, and the log says so.
    Warn,
    /// It is taken. Only a node that is alone may, and only what lies in its own folder.
    Allow,
}

/// Where a plugin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// the folder that the settings name
    Folder,
    /// sent to the node while it runs, by an operator or another member
    Installed,
}

/// Why a plugin is not taken. Whose it is, the caller knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The file of signatures is none.
    #[error("its signature file cannot be used: {0}; sign it again: muster plugin sign FILE --key KEY")]
    Malformed(#[from] SignatureError),
    /// A signature of other bytes. Refused whatever the policy is.
    #[error(
        "the signature by {key} is not of these files: the component, its manifest or the signature was changed after it \
         was signed. Get all three from whoever signed them, or look at them and sign them yourself: muster plugin sign \
         FILE --key KEY"
    )]
    Wrong {
        /// who is said to have signed
        key: PublicKey,
    },
    /// Nobody signed.
    #[error(
        "it is not signed, and unsigned plugins are refused here. Sign it: muster plugin sign FILE --key KEY; or take \
         unsigned ones, in [plugins]: unsigned = \"warn\""
    )]
    Unsigned,
    /// Only strangers signed.
    #[error(
        "it is signed by {}, and plugins.trust-keys has no such key. If that is a key you trust, add to [plugins]: \
         trust-keys = [\"{}\"]",
        signers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        signers.first().map(ToString::to_string).unwrap_or_default()
    )]
    Stranger {
        /// who signed
        signers: Vec<PublicKey>,
    },
}

/// How a plugin that is taken stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Signed by these, who are trusted.
    Trusted(Vec<TrustKey>),
    /// Not by anybody who is trusted; taken because the policy says so.
    Tolerated {
        /// who signed, unknown here
        signers: Vec<PublicKey>,
        /// whether the log is to say so
        warn: bool,
    },
}

/// The operator's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<TrustKey>,
    /// of the folder
    unsigned: Unsigned,
    /// sent while the node runs
    installed: Unsigned,
}

impl Trust {
    /// As the settings say. What they leave out: `deny` once there is a trust key, else `warn` in a cluster and
    /// `allow` for a node that is alone. What is sent to a running node may come from anybody who reaches its API:
    /// unsigned it is denied unless the settings themselves say `warn`.
    pub fn of(settings: &Settings) -> Self {
        let keys = settings.plugins.trust_keys.clone();
        let unsigned =
            settings.plugins.unsigned.unwrap_or(match (keys.is_empty(), settings.is_clustered()) {
                (false, _) => Unsigned::Deny,
                (true, true) => Unsigned::Warn,
                (true, false) => Unsigned::Allow,
            });
        let warns = settings.plugins.unsigned == Some(Unsigned::Warn);
        Self { keys, unsigned, installed: if warns { Unsigned::Warn } else { Unsigned::Deny } }
    }

    /// Takes what one of `keys` signed; with no key, what anybody signed.
    pub fn requiring(keys: Vec<TrustKey>) -> Self {
        let unsigned = if keys.is_empty() { Unsigned::Warn } else { Unsigned::Deny };
        Self { keys, unsigned, installed: unsigned }
    }

    /// Judges a plugin that is not part of this program. To be asked before anything of it is compiled.
    ///
    /// # Errors
    /// [`TrustError`]. A signature that is not of these files is refused whatever the policy is.
    pub fn admit(&self, package: &Package, source: Source) -> Result<Standing, TrustError> {
        let signers = signers(package)?;
        let trusted: Vec<_> = self.keys.iter().filter(|one| signers.contains(&one.key)).cloned().collect();
        if !trusted.is_empty() {
            return Ok(Standing::Trusted(trusted));
        }
        let policy = match source {
            Source::Folder => self.unsigned,
            Source::Installed => self.installed,
        };
        match policy {
            Unsigned::Deny if signers.is_empty() => Err(TrustError::Unsigned),
            Unsigned::Deny => Err(TrustError::Stranger { signers }),
            Unsigned::Warn => Ok(Standing::Tolerated { signers, warn: true }),
            Unsigned::Allow => Ok(Standing::Tolerated { signers, warn: false }),
        }
    }

    /// What the operator calls a key; none when it is not trusted.
    pub fn name(&self, key: &PublicKey) -> Option<&str> {
        self.keys.iter().find(|one| one.key == *key).map(|one| one.name.as_str())
    }
}

/// Who signed these files: every signature there is must be theirs.
///
/// # Errors
/// [`TrustError::Malformed`], [`TrustError::Wrong`].
pub(crate) fn signers(package: &Package) -> Result<Vec<PublicKey>, TrustError> {
    let Some(text) = &package.signature else { return Ok(Vec::new()) };
    let statement = package.statement();
    let signatures = Signatures::parse(text)?;
    let check = |one: &super::Signature| {
        if one.is_of(&statement) { Ok(one.key) } else { Err(TrustError::Wrong { key: one.key }) }
    };
    signatures.iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SigningKey;

    fn key() -> SigningKey {
        let folder = tempfile::tempdir().unwrap();
        SigningKey::create(&folder.path().join("key")).unwrap()
    }

    fn signed(by: &[&SigningKey]) -> Package {
        let mut package = Package { wasm: "w".into(), manifest: "m".into(), signature: None };
        let statement = package.statement();
        let add = |others, key: &&SigningKey| Some(Signatures::sign(key, &statement, others));
        package.signature = by.iter().fold(None, add).map(|all| all.to_string().into());
        package
    }

    fn trust(keys: &[&SigningKey], unsigned: Unsigned) -> Trust {
        let named = |key: &&SigningKey| TrustKey { key: key.public(), name: "team".into() };
        Trust { keys: keys.iter().map(named).collect(), unsigned, installed: unsigned }
    }

    #[test]
    fn a_trusted_signature_is_enough_and_a_strangers_is_none() {
        let (team, stranger) = (key(), key());
        let deny = trust(&[&team], Unsigned::Deny);
        let admit = |package: &Package| deny.admit(package, Source::Folder);
        let Ok(Standing::Trusted(by)) = admit(&signed(&[&stranger, &team])) else { panic!("not trusted") };
        assert_eq!(by, [TrustKey { key: team.public(), name: "team".into() }]);
        assert_eq!(admit(&signed(&[])), Err(TrustError::Unsigned));
        let error = admit(&signed(&[&stranger])).unwrap_err();
        assert_eq!(error, TrustError::Stranger { signers: vec![stranger.public()] });
        assert!(error.to_string().ends_with(&format!("trust-keys = [\"{}\"]", stranger.public())), "{error}");
    }

    #[test]
    fn a_wrong_signature_is_refused_whatever_the_policy_is() {
        let (team, stranger) = (key(), key());
        for unsigned in [Unsigned::Deny, Unsigned::Warn, Unsigned::Allow] {
            for keys in [&[][..], &[&team]] {
                let trust = trust(keys, unsigned);
                for change in
                    [(|package: &mut Package| package.wasm = "x".into()) as fn(&mut Package), |package| {
                        package.manifest = "m ".into()
                    }]
                {
                    let mut package = signed(&[&team, &stranger]);
                    change(&mut package);
                    let error = trust.admit(&package, Source::Folder).unwrap_err();
                    assert_eq!(error, TrustError::Wrong { key: team.public() });
                }
                let mut package = signed(&[&team]);
                package.signature = Some("none".into());
                let error = trust.admit(&package, Source::Installed).unwrap_err();
                assert_eq!(error, TrustError::Malformed(SignatureError::Version));
            }
        }
        // one of two that is wrong spoils both
        let mut package = signed(&[&team]);
        let other = Signatures::sign(&stranger, &super::super::Statement::of(b"", b""), None).to_string();
        let text = format!(
            "{}{}\n",
            std::str::from_utf8(package.signature.as_ref().unwrap()).unwrap(),
            other.lines().nth(1).unwrap()
        );
        package.signature = Some(text.into());
        let error = trust(&[&team], Unsigned::Allow).admit(&package, Source::Folder).unwrap_err();
        assert_eq!(error, TrustError::Wrong { key: stranger.public() });
    }

    #[test]
    fn what_is_not_signed_is_taken_as_the_policy_says() {
        let warned = |unsigned, source| match trust(&[], unsigned).admit(&signed(&[]), source) {
            Ok(Standing::Tolerated { warn, .. }) => Some(warn),
            _ => None,
        };
        assert_eq!(warned(Unsigned::Warn, Source::Folder), Some(true));
        assert_eq!(warned(Unsigned::Allow, Source::Folder), Some(false));
        assert_eq!(warned(Unsigned::Deny, Source::Folder), None);
    }

    #[test]
    fn deny_comes_with_the_first_trust_key() {
        let trust = |text: &str| Trust::of(&Settings::parse("m.toml", text, []).unwrap());
        let read = |text: &str| trust(text).unsigned;
        let key = format!("[plugins]\ntrust-keys = [\"{} team\"]\n", key().public());
        let cluster = "[cluster]\nsecret = \"a secret of some length\"\n[lookup]\ntype = \"file\"\n";
        assert_eq!(read(""), Unsigned::Allow);
        assert_eq!(read(cluster), Unsigned::Warn);
        assert_eq!(read(&key), Unsigned::Deny);
        assert_eq!(read(&format!("{cluster}{key}")), Unsigned::Deny);
        assert_eq!(read(&format!("{key}unsigned = \"warn\"\n")), Unsigned::Warn);
        assert_eq!(read("[plugins]\nunsigned = \"deny\"\n"), Unsigned::Deny);
        for quiet in ["", cluster, "[plugins]\nunsigned = \"allow\"\n"] {
            assert_eq!(trust(quiet).installed, Unsigned::Deny, "what is sent has to be signed");
        }
        assert_eq!(trust("[plugins]\nunsigned = \"warn\"\n").installed, Unsigned::Warn);
    }
}
