//! The broker's other thread: it does the cluster's chores, one after the other, while the broker's own serves.
//!
//! It begins with the first chore. When the broker ends, nobody wants the chore that it is at any more, so it ends soon.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::Order;
use super::serving::Server;
use crate::chores::Chore;

pub(super) struct Helper {
    /// Where it says that it is done.
    orders: mpsc::UnboundedSender<Order>,
    running: RefCell<Option<Running>>,
}

struct Running {
    chores: blocking::Sender<Chore>,
    thread: JoinHandle<()>,
}

impl Helper {
    pub(super) fn new(orders: mpsc::UnboundedSender<Order>) -> Helper {
        Helper { orders, running: RefCell::new(None) }
    }

    /// Gives it a chore, or gives it back where the system has no thread left.
    pub(super) fn take(&self, chore: Chore) -> Option<Chore> {
        let mut running = self.running.borrow_mut();
        if running.is_none() {
            *running = self.begin();
        }
        match &*running {
            Some(helper) => helper.chores.send(chore).err().map(|refused| refused.0),
            None => Some(chore),
        }
    }

    fn begin(&self) -> Option<Running> {
        let (chores, taken) = blocking::channel::<Chore>();
        let orders = self.orders.clone();
        let work = move || {
            for chore in taken {
                let finished = chore.run();
                let tell = move |server: &Rc<Server>| server.drive(|cluster, now| cluster.handle_chore(now, finished));
                let _the_broker_has_ended = orders.send(Box::new(tell));
            }
        };
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(work).ok()?;
        Some(Running { chores, thread })
    }

    /// Waits for the thread. The cluster is gone by then, and with it whoever wanted anything done.
    pub(super) fn end(&self) {
        if let Some(Running { chores, thread }) = self.running.borrow_mut().take() {
            drop(chores);
            let _panicked_and_said_so_itself = thread.join();
        }
    }
}

const THREAD_NAME: &str = "milena-chores";
