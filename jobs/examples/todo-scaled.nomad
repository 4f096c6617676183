# Five instances on ports that the scheduler chooses, listed in the catalog and reached through the
# ingress: the tag `urlprefix-/todo` makes the route, the check decides who gets requests.
#
# `trivet` is looked up on the task's PATH, where the agent puts the directory of its own program first.
#
# Try it: curl -i http://127.0.0.1:9999/todo

job "todo" {
  datacenters = ["*"]
  type        = "service"

  group "web" {
    count = 5

    network {
      port "http" {}
    }

    task "todo" {
      driver = "raw_exec"

      # Time between leaving the catalog and the stop, for clients that still have the old address.
      shutdown_delay = "2s"

      config {
        command = "trivet"
        args = [
          "echo",
          "-listen", ":${NOMAD_PORT_http}",
          "-text", "hello",
          "-header", "X-Instance=${NOMAD_IP_http}:${NOMAD_PORT_http}",
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
