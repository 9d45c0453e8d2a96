//! Places in io_uring's table of files, and who holds them. Pure: no system calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The places of one ring.
///
/// Bound: `Options::table_entries`.
#[derive(Debug, Default)]
pub(crate) struct Table {
    inside: RefCell<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    free: Vec<u32>,
    /// Nobody's, and a file may still be in them.
    vacated: Vec<u32>,
}

impl Table {
    pub(crate) fn new(entries: u32) -> Rc<Table> {
        let table = Table::default();
        table.inside.borrow_mut().free = (0..entries).rev().collect();
        Rc::new(table)
    }

    /// An empty place, if there is one.
    pub(crate) fn take(self: &Rc<Table>) -> Option<Rc<Slot>> {
        let index = self.inside.borrow_mut().free.pop()?;
        Some(Rc::new(Slot {
            table: Rc::clone(self),
            index,
            empty: Cell::new(false),
        }))
    }

    pub(crate) fn has_vacated(&self) -> bool {
        !self.inside.borrow().vacated.is_empty()
    }

    /// Empties what was left; `empty` does it in the kernel. A place that cannot be is given up.
    pub(crate) fn tidy(&self, mut empty: impl FnMut(u32) -> bool) {
        let inside = &mut *self.inside.borrow_mut();
        let emptied = inside.vacated.drain(..).filter(|index| empty(*index));
        inside.free.extend(emptied);
    }
}

/// A place that is held. Each operation on the file in it holds it too, for the kernel looks the
/// number up when the operation runs.
#[derive(Debug)]
pub(crate) struct Slot {
    table: Rc<Table>,
    index: u32,
    empty: Cell<bool>,
}

impl Slot {
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// No file is in it, or none any more.
    pub(crate) fn set_empty(&self) {
        self.empty.set(true);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inside = &mut *self.table.inside.borrow_mut();
        if self.empty.get() {
            inside.free.push(self.index);
        } else {
            inside.vacated.push(self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_only_when_it_is_known_to_be_empty() {
        let table = Table::new(1);
        let slot = table.take().expect("one place");
        assert!(table.take().is_none());
        drop(slot);
        assert!(table.has_vacated() && table.take().is_none());
        table.tidy(|index| index == 0);
        let slot = table.take().expect("emptied");
        slot.set_empty();
        drop(slot);
        assert!(!table.has_vacated() && table.take().is_some());
    }

    #[test]
    fn places_are_told_by_their_numbers() {
        let table = Table::new(3);
        let held: Vec<_> = (0..3).filter_map(|_| table.take()).collect();
        let numbers: Vec<u32> = held.iter().map(|slot| slot.index()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        drop(held);
        let mut emptied = Vec::new();
        table.tidy(|index| {
            emptied.push(index);
            true
        });
        assert_eq!(emptied, [0, 1, 2]);
    }

    #[test]
    fn a_place_that_cannot_be_emptied_is_given_up() {
        let table = Table::new(1);
        drop(table.take());
        table.tidy(|_| false);
        assert!(!table.has_vacated() && table.take().is_none());
    }
}
