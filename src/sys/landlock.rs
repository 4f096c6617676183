//! What the kernel offers programs that restrict themselves.

/// Asks for the version instead of making rules.
const ASK_VERSION: nix::libc::c_uint = 1;

/// Version of the kernel's Landlock; none when it is missing or switched off.
#[expect(unsafe_code, reason = "the call has no safe form")]
pub fn version() -> Option<u32> {
    let none = std::ptr::null::<nix::libc::c_void>();
    // SAFETY: with this flag the kernel reads no memory, and it returns a number.
    let version = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_landlock_create_ruleset,
            none,
            0_usize,
            ASK_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}
