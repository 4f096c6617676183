# The todo job whose next version is let in step by step and judged by what it does: 10 % of the
# requests, then 50 %, then all of them, or none at all as soon as it is clear that it fails.
#
# Try it: run this file, send requests, and run it again with another text; then with
#   -var text=bad -var error_rate=1
# and look with `trivet rollout status todo` and `trivet deployment why todo`.

variable "text" {
  type    = string
  default = "hello"
}

variable "error_rate" {
  type    = string
  default = "0"
}

job "todo" {
  update {
    canary           = 1
    max_parallel     = 3
    min_healthy_time = "3s"
    auto_promote     = true
  }

  group "web" {
    count = 3

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
          "-text", var.text,
          "-error-rate", var.error_rate,
        ]
      }

      service {
        name = "todo"
        port = "http"
        tags = ["urlprefix-/todo"]

        meta {
          rollout_steps  = "10,50"
          rollout_hold   = "20s"
          rollout_warmup = "1s"
        }

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
