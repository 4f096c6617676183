# When and by whom a job is launched.
job "launch" {
  type = "batch"
  periodic {
    crons            = ["0 3 * * *"]
    prohibit_overlap = true
  }
  group "g" {
    max_run_duration = "1h"
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/job"
      }
    }
  }
}
---
job "launch" {
  type = "batch"
  parameterized {
    payload       = "required"
    meta_required = ["input"]
    meta_optional = ["level", "owner"]
  }
  group "g" {
    max_run_duration = "2h"
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/job"
      }
      dispatch_payload {
        file = "input"
      }
    }
  }
}
