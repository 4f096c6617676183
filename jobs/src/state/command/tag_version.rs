//! Names a version of a job, or takes its name away.

use crate::{
    model::{JobId, JobKey, Namespace, VersionTag},
    state::{JOB_TAGS_MAX, Rejected, Snapshot, change::Change},
};
use serde::{Deserialize, Serialize};

/// Names a version of a job, so that it is kept and found by that name; or takes the name away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TagVersion {
    /// Namespace.
    pub namespace: Namespace,
    /// Job.
    pub id: JobId,
    /// The name.
    pub name: String,
    /// Version to name; none is the one that is current when the entry is applied. Without
    /// meaning when the name is taken away.
    pub version: Option<u64>,
    /// The tag; none takes the name away from the version that has it.
    pub tag: Option<VersionTag>,
}

impl TagVersion {
    /// Where among the versions, which are newest first, the one is that changes.
    fn place(&self, tables: &Snapshot, key: &JobKey) -> Result<usize, Rejected> {
        let versions = tables.versions(key);
        let named = versions.iter().position(|job| {
            job.version_tag
                .as_ref()
                .is_some_and(|tag| tag.name == self.name)
        });
        if self.tag.is_none() {
            return named.ok_or_else(|| Rejected::NoTag {
                name: self.name.clone(),
                job: self.id.clone(),
            });
        }
        let current = tables.job(key).map_or(0, |job| job.version);
        let version = self.version.unwrap_or(current);
        let at = versions
            .iter()
            .position(|job| job.version == version)
            .ok_or_else(|| Rejected::NoVersionToTag {
                job: self.id.clone(),
                version,
            })?;
        if named.is_some_and(|named| named != at) {
            return Err(Rejected::TagTaken {
                name: self.name.clone(),
                job: self.id.clone(),
            });
        }
        let tagged = versions.iter().enumerate();
        let others = tagged.filter(|(other, job)| *other != at && job.version_tag.is_some());
        if others.count() >= JOB_TAGS_MAX {
            return Err(Rejected::TooManyTags);
        }
        Ok(at)
    }
}

