# Work that ends: three instances count to five and stop. A failed one is tried again.
#
# Try it: trivet job run batch.nomad && trivet job status batch

job "batch" {
  datacenters = ["*"]
  type        = "batch"

  group "count" {
    count = 3

    restart {
      attempts = 2
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    task "count" {
      driver = "raw_exec"

      # `$i` without braces is the shell's; `$${…}` would be needed with them.
      config {
        command = "/bin/sh"
        args    = ["-c", "for i in 1 2 3 4 5; do echo \"instance $NOMAD_ALLOC_INDEX: $i\"; sleep 1; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
