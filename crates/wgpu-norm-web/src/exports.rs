//! What the module exports. A caller asks for room, writes the request there, calls, and reads the answer.
//!
//! Both texts lie in vectors that this module owns, so that nothing here has to trust a pointer of the caller's.

use std::cell::RefCell;

thread_local! {
    static REQUEST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes room for a request of so many bytes of UTF-8, and says where.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn request(len: usize) -> *const u8 {
    REQUEST.with_borrow_mut(|request| {
        request.clear();
        request.resize(len, 0);
        request.as_ptr()
    })
}

/// Answers the request; says how many bytes of UTF-8 the answer has.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn call() -> usize {
    let answer = REQUEST.with_borrow(|request| crate::answer(&String::from_utf8_lossy(request)));
    ANSWER.replace(answer);
    ANSWER.with_borrow(String::len)
}

/// Where the answer to the last request is, until the next one.
#[allow(unsafe_code, reason = "an export has to have its name")]
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> *const u8 {
    ANSWER.with_borrow(|answer| answer.as_ptr())
}
