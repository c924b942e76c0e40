//! What the module exports, in the manner of the planner's module: room for a request and for the bytes of a tensor,
//! the call, and where the answer is. All of it lies in vectors that this module owns.

use std::cell::RefCell;

use crate::case::Case;

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<String> = const { RefCell::new(String::new()) };
    static CASE: RefCell<Option<Case>> = const { RefCell::new(None) };
}

fn room(in_vector: &RefCell<Vec<u8>>, len: usize) -> *const u8 {
    let mut vector = in_vector.borrow_mut();
    vector.clear();
    vector.resize(len, 0);
    vector.as_ptr()
}

/// Makes room for a request of so many bytes of UTF-8, and says where.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn reference_text(len: usize) -> *const u8 {
    TEXT.with(|text| room(text, len))
}

/// Makes room for a result of so many bytes, and says where.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn reference_bytes(len: usize) -> *const u8 {
    BYTES.with(|bytes| room(bytes, len))
}

/// Answers the request; says how many bytes of UTF-8 the answer has.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn reference_call() -> usize {
    let answer = TEXT
        .with_borrow(|text| BYTES.with_borrow(|bytes| CASE.with_borrow_mut(|case| crate::answer(text, bytes, case))));
    ANSWER.replace(answer);
    ANSWER.with_borrow(String::len)
}

/// Where the answer to the last request is, until the next one.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn reference_answer() -> *const u8 {
    ANSWER.with_borrow(|answer| answer.as_ptr())
}
