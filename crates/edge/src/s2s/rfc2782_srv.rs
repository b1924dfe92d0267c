//! The order in which the servers of a domain are tried (RFC 2782).

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    /// A host name, fully qualified.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether TLS comes first (XEP-0368).
    pub(super) is_direct_tls: bool,
    /// Whether it is signed (RFC 7673 §3.1).
    pub(super) is_secure: bool,
}

/// By priority, and among equals by chance in proportion to the weights.
pub(super) fn ordered(services: Vec<Service>) -> Vec<Service> {
    ordered_by(services, random)
}

/// `random` gives a number up to and including its argument.
fn ordered_by(mut services: Vec<Service>, mut random: impl FnMut(u32) -> u32) -> Vec<Service> {
    services.sort_by_key(|s| (s.priority, s.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let priority = first.priority;
        let equals = services.iter().take_while(|s| s.priority == priority);
        let total: u32 = equals.map(|s| u32::from(s.weight)).sum();
        let mut rest = random(total);
        let mut chosen = 0;
        for (at, service) in services.iter().enumerate() {
            if service.priority != priority {
                break;
            }
            chosen = at;
            match rest.checked_sub(u32::from(service.weight)) {
                Some(left) if left > 0 => rest = left,
                _ => break,
            }
        }
        ordered.push(services.remove(chosen));
    }
    ordered
}

fn random(up_to: u32) -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the order is the one of the records: still a valid one.
    let _ = getrandom::fill(&mut bytes);
    u32::from_le_bytes(bytes) % up_to.saturating_add(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service {
            priority,
            weight,
            host: host.into(),
            port: 5269,
            is_direct_tls: false,
            is_secure: false,
        }
    }

    #[test]
    fn lower_priorities_first_and_weights_among_equals() {
        let services = vec![
            service(20, 0, "c"),
            service(10, 30, "b"),
            service(10, 10, "a"),
            service(5, 0, "z"),
        ];
        let order = |pick: u32| -> Vec<String> {
            ordered_by(services.clone(), |up_to| pick.min(up_to))
                .into_iter()
                .map(|s| s.host)
                .collect()
        };
        assert_eq!(order(0), ["z", "a", "b", "c"]);
        assert_eq!(order(10), ["z", "a", "b", "c"]);
        assert_eq!(order(11), ["z", "b", "a", "c"]);
        assert_eq!(order(40), ["z", "b", "a", "c"]);
    }
}
