//! The engine's task face: each request is a task.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ambidex::disk::{Canceller, File, Handle};
use ambidex::net::event::{Notifier, UserEvent};
use ambidex::{Engine, Handle as Io};

use super::context::{Context, Order};
use super::request::{Asked, Call, Request};

const PATIENCE: Duration = Duration::from_secs(30);

/// Of the requests in flight, by the address of their `iocb`.
type Cancellers = Rc<RefCell<HashMap<u64, Canceller>>>;

/// Runs `engine` until the context ends.
///
/// # Errors
/// If the event to call it by cannot be had.
pub(crate) fn serve(
    context: &Arc<Context>,
    mut engine: Engine,
    started: &Sender<io::Result<Notifier>>,
) -> io::Result<()> {
    let run = engine.run(async |io| {
        let called = UserEvent::new(io.net())?;
        // Who asked waits for it.
        let _ = started.send(Ok(called.notifier()));
        let cancellers = Cancellers::default();
        while let Some(orders) = context.orders() {
            for order in orders {
                match order {
                    Order::Begin(request) => begin(context, &io, &cancellers, request),
                    Order::Cancel(block) => {
                        // If there is none, it has ended meanwhile.
                        let known = cancellers.borrow().get(&block).cloned();
                        known.iter().for_each(Canceller::cancel);
                    }
                }
            }
            called.notified().await?;
        }
        io::Result::Ok(())
    });
    run.expect("a loop that cannot fail")?;
    let report = engine.shut_down(PATIENCE);
    assert_eq!(report.operations_given_up, 0, "all have ended");
    Ok(())
}

fn begin(context: &Arc<Context>, io: &Io, cancellers: &Cancellers, request: Request) {
    let (context, cancellers) = (Arc::clone(context), Rc::clone(cancellers));
    let disk = io.disk().clone();
    let Request { asked, file } = request;
    let file = File::from_fd(&disk, file);
    let block = asked.block;
    let carried_out = carry_out(file, asked.clone());
    let carried_out = disk.cancellable(carried_out);
    cancellers
        .borrow_mut()
        .insert(block, carried_out.canceller());
    let task = io.spawn(async move {
        let result = carried_out.await;
        cancellers.borrow_mut().remove(&block);
        ended(&context, &disk, asked, result);
    });
    task.detach();
}

fn ended(context: &Context, disk: &Handle, asked: Asked, result: io::Result<usize>) {
    context.ended(disk, [(asked, result)]);
}

async fn carry_out(file: io::Result<File>, asked: Asked) -> io::Result<usize> {
    let (file, offset) = (file?, asked.offset);
    match asked.call {
        Call::Read => file.read_at(asked.memory[0], offset).await.0,
        Call::Write => file.write_at(asked.memory[0], offset).await.0,
        Call::ReadVectored => file.read_vectored_at(asked.memory, offset).await.0,
        Call::WriteVectored => file.write_vectored_at(asked.memory, offset).await.0,
        Call::Sync => file.sync_all().await.map(|()| 0),
        Call::SyncData => file.sync_data().await.map(|()| 0),
    }
}
