use super::Node;

impl Node {
    /// Renews `computed_class`: a name that nodes share when no constraint without `unique.` can
    /// tell them apart. The same on every machine and in every release.
    pub fn classify(&mut self) {
        self.computed_class = self.derived_class();
    }

    /// What `computed_class` should be.
    pub(crate) fn derived_class(&self) -> String {
        let mut hash = Fnv::new();
        for text in [&self.datacenter, &self.node_class, &self.node_pool] {
            hash.add(text);
        }
        for (prefix, map) in [("attr", &self.attributes), ("meta", &self.meta)] {
            for (key, value) in map {
                if !key.starts_with("unique.") {
                    hash.add(prefix);
                    hash.add(key);
                    hash.add(value);
                }
            }
        }
        for (name, volume) in &self.host_volumes {
            hash.add(if volume.read_only { "read" } else { "write" });
            hash.add(name);
        }
        for (name, driver) in &self.drivers {
            if driver.detected && driver.healthy {
                hash.add("driver");
                hash.add(name);
            }
        }
        format!("v1:{:016x}", hash.0)
    }
}

/// 64-bit FNV-1a.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
