//! The symbols of zlib-ng that flate2 asks for, forwarded to zlib-rs (zlib written in Rust).
//!
//! The proxy library turns on flate2's zlib-ng back end, whose own build needs cmake. This package
//! takes its place through `[patch.crates-io]`, so that a C compiler is enough to build.
#![no_std]
#![allow(non_camel_case_types, non_snake_case, clippy::missing_safety_doc, missing_docs)]

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use libz_rs_sys as z;

pub type uInt = c_uint;
pub type z_streamp = *mut z_stream;
pub type alloc_func = unsafe extern "C" fn(*mut c_void, c_uint, c_uint) -> *mut c_void;
pub type free_func = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// The stream of zlib, with the allocator pointers as flate2 expects them: plain, never null.
#[repr(C)]
pub struct z_stream {
    pub next_in: *mut u8,
    pub avail_in: c_uint,
    pub total_in: c_ulong,
    pub next_out: *mut u8,
    pub avail_out: c_uint,
    pub total_out: c_ulong,
    pub msg: *const c_char,
    pub state: *mut c_void,
    pub zalloc: alloc_func,
    pub zfree: free_func,
    pub opaque: *mut c_void,
    pub data_type: c_int,
    pub adler: c_ulong,
    pub reserved: c_ulong,
}

const _: () = assert!(size_of::<z_stream>() == size_of::<z::z_stream>());
const _: () = assert!(align_of::<z_stream>() == align_of::<z::z_stream>());

macro_rules! forward {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        /// Forwards to the function of the same name.
        pub unsafe fn $name(stream: z_streamp, $($arg: $ty),*) -> c_int {
            // SAFETY: both streams have the same layout (asserted above); the caller keeps zlib's
            // contract.
            unsafe { z::$name(stream.cast(), $($arg),*) }
        }
    )*};
}

forward! {
    deflate(flush: c_int);
    deflateEnd();
    deflateReset();
    deflateParams(level: c_int, strategy: c_int);
    deflateSetDictionary(dictionary: *const u8, length: c_uint);
    deflateInit2_(level: c_int, method: c_int, bits: c_int, memory: c_int, strategy: c_int, version: *const c_char, size: c_int);
    inflate(flush: c_int);
    inflateEnd();
    inflateReset();
    inflateReset2(bits: c_int);
    inflateSetDictionary(dictionary: *const u8, length: c_uint);
    inflateInit2_(bits: c_int, version: *const c_char, size: c_int);
}

pub fn zlibVersion() -> *const c_char {
    z::zlibVersion()
}

pub const Z_NO_FLUSH: c_int = 0;
pub const Z_PARTIAL_FLUSH: c_int = 1;
pub const Z_SYNC_FLUSH: c_int = 2;
pub const Z_FULL_FLUSH: c_int = 3;
pub const Z_FINISH: c_int = 4;
pub const Z_BLOCK: c_int = 5;
pub const Z_OK: c_int = 0;
pub const Z_STREAM_END: c_int = 1;
pub const Z_NEED_DICT: c_int = 2;
pub const Z_ERRNO: c_int = -1;
pub const Z_STREAM_ERROR: c_int = -2;
pub const Z_DATA_ERROR: c_int = -3;
pub const Z_MEM_ERROR: c_int = -4;
pub const Z_BUF_ERROR: c_int = -5;
pub const Z_VERSION_ERROR: c_int = -6;
pub const Z_DEFAULT_STRATEGY: c_int = 0;
pub const Z_DEFLATED: c_int = 8;
