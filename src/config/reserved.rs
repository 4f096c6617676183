//! What of a machine is kept back from jobs.

use super::file::{Entry, Problem, SETTINGS};
use super::reader::Reader;
use std::collections::BTreeSet;

/// What of a machine is kept back from jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// MHz.
    pub cpu_mhz: i64,
    /// MB.
    pub memory_mb: i64,
    /// MB.
    pub disk_mb: i64,
    /// Numbers of cores.
    pub cores: BTreeSet<u16>,
    /// Ports.
    pub ports: BTreeSet<u16>,
}

impl Reserved {
    /// The ports as ranges, such as `22,8500-8600`.
    #[must_use]
    pub fn port_ranges(&self) -> String {
        ranges(&self.ports)
    }
}

/// Ports as ranges, such as `22,8500-8600`.
pub(super) fn ranges(ports: &BTreeSet<u16>) -> String {
    let mut ranges = Vec::new();
    let mut ports = ports.iter().copied().peekable();
    while let Some(first) = ports.next() {
        let mut last = first;
        while let Some(next) = ports.next_if(|&port| port - last == 1) {
            last = next;
        }
        ranges.push(if last == first {
            first.to_string()
        } else {
            format!("{first}-{last}")
        });
    }
    ranges.join(",")
}

/// The block as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenReserved {
    pub cpu: Option<u64>,
    pub memory: Option<u64>,
    pub disk: Option<u64>,
    pub cores: Option<String>,
    pub reserved_ports: Option<String>,
}

impl WrittenReserved {
    const KEYS: [&str; 5] = ["cpu", "memory", "disk", "cores", "reserved_ports"];

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            cpu: other.cpu.or(self.cpu),
            memory: other.memory.or(self.memory),
            disk: other.disk.or(self.disk),
            cores: other.cores.or(self.cores),
            reserved_ports: other.reserved_ports.or(self.reserved_ports),
        }
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "cpu" => self.cpu = reader.number(&inner),
                "memory" => self.memory = reader.number(&inner),
                "disk" => self.disk = reader.number(&inner),
                "cores" => self.cores = reader.scalar(&inner),
                "reserved_ports" => self.reserved_ports = reader.scalar(&inner),
                _ => reader.unknown(&inner, "client.reserved", &Self::KEYS),
            }
        }
    }

    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Reserved {
        let mut numbers = |key: &str, text: &Option<String>, least: u16| {
            let text = text.as_deref().unwrap_or_default();
            numbers(text, least).unwrap_or_else(|part| {
                let message = format!(
                    "`client.reserved.{key}` holds `{part}`; it must be numbers and ranges from {least} to 65535, such as `{least},22-24`"
                );
                problems.push(Problem::new(SETTINGS, message));
                BTreeSet::new()
            })
        };
        let cores = numbers("cores", &self.cores, 0);
        let ports = numbers("reserved_ports", &self.reserved_ports, 1);
        let amount = |given: Option<u64>| {
            let given = given.unwrap_or_default();
            i64::try_from(given).unwrap_or(i64::MAX)
        };
        Reserved {
            cpu_mhz: amount(self.cpu),
            memory_mb: amount(self.memory),
            disk_mb: amount(self.disk),
            cores,
            ports,
        }
    }
}

/// Numbers and ranges with commas between them.
///
/// # Errors
/// The first part that is neither, or below `least`.
pub(super) fn numbers(text: &str, least: u16) -> Result<BTreeSet<u16>, &str> {
    let mut found = BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        if part.is_empty() {
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if least <= first && first <= last => found.extend(first..=last),
            _ => return Err(part),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, ranges) in [
            ("", Ok("")),
            ("22", Ok("22")),
            (" 80, 22 ,8500-8502,8503", Ok("22,80,8500-8503")),
            ("65535,1-2,", Ok("1-2,65535")),
            ("0", Err(1)),
            ("22-21", Err(1)),
            ("65536", Err(1)),
            ("http", Err(1)),
        ] {
            let written = WrittenReserved {
                reserved_ports: Some(text.to_owned()),
                ..WrittenReserved::default()
            };
            let mut problems = Vec::new();
            let found = written.resolve(&mut problems).port_ranges();
            let found = match problems.len() {
                0 => Ok(found.as_str()),
                several => Err(several),
            };
            assert_eq!(found, ranges, "{text}");
        }
        assert_eq!(numbers("0-2", 0), Ok(BTreeSet::from([0, 1, 2])));
    }
}
