# The old form of the times at which a job is launched.
job "launched" {
  type = "batch"

  periodic {
    cron = "*/5 * * * *"
  }

  group "once" {
    task "work" {
      driver = "raw_exec"

      config {
        command = "/bin/true"
      }
    }
  }
}
