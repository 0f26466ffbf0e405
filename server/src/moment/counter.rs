//! The processor's time stamp counter: the cheapest clock there is.

/// The counter's value. Only differences mean anything, and only if [`is_trusted_by_kernel`].
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn read() -> u64 {
    // SAFETY: the instruction reads a register and does nothing else; every x86-64 processor has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The counter's value: there is none on this processor.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn read() -> u64 {
    0
}

/// Whether the kernel tells time by this counter: then it ticks evenly, and alike on all cores.
pub fn is_trusted_by_kernel() -> bool {
    const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64") && std::fs::read_to_string(CURRENT).is_ok_and(|source| source.trim() == "tsc")
}