impl Snapshot {
    pub(in crate::state) fn tag_version(
        &mut self,
        change: &mut Change,
        command: TagVersion,
    ) -> Result<(), Rejected> {
        let key = JobKey::new(command.namespace.clone(), command.id.clone());
        let at = command.place(self, &key)?;
        self.edit_version(change, &key, at, |job| {
            job.version_tag = command.tag.map(Box::new);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{GroupName, Job, ScalingPolicy, TaskGroup},
        state::{Command, JOB_VERSIONS_MAX, RegisterJob, ScaleJob, Stamp, State},
    };

    #[derive(Default)]
    struct World {
        state: State,
        index: u64,
    }

    impl World {
        fn apply(&mut self, command: Command) -> Result<(), Rejected> {
            self.index += 1;
            let at = Stamp {
                index: self.index,
                ..Stamp::default()
            };
            self.state.apply(at, command).map(drop)
        }

        fn register(&mut self, priority: i32) {
            let group = TaskGroup {
                name: "app".into(),
                count: 2,
                scaling: Some(Box::new(ScalingPolicy {
                    min: Some(1),
                    max: Some(4),
                    ..ScalingPolicy::default()
                })),
                ..TaskGroup::default()
            };
            let job = Job {
                id: "web".into(),
                priority,
                task_groups: vec![group].into(),
                ..Job::default()
            };
            let registration = RegisterJob {
                job,
                ..RegisterJob::default()
            };
            self.apply(Command::RegisterJob(Box::new(registration)))
                .unwrap();
        }

        fn tag(&mut self, name: &str, version: Option<u64>) -> Result<(), Rejected> {
            let tag = VersionTag {
                name: name.into(),
                ..VersionTag::default()
            };
            self.command(name, version, Some(tag))
        }

        fn untag(&mut self, name: &str) -> Result<(), Rejected> {
            self.command(name, None, None)
        }

        fn command(
            &mut self,
            name: &str,
            version: Option<u64>,
            tag: Option<VersionTag>,
        ) -> Result<(), Rejected> {
            self.apply(Command::TagVersion(Box::new(TagVersion {
                id: "web".into(),
                name: name.into(),
                version,
                tag,
                ..TagVersion::default()
            })))
        }

        /// Versions, newest first, each with its name.
        fn versions(&self) -> Vec<(u64, String)> {
            let key = JobKey::new("", "web");
            let versions = self.state.current().versions(&key).iter();
            versions
                .map(|job| {
                    let tag = job.version_tag.as_ref();
                    (
                        job.version,
                        tag.map_or_else(String::new, |tag| tag.name.clone()),
                    )
                })
                .collect()
        }

        fn scale(&mut self, count: i64) -> Result<(), Rejected> {
            self.apply(Command::ScaleJob(Box::new(ScaleJob {
                id: "web".into(),
                group: GroupName::from("app"),
                count: Some(count),
                ..ScaleJob::default()
            })))
        }
    }

    #[test]
    fn versions_with_names_are_kept_beside_the_newest() {
        let mut world = World::default();
        world.register(1);
        world.tag("first", None).unwrap();
        for priority in 2..20 {
            world.register(priority);
        }
        world.tag("last", Some(18)).unwrap();
        let versions = world.versions();
        assert_eq!(versions.first(), Some(&(18, "last".into())));
        assert_eq!(versions.last(), Some(&(0, "first".into())));
        let unnamed = versions.iter().filter(|(_, name)| name.is_empty());
        // The name of the newest makes room for one more as soon as there is one.
        assert_eq!(unnamed.count(), JOB_VERSIONS_MAX - 1);
        world.register(30);
        assert_eq!(world.versions().len(), JOB_VERSIONS_MAX + 2);
        world.untag("first").unwrap();
        assert_eq!(world.versions().len(), JOB_VERSIONS_MAX + 1);
    }

    #[test]
    fn a_name_belongs_to_one_version() {
        let mut world = World::default();
        let refused = |result: Result<(), Rejected>| result.unwrap_err().to_string();
        assert_eq!(
            refused(world.tag("a", None)),
            "job \"web\" version 0 not found"
        );
        world.register(1);
        world.register(2);
        world.tag("a", Some(0)).unwrap();
        world.tag("a", Some(0)).unwrap();
        assert_eq!(
            refused(world.tag("a", Some(1))),
            "tag \"a\" already exists on a different version of job \"web\""
        );
        assert_eq!(
            refused(world.tag("b", Some(9))),
            "job \"web\" version 9 not found"
        );
        assert_eq!(
            refused(world.untag("b")),
            "tag \"b\" not found on job \"web\""
        );
        world.untag("a").unwrap();
        assert_eq!(
            refused(world.untag("a")),
            "tag \"a\" not found on job \"web\""
        );
    }

    #[test]
    fn what_follows_a_named_version_has_no_name() {
        let mut world = World::default();
        world.register(1);
        world.tag("a", None).unwrap();
        // The same again is no new version.
        world.register(1);
        assert_eq!(world.versions(), [(0, "a".into())]);
        world.scale(3).unwrap();
        assert_eq!(world.versions(), [(1, String::new()), (0, "a".into())]);
    }

    #[test]
    fn names_have_a_bound() {
        let mut world = World::default();
        for version in 0..=JOB_TAGS_MAX {
            world.register(i32::try_from(version).unwrap() + 1);
            let named = world.tag(&version.to_string(), None);
            assert_eq!(named.is_ok(), version < JOB_TAGS_MAX, "{version}");
        }
    }

    #[test]
    fn counts_stay_within_the_bounds_of_the_policy() {
        let mut world = World::default();
        world.register(1);
        world.scale(4).unwrap();
        world.scale(1).unwrap();
        assert_eq!(
            world.scale(0).unwrap_err().to_string(),
            "group count was less than scaling policy minimum: 0 < 1"
        );
        assert_eq!(
            world.scale(5).unwrap_err().to_string(),
            "group count was greater than scaling policy maximum: 5 > 4"
        );
    }
}
