//! Descriptors of a network: listeners, epoll sets and their changes, and the end of each.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ambidex::net::kernel::Control;

use super::epoll::Set;
use super::net::{SimNet, failure};
use super::socket::{Listening, Object, Owner};
use crate::sim::spare;

impl SimNet {
    /// Adds a listener.
    pub(super) fn add_listener(&self, address: SocketAddr, backlog: usize) -> io::Result<OwnedFd> {
        let state = &mut *self.state.borrow_mut();
        let taken = |known: &Listening| known.open && known.address == address;
        if state.listeners.iter().any(taken) {
            return failure(libc::EADDRINUSE);
        }
        let listener = state.listeners.len();
        let (fd, object) = state.open(Object::Listener(listener))?;
        state.listeners.push(Listening {
            address,
            queue: VecDeque::new(),
            backlog,
            object,
            open: true,
        });
        Ok(fd)
    }

    pub(super) fn make_set(&self) -> io::Result<OwnedFd> {
        let state = &mut *self.state.borrow_mut();
        let set = state.sets.len();
        state.sets.push(Set::default());
        Ok(state.open(Object::Epoll(set))?.0)
    }

    pub(super) fn set_of(&self, epoll: BorrowedFd<'_>) -> io::Result<usize> {
        let state = self.state.borrow();
        match state.object(epoll).map(|at| state.objects[at]) {
            Some(Object::Epoll(set)) => Ok(set),
            _ => failure(libc::EINVAL),
        }
    }

    /// epoll_ctl(2); what is not of this network is taken for an eventfd that nobody reads.
    pub(super) fn control(
        &self,
        set: usize,
        control: Control,
        fd: BorrowedFd<'_>,
        flags: u32,
        token: u64,
    ) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let known = state.object(fd);
        if control != Control::Remove
            && known.is_some_and(|at| matches!(state.objects[at], Object::Stream(_)))
            && state.strikes(state.network.refuse_watch)
        {
            if let Some(Object::Stream(end)) = known.map(|at| state.objects[at]) {
                state.harm(end);
            }
            return failure(libc::ENOMEM);
        }
        let object = match known {
            Some(object) => object,
            None if control == Control::Add => {
                let object = state.objects.len();
                state.objects.push(Object::Foreign);
                state.name(fd.as_raw_fd() as usize, object);
                let copy = fd.try_clone_to_owned()?;
                state.sets[set].foreign.push((object, copy));
                object
            }
            None => return failure(libc::ENOENT),
        };
        let foreign = state.objects[object] == Object::Foreign;
        let mask = if foreign { 0 } else { state.mask(object) };
        state.sets[set].control(control, object, flags, token, mask)
    }

    /// The end of a connection that the engine has by `fd`.
    pub(super) fn end_of(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let state = self.state.borrow();
        match state.object(fd).map(|at| state.objects[at]) {
            Some(Object::Stream(end)) => Ok(end),
            Some(_) => failure(libc::EINVAL),
            None => failure(libc::EBADF),
        }
    }

    pub(super) fn release(&self, fd: OwnedFd) {
        let closed = self
            .state
            .borrow_mut()
            .close(fd.as_fd().as_raw_fd() as usize);
        match closed {
            Some(Object::Stream(end)) => self.leave(end),
            Some(Object::Listener(listener)) => self.stop_listening(listener),
            // Not of this network, or closed before.
            None => return drop(fd),
            _ => {}
        }
        spare::give_back(fd);
    }

    pub(super) fn owner(&self, end: usize) -> Owner {
        self.state.borrow().ends[end].owner
    }
}
