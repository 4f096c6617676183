use std::collections::BTreeMap;
use std::fmt;

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

/// What functions of a job file reach besides its text and its variables.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The caller's files; without them the functions that read files are errors.
    pub files: Option<&'a dyn ReadFile>,
    /// Where random ids and salts come from: the same seed gives the same ones.
    pub seed: [u8; 32],
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed tells the salts.
        f.debug_struct("Surroundings")
            .field("files", &self.files.is_some())
            .finish_non_exhaustive()
    }
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

    /// The paths of all regular files below a folder, relative to it, with `/` between names.
    ///
    /// # Errors
    /// When the folder cannot be read or holds too many files.
    fn list(&self, folder: &str) -> Result<Vec<String>, String>;

    /// True when the path names a regular file.
    fn exists(&self, path: &str) -> bool;

    /// The path made absolute, with a leading `~` replaced by the home directory.
    ///
    /// # Errors
    /// When the working or home directory is unknown.
    fn absolute(&self, path: &str) -> Result<String, String>;
}

/// What a job gets that does not name it itself.
#[derive(Clone, Debug)]
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
    /// Says whether there is a time zone of a name; without it, whether the name could be one.
    pub knows_zone: fn(&str) -> bool,
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
            knows_zone: |name| {
                let part = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
                name.bytes().all(part)
            },
        }
    }
}
