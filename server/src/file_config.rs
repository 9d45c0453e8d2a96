//! The configuration file: TOML, with the names of the options as keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ambidex_server::listen::Address;
use serde::Deserialize;

use crate::cli::Engine;
use crate::cli_limits::{LimitFlags, Seconds};
use crate::file_site::{
    CacheKeys, CorsKeys, Form, HeaderKeys, LinkRule, Packed, RedirectKeys, RewriteKeys,
};

/// How alike a key must be to be suggested.
const LIKENESS_MIN: f64 = 0.8;

/// Settings that the top level and each host may have. Written once: with `flatten`, serde would
/// forget on which line a mistake is.
macro_rules! site_keys {
    ($($(#[$doc:meta])* $key:ident: $kind:ty,)*) => {
        /// The settings of one site.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct SiteKeys {
            $($(#[$doc])* pub(crate) $key: Option<$kind>,)*
            /// Header fields of the command line, after all rules.
            pub(crate) last_headers: Vec<HeaderKeys>,
        }

        impl SiteKeys {
            /// What is missing here is taken from `other`.
            pub(crate) fn or(self, other: SiteKeys) -> SiteKeys {
                SiteKeys {
                    $($key: self.$key.or(other.$key),)*
                    last_headers: if self.last_headers.is_empty() { other.last_headers } else { self.last_headers },
                }
            }
        }

        /// The whole file.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(crate) struct FileConfig {
            pub(crate) port: Option<u16>,
            pub(crate) bind: Option<Vec<String>>,
            pub(crate) listen: Option<Vec<String>>,
            pub(crate) workers: Option<u16>,
            pub(crate) grace_period: Option<Seconds>,
            pub(crate) disk_engine: Option<Engine>,
            pub(crate) limits: Option<LimitFlags>,
            pub(crate) host: Option<Vec<HostKeys>>,
            $($key: Option<$kind>,)*
        }

        impl FileConfig {
            /// What the top level says about its site.
            pub(crate) fn site_keys(self) -> SiteKeys {
                SiteKeys { $($key: self.$key,)* last_headers: Vec::new() }
            }
        }

        /// `[[host]]`
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(crate) struct HostKeys {
            name: Option<String>,
            names: Option<Vec<String>>,
            $($key: Option<$kind>,)*
        }

        impl HostKeys {
            /// Its names, and its settings.
            ///
            /// # Errors
            /// It has none.
            pub(crate) fn names(self) -> Result<(Vec<String>, SiteKeys), String> {
                let names: Vec<String> = self.name.into_iter().chain(self.names.into_iter().flatten()).collect();
                if names.is_empty() {
                    return Err("a [[host]] has no name: add name = \"example.org\"".to_owned());
                }
                Ok((names, SiteKeys { $($key: self.$key,)* last_headers: Vec::new() }))
            }
        }
    };
}

site_keys! {
    root: PathBuf,
    index: Vec<String>,
    spa: String,
    page404: String,
    page50x: String,
    hidden: bool,
    symlinks: LinkRule,
    same_mount: bool,
    directory_listing: Vec<Form>,
    precompressed: Vec<Packed>,
    clean_urls: bool,
    sendfile: bool,
    types: BTreeMap<String, String>,
    cache_control: String,
    immutable: bool,
    nosniff: bool,
    cors: CorsKeys,
    cache: Vec<CacheKeys>,
    header: Vec<HeaderKeys>,
    redirect: Vec<RedirectKeys>,
    rewrite: Vec<RewriteKeys>,
}

impl FileConfig {
    /// The addresses of `listen`.
    pub(crate) fn addresses(&mut self) -> Result<Vec<Address>, String> {
        let texts = self.listen.take().unwrap_or_default();
        let parse = |text: String| {
            let address = text.parse::<Address>();
            address.map_err(|advice| format!("cannot listen on {text:?}: {advice}"))
        };
        texts.into_iter().map(parse).collect()
    }
}

/// Reads the file at `path`. Directories in it are relative to its own.
///
/// # Errors
/// One line with the number of the line that is wrong.
pub(crate) fn read(path: &Path) -> Result<FileConfig, String> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {shown}: {error}; check --config"))?;
    let mut config = parse(&text).map_err(|(line, what)| format!("{shown}:{line}: {what}"))?;
    let base = path.parent().unwrap_or(Path::new(""));
    let hosts = config.host.iter_mut().flatten();
    let roots = hosts.map(|host| &mut host.root);
    for root in roots.chain([&mut config.root]).flatten() {
        if !root.as_os_str().is_empty() {
            *root = base.join(&*root);
        }
    }
    Ok(config)
}

fn parse(text: &str) -> Result<FileConfig, (usize, String)> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        (line, explain(error.message()))
    })
}

/// The message of serde or TOML in one line, with the key that was meant instead of all there are.
fn explain(message: &str) -> String {
    let mut message = message.lines().collect::<Vec<_>>().join(" ");
    for kind in ["u16", "u64", "usize", "f64"] {
        message = message.replace(&format!("expected {kind}"), "expected a number");
    }
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message;
    };
    let mut words = rest.split('`').step_by(2);
    let key = words.next().unwrap_or("");
    let known = rest.split('`').skip(2).step_by(2);
    let alike = known.map(|known| (strsim::jaro_winkler(key, known), known));
    let best = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    match best {
        Some((likeness, known)) if likeness >= LIKENESS_MIN => {
            format!("unknown key {key:?}; did you mean {known:?}?")
        }
        _ => format!("unknown key {key:?}; remove it, or see 'Serving files' for the keys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_shown_with_line_and_advice() {
        for (text, line, what) in [
            ("port = 80\nrooot = \"a\"\n", 2, "\"root\""),
            ("\n[limits]\nidle-timeot = 3\n", 3, "\"idle-timeout\""),
            ("[[host]]\nname = \"a\"\nrot = \"b\"\n", 3, "\"root\""),
            ("[[redirect]]\nfrom = \"/a\"\ntoo = \"/b\"\n", 3, "\"to\""),
            ("[[redirect]]\nfrom = \"/a\"\n", 1, "to"),
            ("zzzz = 1\n", 1, "remove it"),
            ("port = \"x\"\n", 1, "number"),
            ("port = 70000\n", 1, "70000"),
            ("grace-period = 0\n", 1, "above 0"),
            ("symlinks = \"some\"\n", 1, "inside"),
            ("precompressed = [\"lzma\"]\n", 1, "lzma"),
            ("root = \n", 1, ""),
            ("a\n", 1, ""),
        ] {
            let (found, message) = parse(text).expect_err(text);
            assert_eq!(found, line, "{text}: {message}");
            assert!(
                message.contains(what) && !message.contains('\n'),
                "{message}"
            );
        }
    }

    #[test]
    fn a_host_has_the_keys_of_the_top_level() {
        let text = "root = \"a\"\n[[host]]\nnames = [\"b\", \"c\"]\nroot = \"b\"\nhidden = true\n\
                    [[host.redirect]]\nfrom = \"/x\"\nto = \"/y\"\n";
        let mut config = parse(text).expect("a good file");
        let host = config.host.take().expect("a host").remove(0);
        let (names, keys) = host.names().expect("it has names");
        assert_eq!((names.len(), keys.hidden), (2, Some(true)));
        assert_eq!(keys.redirect.map(|rules| rules.len()), Some(1));
    }
}
