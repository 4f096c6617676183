//! The network that containers of a group share. Containers can join that of another container
//! alone, so one that does nothing holds it; processes enter the same one by its process.
//!
//! Its image is made on the spot from a program of a few instructions: nothing is pulled. The image
//! stays, the container goes with the allocation.

use super::{
    Docker, Failure, is_running, run,
    task::{ALLOC_LABEL, HOLDER_LABEL, NODE_LABEL},
};
use crate::drivers::Holder;
use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, StartContainerOptions,
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use jobs::model::AllocId;
use std::{collections::HashMap, io};

/// The image; the number is that of the program.
const IMAGE: (&str, &str) = ("trivet/pause", "1");
/// The path of the program in it.
const PROGRAM: &str = "pause";
/// Where the program is loaded.
const LOADED_AT: u64 = 0x40_0000;
/// Bytes of the two headers before its instructions.
const HEADS_BYTES: u64 = 64 + 56;

impl Docker {
    /// The container that holds the network of an allocation, made unless it runs.
    pub(super) async fn hold(
        &self,
        alloc_id: AllocId,
        node_id: &str,
        hostname: &str,
    ) -> Result<Holder, Failure> {
        let name = name(alloc_id);
        match self.inspect(&name).await? {
            Some(found) if is_running(&found) => return holder(found),
            Some(_) => run::remove(&self.daemon, &name).await?,
            None => {}
        }
        let labels = [
            (ALLOC_LABEL, alloc_id.to_string()),
            (NODE_LABEL, node_id.to_owned()),
            (HOLDER_LABEL, "1".to_owned()),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value));
        let body = ContainerCreateBody {
            image: Some(self.holder_image().await?),
            cmd: Some(vec![format!("/{PROGRAM}")]),
            hostname: Some(hostname.to_owned()).filter(|name| !name.is_empty()),
            labels: Some(HashMap::from(labels)),
            host_config: Some(HostConfig {
                network_mode: Some("none".into()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let api = self.daemon.api().await?;
        let failed = |error| self.daemon.failure(error);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let made = api.create_container(Some(options), body).await;
        let id = made.map_err(failed)?.id;
        let started = api
            .start_container(&id, None::<StartContainerOptions>)
            .await;
        if let Err(error) = started {
            run::remove(&self.daemon, &id).await.ok();
            return Err(failed(error));
        }
        match self.inspect(&id).await? {
            Some(found) if is_running(&found) => holder(found),
            _ => Err(Failure::Failed(format!(
                "the container `{name}`, which holds the network, ended at once"
            ))),
        }
    }

    /// Removes the container that holds the network of an allocation.
    pub(super) async fn release(&self, alloc_id: AllocId) -> Result<(), Failure> {
        run::remove(&self.daemon, &name(alloc_id)).await
    }

    async fn holder_image(&self) -> Result<String, Failure> {
        let (repository, tag) = IMAGE;
        let image = format!("{repository}:{tag}");
        if let Some(id) = self.images.find(&image).await? {
            return Ok(id);
        }
        let archive = archive().map_err(|error| Failure::Failed(error.to_string()))?;
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repository)
            .tag(tag)
            .build();
        let api = self.daemon.api().await?;
        let body = bollard::body_full(Bytes::from(archive));
        let mut said = std::pin::pin!(api.create_image(Some(options), Some(body), None));
        while let Some(said) = said.next().await {
            said.map_err(|error| self.daemon.failure(error))?;
        }
        Ok(image)
    }
}

fn name(alloc_id: AllocId) -> String {
    format!("nomad_init_{alloc_id}")
}

fn holder(found: bollard::models::ContainerInspectResponse) -> Result<Holder, Failure> {
    let pid = found.state.and_then(|state| state.pid);
    let pid = pid.filter(|pid| *pid > 0);
    Ok(Holder {
        container: found.id.unwrap_or_default(),
        pid: pid.ok_or_else(|| {
            Failure::Failed("the daemon does not say which process holds the network".into())
        })?,
    })
}

/// The file system of the image: one program.
fn archive() -> io::Result<Vec<u8>> {
    let program = program();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    archive.append_data(&mut header, PROGRAM, &*program)?;
    archive.into_inner()
}

/// A program that waits without end: headers, and a system call in a loop.
fn program() -> Vec<u8> {
    /// `ET_EXEC` and the version of the format.
    const EXECUTABLE: (u16, u32) = (2, 1);
    /// Pages are aligned so on both machines.
    const ALIGNMENT: u64 = 0x1_0000;
    let (machine, instructions) = instructions();
    let length = HEADS_BYTES + instructions.len() as u64;
    let mut file = Vec::new();
    // Identification: 64 bits, the lower byte first.
    file.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(EXECUTABLE.0.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(EXECUTABLE.1.to_le_bytes());
    // Where it begins; where the headers of parts and of sections are.
    for number in [LOADED_AT + HEADS_BYTES, 64, 0] {
        file.extend(number.to_le_bytes());
    }
    // Flags; then sizes and counts of headers: one part, no sections.
    file.extend(0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    // The part: loaded, to be read and executed.
    for number in [1_u32, 5] {
        file.extend(number.to_le_bytes());
    }
    for number in [0, LOADED_AT, LOADED_AT, length, length, ALIGNMENT] {
        file.extend(number.to_le_bytes());
    }
    file.extend(instructions);
    file
}

/// The machine's number, and what it does: `pause` or, where that is not there, `ppoll` of nothing,
/// again and again.
#[cfg(not(target_arch = "aarch64"))]
fn instructions() -> (u16, Vec<u8>) {
    (62, vec![0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7])
}

/// The machine's number, and what it does: `ppoll` of nothing, again and again.
#[cfg(target_arch = "aarch64")]
fn instructions() -> (u16, Vec<u8>) {
    let words: [u32; 8] = [
        0xd280_0000,
        0xd280_0001,
        0xd280_0002,
        0xd280_0003,
        0xd280_0004,
        0xd280_0928,
        0xd400_0001,
        0x17ff_fff9,
    ];
    (
        183,
        words.iter().flat_map(|word| word.to_le_bytes()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::{fs::PermissionsExt, process::ExitStatusExt},
        process::Command,
    };

    #[test]
    fn the_program_of_the_image_waits_until_it_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRAM);
        tar::Archive::new(&*archive().unwrap())
            .unpack(dir.path())
            .unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let mut child = loop {
            match Command::new(&path).spawn() {
                // A child of another test holds the file open for writing until it is a program.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                spawned => break spawned.unwrap(),
            }
        };
        // It has no way to end by itself: whatever it does wrong kills it by another signal.
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            match stat.split_whitespace().nth(2) {
                Some("S") => break,
                Some("Z" | "X") => panic!("it ended: {stat}"),
                _ => std::thread::yield_now(),
            }
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
