//! What is typed at a terminal. It is read ahead of who asks for it, so that Ctrl-C reaches programs that read nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use crate::stream;
use crate::task;

/// How Ctrl-C comes: ETX among what is typed.
const INTERRUPT: u8 = 0x03;
/// Bytes that are read ahead. While nobody takes them an interrupt is not heard.
const AHEAD: usize = 64 << 10;
/// The status of what was interrupted.
pub const INTERRUPTED: i32 = 130;

thread_local! {
    static FOLLOWED: Cell<bool> = const { Cell::new(false) };
    static TYPED: RefCell<VecDeque<u8>> = const { RefCell::new(VecDeque::new()) };
    static OVER: Cell<bool> = const { Cell::new(false) };
    static PENDING: Cell<bool> = const { Cell::new(false) };
}

/// Reads what is typed from now on.
pub fn follow() {
    FOLLOWED.set(true);
    task::spawn(read_ahead());
}

/// Whether somebody types, and it is read here.
pub fn followed() -> bool {
    FOLLOWED.get()
}

async fn read_ahead() -> i32 {
    let mut piece = vec![0; 4 << 10];
    loop {
        poll_fn(|_| if TYPED.with_borrow(VecDeque::len) < AHEAD { Poll::Ready(()) } else { Poll::Pending }).await;
        let Ok(count @ 1..) = stream::read_host(&mut piece).await else { break };
        for byte in &piece[..count] {
            if *byte == INTERRUPT {
                // What was typed before was for the program that ends.
                TYPED.with_borrow_mut(VecDeque::clear);
                PENDING.set(true);
            } else {
                TYPED.with_borrow_mut(|typed| typed.push_back(*byte));
            }
        }
        task::progress();
    }
    OVER.set(true);
    task::progress();
    0
}

/// Takes something of what was typed; nothing is the end.
pub async fn read(into: &mut [u8]) -> io::Result<usize> {
    poll_fn(|_| {
        let count = TYPED.with_borrow_mut(|typed| stream::take(typed, into));
        if count > 0 {
            task::progress();
        }
        if count > 0 || into.is_empty() || OVER.get() { Poll::Ready(Ok(count)) } else { Poll::Pending }
    })
    .await
}

/// What comes of the work; nothing if it is interrupted before. Of works within each other the innermost is.
pub async fn until_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if PENDING.take() => {
            task::progress();
            Poll::Ready(None)
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}
