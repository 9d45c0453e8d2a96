//! Work sent by other threads.

use super::{Loop, model};
use crate::remote::Remote;
use crate::sync::{Arc, spawn};

#[test]
fn what_other_threads_send_is_adopted_by_a_loop_that_sleeps() {
    model("two threads send a task each", || {
        let engine = Loop::new();
        let senders = [1u64, 2].map(|_| {
            let remote = Remote {
                shared: Arc::clone(&engine.shared),
            };
            spawn(move || remote.spawn(|_| async {}).expect("open, and room"))
        });
        engine.run_until(|| engine.handle.tasks.ended() == 2);
        for sender in senders {
            sender.join().expect("sent");
        }
        assert!(!engine.shared.has_work());
    });
}

#[test]
fn what_one_thread_sends_is_adopted_in_order() {
    model("one thread sends two tasks", || {
        let engine = Loop::new();
        let remote = Remote {
            shared: Arc::clone(&engine.shared),
        };
        let sender = spawn(move || {
            let began = Arc::new(std::sync::Mutex::new(Vec::new()));
            for at in [1, 2] {
                let began = Arc::clone(&began);
                let make = move |_| {
                    began.lock().expect("whole").push(at);
                    async {}
                };
                remote.spawn(make).expect("open, and room");
            }
            began
        });
        engine.run_until(|| engine.handle.tasks.ended() == 2);
        let began = sender.join().expect("sent");
        assert_eq!(*began.lock().expect("whole"), [1, 2]);
    });
}
