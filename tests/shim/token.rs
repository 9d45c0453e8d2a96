//! The engine's token face: requests are begun with a token each, and ended by the events of one loop.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::mpsc::Sender;
use std::time::Duration;

use ambidex::Poll;
use ambidex::disk::{Complete, File, Op, OpId};
use ambidex::net::Token;
use ambidex::net::event::{Notifier, UserEvent};
use ambidex::poll::{Event, Events};

use super::context::{Context, Order};
use super::request::{Asked, Call, Request};

/// Of the event by which the program's threads call.
const CALLED: Token = Token(u64::MAX);
const EVENTS_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);

type Ended = (Asked, io::Result<usize>);

struct Loop<'a> {
    context: &'a Context,
    poll: Poll,
    /// Not begun yet, oldest first: there was no credit.
    waiting: VecDeque<(Token, Op)>,
    /// Not ended yet; those in flight have an id.
    asked: HashMap<Token, (Asked, Option<OpId>)>,
    next: u64,
    ended: Vec<Ended>,
}

/// Turns `poll` until the context ends.
///
/// # Errors
/// If the event to call it by cannot be had.
pub(crate) fn serve(
    context: &Context,
    mut poll: Poll,
    started: &Sender<io::Result<Notifier>>,
) -> io::Result<()> {
    let called = UserEvent::new(poll.net())?;
    // Who asked waits for it.
    let _ = started.send(Ok(called.notifier()));
    poll.add(CALLED, called);
    let mut turning = Loop {
        context,
        poll,
        waiting: VecDeque::new(),
        asked: HashMap::new(),
        next: 0,
        ended: Vec::new(),
    };
    turning.run();
    let given_up = turning.poll.shut_down(PATIENCE);
    assert_eq!(given_up, 0, "all have ended");
    Ok(())
}

impl Loop<'_> {
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while let Some(orders) = self.context.orders() {
            for order in orders {
                match order {
                    Order::Begin(request) => self.prepare(request),
                    Order::Cancel(block) => self.cancel(block),
                }
            }
            self.begin();
            if self.ended.is_empty() {
                let turned = self.poll.poll(&mut events, None);
                turned.expect("a loop that cannot fail");
                for event in events.drain() {
                    match event {
                        Event::Complete(complete) => self.complete(&complete),
                        Event::User { token: CALLED, .. } => {}
                        other => panic!("nothing else was asked for: {other:?}"),
                    }
                }
            }
            self.context.ended(self.poll.disk(), self.ended.drain(..));
        }
    }

    fn prepare(&mut self, request: Request) {
        let Request { asked, file } = request;
        let op = File::from_fd(self.poll.disk(), file).and_then(|file| operation(&file, &asked));
        match op {
            Ok(op) => {
                let token = Token(self.next);
                self.next += 1;
                self.asked.insert(token, (asked, None));
                self.waiting.push_back((token, op));
            }
            Err(error) => self.ended.push((asked, Err(error))),
        }
    }

    /// Begins what waits, in order, for as long as there are credits.
    fn begin(&mut self) {
        while let Some((token, op)) = self.waiting.pop_front() {
            match self.poll.submit(token, op) {
                Ok(id) => {
                    let (_, known) = self.asked.get_mut(&token).expect("not ended yet");
                    *known = Some(id);
                }
                Err(refused) if refused.error.kind() == ErrorKind::WouldBlock => {
                    self.waiting.push_front((token, refused.op));
                    return;
                }
                Err(refused) => self.end(token, Err(refused.error)),
            }
        }
    }

    fn cancel(&mut self, block: u64) {
        let mut asked = self.asked.iter();
        // If there is none, it has ended meanwhile.
        let Some((&token, &(_, id))) = asked.find(|(_, (asked, _))| asked.block == block) else {
            return;
        };
        match id {
            Some(id) => self.poll.cancel(id),
            None => {
                self.waiting.retain(|(waiting, _)| *waiting != token);
                self.end(token, Err(io::Error::from_raw_os_error(libc::ECANCELED)));
            }
        }
    }

    fn complete(&mut self, complete: &Complete) {
        self.end(Token(complete.token()), complete.result());
    }

    fn end(&mut self, token: Token, result: io::Result<usize>) {
        let (asked, _) = self.asked.remove(&token).expect("each ends once");
        self.ended.push((asked, result));
    }
}

fn operation(file: &File, asked: &Asked) -> io::Result<Op> {
    Ok(match asked.call {
        Call::Read => Op::read_at(file, asked.memory[0], asked.offset),
        Call::Write => Op::write_at(file, asked.memory[0], asked.offset),
        Call::Sync => Op::sync_all(file),
        Call::SyncData => Op::sync_data(file),
        // Not among the operations of this face.
        Call::ReadVectored | Call::WriteVectored => {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
    })
}
