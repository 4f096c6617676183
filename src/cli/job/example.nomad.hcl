# A job is what you want to run; this file says so. Try it with:
#
#   trivet job plan example.nomad.hcl
#   trivet job run example.nomad.hcl

job "example" {
  # "service" runs until it is stopped, "batch" runs to its end,
  # "system" runs once on every node.
  type = "service"

  # How a new version replaces the one that runs.
  update {
    # So many instances are replaced at a time.
    max_parallel = 1

    # An instance counts once it has been healthy for so long …
    min_healthy_time = "5s"

    # … and has failed when it is not healthy by then.
    healthy_deadline = "2m"

    # When the new version fails, go back to the last good one.
    auto_revert = true

    # With canaries, so many instances of the new version start beside
    # the old ones and wait for "trivet job promote example".
    # canary = 1
  }

  # The tasks of a group always run on the same node.
  group "web" {
    # How many instances of the group run.
    count = 1

    network {
      # A free port is chosen and named "http". For a fixed one write
      # port "http" { static = 8080 }.
      port "http" {}
    }

    # Listed in the catalog and in DNS as example.service.consul.
    service {
      name = "example"
      port = "http"

      # The ingress sends requests for /example here.
      tags = ["urlprefix-/example"]

      # Only instances whose check passes get requests.
      check {
        type     = "http"
        path     = "/health"
        interval = "5s"
        timeout  = "2s"
      }
    }

    # What happens when a task exits: so many restarts within the
    # interval, then the instance is replaced.
    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    task "server" {
      # raw_exec runs a program of the machine without isolation.
      driver = "raw_exec"

      config {
        command = "trivet"
        args    = ["echo", "-listen", "${NOMAD_ADDR_http}", "-text", "hello from ${NOMAD_ALLOC_ID}"]
      }

      # Shares of the machine: MHz and MB.
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
