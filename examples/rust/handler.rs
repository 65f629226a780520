//! A function in Rust, without any crate: it counts the words of the event and returns how often each comes, the most frequent first.
//!
//!     rustc --edition 2021 --crate-type cdylib -O -C panic=abort -o handler.so handler.rs
//!     pipsqueak deploy .
//!
//! The structures are those of pipsqueak.h, as far as they are used. A panic ends the process, and its signal is what the caller gets.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, CString};
use std::slice;

#[repr(C)]
pub struct Context {
    abi: u32,
    depth: u32,
    calls: *const Calls,
}

#[repr(C)]
pub struct Calls {
    result: unsafe extern "C" fn(*mut Context, *const c_char, usize),
    error: unsafe extern "C" fn(*mut Context, *const c_char, *const c_char),
    invoke: unsafe extern "C" fn(*mut Context, *const c_char, *const c_char, usize, *mut u8) -> c_int,
}

/// Returns the counts as JSON. Words are letters, so none needs an escape.
fn count(text: &str) -> Result<String, String> {
    let mut words: HashMap<String, usize> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()) {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
    if words.is_empty() {
        return Err("the event has no words".into());
    }
    let mut sorted: Vec<_> = words.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let items: Vec<_> = sorted.iter().map(|(word, n)| format!("[\"{word}\",{n}]")).collect();
    Ok(format!("[{}]", items.join(",")))
}

#[no_mangle]
pub unsafe extern "C" fn handler(context: *mut Context, event: *const c_char, size: usize) {
    let calls = &*(*context).calls;
    let event = String::from_utf8_lossy(slice::from_raw_parts(event.cast(), size));
    match count(&event) {
        Ok(json) => (calls.result)(context, json.as_ptr().cast(), json.len()),
        Err(why) => {
            let why = CString::new(why).unwrap_or_default();
            (calls.error)(context, b"NoWords\0".as_ptr().cast(), why.as_ptr())
        }
    }
}
