# The scaled job with one more response header, delivered with a canary: one instance of the new
# version runs beside the five old ones until you say that it is good.
#
# `trivet` is looked up on the task's PATH, where the agent puts the directory of its own program first.
#
# Try it: run todo-scaled.nomad, run this file, look, then
#   trivet deployment promote <deployment>

job "todo" {
  datacenters = ["*"]
  type        = "service"

  update {
    canary           = 1
    max_parallel     = 5
    min_healthy_time = "3s"
  }

  group "web" {
    count = 5

    network {
      port "http" {}
    }

    task "todo" {
      driver         = "raw_exec"
      shutdown_delay = "2s"

      config {
        command = "trivet"
        args = [
          "echo",
          "-listen", ":${NOMAD_PORT_http}",
          "-text", "hello",
          "-header", "X-Instance=${NOMAD_IP_http}:${NOMAD_PORT_http}",
          "-header", "X-Canary=yes",
        ]
      }

      service {
        name = "todo"
        port = "http"
        tags = ["urlprefix-/todo"]

        check {
          type     = "http"
          path     = "/health"
          interval = "2s"
          timeout  = "2s"
        }
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
