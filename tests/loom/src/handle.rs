//! What `remote.rs` asks of a handle: that it spawns.

use std::future::Future;
use std::rc::Rc;

use crate::tasks::{JoinHandle, Tasks};

#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) tasks: Rc<Tasks>,
}

impl Handle {
    pub(crate) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(future)
    }

    pub(crate) fn net(&self) -> &ambidex_net::Handle {
        unreachable!("no model hands a socket over")
    }
}
