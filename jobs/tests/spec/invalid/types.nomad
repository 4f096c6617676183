job "types" {
  type = "system"
  reschedule {
    attempts = 1
  }
  group "a" {
    count = 2
    migrate {}
    affinity {
      attribute = "${node.class}"
      value     = "x"
    }
    task "only" {
      driver = "raw_exec"
      lifecycle {
        hook = "prestart"
      }
    }
  }
}
