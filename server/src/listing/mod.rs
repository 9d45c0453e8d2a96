//! Listings of directories.
//!
//! The names are read first, all of them up to a bound, since they must be sorted; the rest of what
//! a listing says is asked for while it is sent, piece by piece. So the memory of a listing is that
//! of its names, and only [`AT_ONCE_MAX`] long ones are made at a time. Neither reading nor sorting
//! takes the loop's time.

mod html;
mod json;
mod order;
mod output;
mod time;

use std::io;

use ambidex::disk::{EntryKind, Metadata};

use crate::encoding::prefers_json;
use crate::files::Listing;
use crate::hosts::Host;
use crate::http::head::{Head, Status};
use crate::http::request::Method;
use crate::http::target::Target;
use crate::locate::{Listed, status_of};
use crate::respond::Exchange;
use crate::serve::Worker;
use order::Order;
use output::Output;

/// Long listings that one worker makes of a site at a time; the others wait in order.
pub(crate) const AT_ONCE_MAX: usize = 8;
/// Entries looked at before others have a turn: some 5 us each.
const LOOKS_PER_TURN: usize = 32;
/// Sorting fewer takes less of the loop's time than handing them to a thread, and keeping them less
/// memory than the buffers of a connection.
const SHORT_MAX: usize = 1_000;

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    name: Vec<u8>,
    directory: bool,
    facts: Option<Facts>,
}

/// What the directory itself does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    size: u64,
    /// Seconds since 1970.
    modified: i64,
}

/// In what a listing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
}

impl Form {
    fn choose(listing: Listing, query: &str, accept: Option<&str>) -> Form {
        match listing {
            Listing::Json => Form::Json,
            Listing::Off | Listing::Html => Form::Html,
            Listing::Both => match order::parameter(query, "format") {
                Some("json") => Form::Json,
                Some("html") => Form::Html,
                _ if prefers_json(accept) => Form::Json,
                _ => Form::Html,
            },
        }
    }
}

impl Worker {
    /// Lists a directory, and tells whether the connection goes on.
    ///
    /// # Errors
    /// Those after which nothing more may be sent on this connection.
    pub(crate) async fn send_listing(
        &self,
        exchange: &Exchange<'_>,
        target: &Target<'_>,
        listed: Listed,
    ) -> io::Result<bool> {
        let host = &*exchange.host;
        let accept = exchange.request.field("accept");
        let form = Form::choose(host.files.listing, target.query, accept);
        let order = Order::parse(target.query);
        if exchange.request.method == Method::Head {
            let head = self.listing_head(exchange, form, &listed);
            let bytes = head.finish(exchange.keep_alive);
            self.send(exchange.stream, &bytes).await?;
            return Ok(exchange.keep_alive);
        }
        let turn = host.site.lists.take().await;
        let (items, cut) = match self.sorted_items(host, &listed, order).await {
            Ok(items) => items,
            Err(error) => {
                self.send_error(exchange, status_of(&error)).await?;
                return Ok(exchange.keep_alive);
            }
        };
        let mut head = self.listing_head(exchange, form, &listed);
        if cut {
            head = head.field("Listing-Truncated", "true");
        }
        let mut output = Output::new(self, exchange, head);
        match form {
            Form::Html => html::start(&mut output.bytes, &listed.path, order),
            Form::Json => output.bytes.push(b'['),
        }
        let total = items.len();
        // A short list is no burden, however slowly its client reads.
        let _turn = (total > SHORT_MAX).then_some(turn);
        self.write_items(host, &listed, form, items, &mut output)
            .await?;
        match form {
            Form::Html => html::end(&mut output.bytes, total, cut),
            Form::Json => output.bytes.extend_from_slice(b"\n]\n"),
        }
        output.finish().await
    }

    fn listing_head(&self, exchange: &Exchange<'_>, form: Form, listed: &Listed) -> Head {
        let head = self.head(Status(200));
        let head = match form {
            Form::Html => head
                .field("Content-Type", "text/html; charset=utf-8")
                .field("Content-Security-Policy", html::POLICY),
            Form::Json => head.field("Content-Type", "application/json; charset=utf-8"),
        };
        let head = match exchange.host.files.listing {
            Listing::Both => head.field("Vary", "Accept"),
            _ => head,
        };
        let policy = &exchange.host.policy;
        policy.decorate(head, exchange.request, &listed.path)
    }

    /// What is listed, in order, and whether there is more.
    async fn sorted_items(
        &self,
        host: &Host,
        listed: &Listed,
        order: Order,
    ) -> io::Result<(Vec<Item>, bool)> {
        let (mut items, cut) = self.items(host, listed).await?;
        if order.needs_facts() {
            let mut known = Vec::with_capacity(items.len());
            for (at, item) in items.into_iter().enumerate() {
                known.extend(self.look_at(host, listed, item).await);
                self.rest(at).await;
            }
            items = known;
        }
        if items.len() <= SHORT_MAX {
            order.sort(&mut items);
            return Ok((items, cut));
        }
        let sorting = self.io.spawn_blocking(move || {
            order.sort(&mut items);
            items
        });
        let items = sorting.await.map_err(io::Error::other)?;
        Ok((items, cut))
    }

