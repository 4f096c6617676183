//! The browser of this machine.

use super::child;
use anyhow::bail;
use std::time::Duration;
use tokio::time::timeout;

/// Programs that open an address, the first that is there.
const OPENERS: [&str; 3] = ["xdg-open", "sensible-browser", "open"];
/// How long such a program may take to hand the address on.
const OPENER_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens an address in the browser of this machine.
pub(super) async fn open(url: &str) -> anyhow::Result<()> {
    for program in OPENERS {
        let command = [program.to_owned(), url.to_owned()];
        let Ok(mut opener) = child::start(child::program(false, &command), &command) else {
            continue;
        };
        // One that stays is the browser itself, and goes on without this command.
        return match timeout(OPENER_TIMEOUT, opener.wait()).await {
            Ok(Ok(status)) if !status.success() => bail!("`{program}` did not open it"),
            _ => Ok(()),
        };
    }
    bail!(
        "no program to open addresses with: none of {}",
        OPENERS.join(", ")
    )
}
