use std::collections::BTreeMap;

/// Values for the input variables of a job file, in rising order of precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// The environment of the caller: only names that begin with `NOMAD_VAR_` count.
    pub environment: BTreeMap<String, String>,
    /// Variable files in the order given; later ones win.
    pub files: Vec<VariableFile>,
    /// `name=value` flags in the order given; later ones win.
    pub flags: Vec<(String, String)>,
    /// Values for variables that the file does not declare are ignored instead of refused.
    pub tolerate_undeclared: bool,
}

/// The text of a variable file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariableFile {
    /// Name for messages.
    pub name: String,
    /// Text, in HCL or JSON.
    pub text: String,
}

/// How functions of a job file reach the file system of the caller.
///
/// Relative paths are relative to the caller's working directory. Errors are shown as they are.
pub trait ReadFile {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When the file cannot be read or is too large.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// True when the path names a regular file.
    fn exists(&self, path: &str) -> bool;

    /// The path made absolute, with a leading `~` replaced by the home directory.
    ///
    /// # Errors
    /// When the working or home directory is unknown.
    fn absolute(&self, path: &str) -> Result<String, String>;
}

/// What a job gets that does not name it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Region of the agent.
    pub region: String,
    /// Namespace of the request.
    pub namespace: String,
    /// Datacenter patterns.
    pub datacenters: Vec<String>,
    /// Node pool of the namespace.
    pub node_pool: String,
    /// Highest priority that a job may have.
    pub max_priority: i32,
    /// Most allocations that one job may ask for.
    pub max_count: u64,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            region: "global".into(),
            namespace: crate::model::DEFAULT_NAMESPACE.into(),
            datacenters: vec!["*".into()],
            node_pool: "default".into(),
            max_priority: 100,
            max_count: 50_000,
        }
    }
}