    /// What of a directory is served, up to the bound. A link is followed here already: whether it
    /// leads to a directory decides its place.
    async fn items(&self, host: &Host, listed: &Listed) -> io::Result<(Vec<Item>, bool)> {
        let files = &host.files;
        let mut entries = listed.directory.read_dir().await?;
        let mut items = Vec::new();
        let mut looks = 0;
        while let Some(entry) = entries.next().await? {
            let kind = entry.kind();
            let name = entry.into_name().into_encoded_bytes();
            if (!files.hidden && name.starts_with(b".")) || kind == EntryKind::Other {
                continue;
            }
            if items.len() >= files.listing_max {
                return Ok((items, true));
            }
            let item = Item {
                name,
                directory: kind == EntryKind::Directory,
                facts: None,
            };
            match kind {
                EntryKind::File | EntryKind::Directory => items.push(item),
                EntryKind::Symlink | EntryKind::Unknown | EntryKind::Other => {
                    items.extend(self.look_at(host, listed, item).await);
                    looks += 1;
                    self.rest(looks).await;
                }
            }
        }
        Ok((items, false))
    }

    /// `item` with its facts; `None` if it is not served after all. One that cannot be looked at
    /// for now stays without.
    async fn look_at(&self, host: &Host, listed: &Listed, item: Item) -> Option<Item> {
        let mut item = item;
        let mut path = listed.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&item.name);
        match host.site.look(&path, &host.files).await {
            Ok(metadata) if is_served(&metadata) => {
                item.directory = metadata.is_dir();
                item.facts = Some(Facts {
                    size: metadata.len(),
                    modified: metadata.modified_parts().0,
                });
                Some(item)
            }
            Ok(_) => None,
            Err(error) if matches!(status_of(&error), Status(403 | 404)) => None,
            Err(_) => Some(item),
        }
    }

    async fn write_items(
        &self,
        host: &Host,
        listed: &Listed,
        form: Form,
        items: Vec<Item>,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let mut first = true;
        for (at, item) in items.into_iter().enumerate() {
            let item = if item.facts.is_some() {
                item
            } else {
                let Some(item) = self.look_at(host, listed, item).await else {
                    continue;
                };
                item
            };
            match form {
                Form::Html => html::item(&mut output.bytes, &item),
                Form::Json => json::item(&mut output.bytes, &item, first),
            }
            first = false;
            output.flush_full().await?;
            self.rest(at).await;
        }
        Ok(())
    }

    /// Lets others have a turn now and then: looking at what is cached never waits.
    async fn rest(&self, at: usize) {
        if at % LOOKS_PER_TURN == LOOKS_PER_TURN - 1 {
            self.io.yield_now().await;
        }
    }
}

fn is_served(metadata: &Metadata) -> bool {
    metadata.is_file() || metadata.is_dir()
}

/// What a relative reference to a name may hold as it is: with all else encoded, it is safe in HTML
/// and JSON, and cannot be read as a scheme, a query or another directory.
const REFERENCE: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A reference to `item` from its directory.
fn reference(item: &Item) -> String {
    let name = percent_encoding::percent_encode(&item.name, REFERENCE);
    let slash = if item.directory { "/" } else { "" };
    format!("./{name}{slash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_is_allowed_and_asked_for() {
        let json = Some("application/json");
        for (listing, query, accept, expected) in [
            (Listing::Html, "?format=json", json, Form::Html),
            (Listing::Json, "?format=html", None, Form::Json),
            (Listing::Both, "", None, Form::Html),
            (Listing::Both, "", json, Form::Json),
            (Listing::Both, "?format=html", json, Form::Html),
            (Listing::Both, "?sort=size&format=json", None, Form::Json),
            (Listing::Both, "?format=xml", None, Form::Html),
        ] {
            let form = Form::choose(listing, query, accept);
            assert_eq!(form, expected, "{listing:?} {query} {accept:?}");
        }
    }

    #[test]
    fn a_reference_stays_in_its_directory() {
        for (name, directory, expected) in [
            (&b"a.txt"[..], false, "./a.txt"),
            (b"a b", true, "./a%20b/"),
            (b"javascript:alert(1)", false, "./javascript%3Aalert%281%29"),
            (b"?#%", false, "./%3F%23%25"),
            (b"\"'<&\n\\", false, "./%22%27%3C%26%0A%5C"),
            (b"\xff\xc3\xa9", false, "./%FF%C3%A9"),
        ] {
            let item = Item {
                name: name.to_vec(),
                directory,
                facts: None,
            };
            assert_eq!(reference(&item), expected);
        }
    }
}
