//! Events that are no data: what kqueue calls filters, each a descriptor in the same epoll set.
//!
//! | Source | Made of | Tells | Since |
//! |---|---|---|---|
//! | [`Timer`] | timerfd_create(2) | how many periods have passed | 2.6.27 |
//! | [`Signals`] | signalfd(2) | who sent which signal | 2.6.27 |
//! | [`Child`] | pidfd_open(2) | how a child process ended | 5.4 |
//! | [`Watch`] | inotify(7) | what happened to files | 4.18 |
//! | [`UserEvent`] | eventfd(2) | how often other threads called | 2.6.27 |
//!
//! Each may be made on any number of reactors, may be waited for by any number of tasks, and loses
//! nothing when a wait is dropped: what has not been returned is still there for the next.

mod child;
mod signal;
pub(crate) mod system;
mod timer;
mod user;
mod watch;

pub use child::{AdoptError, Child};
pub use signal::{BlockedSignals, SignalInfo, Signals};
pub use timer::{Expiry, Timer, TimerClock};
pub use user::{Notifier, UserEvent};
pub use watch::{Change, Changes, Watch, WatchEvent, WatchId, parse};
