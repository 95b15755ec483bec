//! Which boot of the machine this is.

/// Text that changes with each boot; empty where the system does not say.
pub(crate) fn id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
