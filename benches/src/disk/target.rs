//! The file that is read.

use std::fs;
use std::io;

use super::Options;
use crate::Error;
use crate::cold;

/// How many blocks there are to read. Makes the file if there is none.
pub(super) fn blocks(options: &Options) -> Result<u64, Error> {
    let path = &options.filename;
    let name = path.display();
    let start = |text: String| Err(Error::Start(text));
    let found = match (fs::metadata(path), options.size) {
        (Ok(found), _) if !found.is_file() => return start(format!("{name} is not a file")),
        (Ok(found), _) => found.len(),
        (Err(error), Some(size)) if error.kind() == io::ErrorKind::NotFound => {
            cold::write_whole(path, options.seed, size)
                .map_err(|error| Error::Start(format!("cannot make {name}: {error}")))?;
            size
        }
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
            return start(format!("there is no {name}: say --size to have it made"));
        }
        (Err(error), _) => return start(format!("cannot read {name}: {error}")),
    };
    let size = options.size.unwrap_or(found);
    if size > found {
        return start(format!(
            "{name} has {found} bytes, not {size}: remove it or say --size {found}"
        ));
    }
    match size / options.bs {
        0 => start(format!(
            "{size} bytes are less than one block of {}",
            options.bs
        )),
        blocks => Ok(blocks),
    }
}
