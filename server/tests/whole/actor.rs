//! Threads that run one at a time, when the simulation says so: code that waits is played as it is, and is stopped
//! wherever it waits.
//!
//! An actor runs from one [`pause`] to the next, and everybody else stands still meanwhile; so what it does follows
//! from the seed like everything else. When its process ends, it is unwound where it waits.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

enum Word {
    GoOn,
    End,
}

enum Answer {
    /// Nothing to do before this time.
    Waits {
        until: u64,
    },
    Ended(Result<(), String>),
}

struct Baton {
    words: Receiver<Word>,
    answers: SyncSender<Answer>,
}

thread_local! {
    static BATON: RefCell<Option<Baton>> = const { RefCell::new(None) };
}

/// What unwinds an actor whose process has ended.
struct ProcessEnded;

/// Lets everybody else go on, at least until this time.
pub fn pause(until: u64) {
    let word = BATON.with_borrow(|baton| {
        let baton = baton.as_ref().expect("only actors wait");
        // Nobody there to hear it is the end as well.
        let _ = baton.answers.send(Answer::Waits { until });
        baton.words.recv().unwrap_or(Word::End)
    });
    if let Word::End = word {
        // What is dropped meanwhile must not wait.
        resume_unwind(Box::new(ProcessEnded));
    }
}

/// Has this thread, and those that it starts, run on the core on which it is. Since only one of them runs at a time,
/// another core would only have to be woken: runs take a quarter of the time.
pub fn stay_on_one_core() {
    // SAFETY: `sched_getcpu` has no precondition; a set of no core is all zeros, `CPU_SET` checks its bounds, and what
    // is handed over is a whole set. If the system refuses, the runs are slow.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(usize::try_from(libc::sched_getcpu()).unwrap_or(0), &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

pub struct Actor {
    words: SyncSender<Word>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    until: u64,
}

/// What has become of an actor that was let go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Went {
    OnWaiting,
    ToItsEnd,
    /// It panicked.
    Wrong(String),
}

impl Actor {
    pub fn new(body: impl FnOnce() + Send + 'static) -> Actor {
        let (words, heard) = sync_channel(1);
        let (answering, answers) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let Ok(Word::GoOn) = heard.recv() else { return };
            BATON.set(Some(Baton { words: heard, answers: answering.clone() }));
            let result = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => Ok(()),
                Err(panic) if panic.is::<ProcessEnded>() => Ok(()),
                Err(panic) => Err(text_of(&*panic)),
            };
            let _ = answering.send(Answer::Ended(result));
        });
        Actor { words, answers, thread: Some(thread), until: 0 }
    }

    pub fn is_due(&self, now: u64) -> bool {
        self.until <= now
    }

    /// It gets no time until then.
    pub fn stand_still(&mut self, until: u64) {
        self.until = self.until.max(until);
    }

    /// Lets it go on until it waits again.
    pub fn go_on(&mut self) -> Went {
        self.say(Word::GoOn)
    }

    fn say(&mut self, word: Word) -> Went {
        let answer = self.words.send(word).ok().and_then(|()| self.answers.recv().ok());
        match answer {
            Some(Answer::Waits { until }) => {
                self.until = until;
                Went::OnWaiting
            }
            Some(Answer::Ended(Err(panic))) => Went::Wrong(panic),
            Some(Answer::Ended(Ok(()))) | None => Went::ToItsEnd,
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.words.send(Word::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
