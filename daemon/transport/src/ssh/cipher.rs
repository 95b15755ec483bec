//! Which cipher is the fastest on this machine. Pure.

/// Moves the ciphers that the processor computes by itself to the front, the shorter key first, as OpenSSH has it. The order
/// of the others stays. All of them are good enough for whoever allows them.
pub(crate) fn fastest_first(ciphers: &mut [impl AsRef<str>]) {
    if !has_aes() {
        return;
    }
    let is_gcm = |one: &str| one.contains("-gcm@");
    ciphers.sort_by(|a, b| {
        let (a, b) = (a.as_ref(), b.as_ref());
        let order = is_gcm(b).cmp(&is_gcm(a));
        order.then_with(|| {
            if is_gcm(a) {
                a.cmp(b)
            } else {
                std::cmp::Ordering::Equal
            }
        })
    });
}

/// Whether the processor computes AES by itself, which makes AES-GCM the fastest cipher there is; without, it is slow.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_processor_does_comes_first_and_the_rest_stays() {
        let mut ciphers = [
            "b-ctr",
            "aes256-gcm@openssh.com",
            "a-ctr",
            "aes128-gcm@openssh.com",
        ];
        fastest_first(&mut ciphers);
        if has_aes() {
            assert_eq!(
                ciphers,
                [
                    "aes128-gcm@openssh.com",
                    "aes256-gcm@openssh.com",
                    "b-ctr",
                    "a-ctr"
                ]
            );
        } else {
            assert_eq!(ciphers[0], "b-ctr");
        }
    }
}
