//! The settings of one site, as options and files write them.

use std::collections::BTreeMap;
use std::str::FromStr;

use ambidex_server::{
    CacheRule, Change, Cors, Encoding, Files, HeaderRule, Listing, Policy, Redirect, Rewrite,
    Symlinks, Types,
};
use serde::Deserialize;

use crate::cli_limits::Seconds;
use crate::file_config::SiteKeys;

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LinkRule {
    Inside,
    All,
    None,
}

/// A form of a listing.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Html,
    Json,
}

/// A form of a compressed file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Packed(Encoding);

impl FromStr for Packed {
    type Err = String;

    fn from_str(text: &str) -> Result<Packed, String> {
        text.parse().map(Packed).map_err(|error| format!("{error}"))
    }
}

impl TryFrom<String> for Packed {
    type Error = String;

    fn try_from(text: String) -> Result<Packed, String> {
        text.parse()
    }
}

/// `[[cache]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CacheKeys {
    paths: String,
    value: String,
}

/// `[[header]]`: a name, and `set`, `add` or `remove = true`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HeaderKeys {
    paths: Option<String>,
    name: String,
    set: Option<String>,
    add: Option<String>,
    remove: Option<bool>,
}

impl FromStr for HeaderKeys {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HeaderKeys, &'static str> {
        let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
        Ok(HeaderKeys {
            paths: None,
            name: name.trim().to_owned(),
            set: Some(value.trim().to_owned()),
            add: None,
            remove: None,
        })
    }
}

impl HeaderKeys {
    fn rule(self) -> Result<HeaderRule, String> {
        let change = match (self.set, self.add, self.remove) {
            (Some(value), None, None | Some(false)) => Change::Set(value),
            (None, Some(value), None | Some(false)) => Change::Add(value),
            (None, None, Some(true)) => Change::Remove,
            _ => {
                let name = self.name;
                return Err(format!(
                    "the header rule for {name} needs one of set, add and remove = true"
                ));
            }
        };
        let paths = self.paths.unwrap_or_else(|| "**".to_owned());
        Ok(HeaderRule::new(paths, self.name, change))
    }
}

/// `[cors]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CorsKeys {
    origins: Vec<String>,
    headers: Option<Vec<String>>,
    expose: Option<Vec<String>>,
    max_age: Option<Seconds>,
}

impl CorsKeys {
    pub(crate) fn of(origins: Vec<String>) -> CorsKeys {
        CorsKeys {
            origins,
            headers: None,
            expose: None,
            max_age: None,
        }
    }

    fn cors(self) -> Cors {
        let defaults = Cors::default();
        Cors {
            origins: self.origins,
            headers: self.headers.unwrap_or(defaults.headers),
            expose: self.expose.unwrap_or(defaults.expose),
            max_age: self.max_age.map_or(defaults.max_age, Seconds::duration),
        }
    }
}

/// `[[redirect]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RedirectKeys {
    from: String,
    to: String,
    status: Option<u16>,
}

/// `[[rewrite]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RewriteKeys {
    from: String,
    to: String,
}

impl SiteKeys {
    /// Files and policy.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub(crate) fn settings(self) -> Result<(Files, Policy), String> {
        let defaults = Files::default();
        let forms = self.directory_listing.unwrap_or_default();
        let files = Files {
            index: self.index.unwrap_or(defaults.index),
            hidden: self.hidden.unwrap_or(defaults.hidden),
            symlinks: match self.symlinks {
                None => defaults.symlinks,
                Some(LinkRule::Inside) => Symlinks::Inside,
                Some(LinkRule::All) => Symlinks::All,
                Some(LinkRule::None) => Symlinks::None,
            },
            same_mount: self.same_mount.unwrap_or(defaults.same_mount),
            clean_urls: self.clean_urls.unwrap_or(defaults.clean_urls),
            sendfile: self.sendfile.unwrap_or(defaults.sendfile),
            fallback: self.spa,
            listing: match (forms.contains(&Form::Html), forms.contains(&Form::Json)) {
                (false, false) => Listing::Off,
                (true, false) => Listing::Html,
                (false, true) => Listing::Json,
                (true, true) => Listing::Both,
            },
            listing_max: defaults.listing_max,
            precompressed: self
                .precompressed
                .unwrap_or_default()
                .into_iter()
                .map(|packed| packed.0)
                .collect(),
            page_404: self.page404,
            page_50x: self.page50x,
            types: types(self.types.unwrap_or_default())?,
        };
        let rules = self.cache.unwrap_or_default().into_iter();
        let rest = self.cache_control.map(|value| CacheRule::new("**", value));
        let headers = self
            .header
            .unwrap_or_default()
            .into_iter()
            .chain(self.last_headers);
        let redirect =
            |keys: RedirectKeys| Redirect::new(keys.from, keys.to, keys.status.unwrap_or(301));
        let policy = Policy {
            cache: rules
                .map(|keys| CacheRule::new(keys.paths, keys.value))
                .chain(rest)
                .collect(),
            immutable: self.immutable.unwrap_or(false),
            headers: headers.map(HeaderKeys::rule).collect::<Result<_, _>>()?,
            cors: self.cors.map(CorsKeys::cors),
            nosniff: self.nosniff.unwrap_or(true),
            redirects: self
                .redirect
                .unwrap_or_default()
                .into_iter()
                .map(redirect)
                .collect(),
            rewrites: self
                .rewrite
                .unwrap_or_default()
                .into_iter()
                .map(|keys| Rewrite::new(keys.from, keys.to))
                .collect(),
        };
        Ok((files, policy))
    }
}

fn types(given: BTreeMap<String, String>) -> Result<Types, String> {
    let mut types = Types::default();
    for (extension, kind) in given {
        types
            .insert(&extension, &kind)
            .map_err(|error| format!("types: {error}"))?;
    }
    Ok(types)
}
