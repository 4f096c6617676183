# One instance on every Linux node: a service that shows which node answered.
#
# `trivet` is looked up on the task's PATH, where the agent puts the directory of its own program first.
#
# Try it: curl -i http://127.0.0.1:9999/node

job "node-info" {
  datacenters = ["*"]
  type        = "system"
  priority    = 60

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  group "info" {
    network {
      port "http" {}
    }

    task "info" {
      driver         = "raw_exec"
      shutdown_delay = "1s"

      config {
        command = "trivet"
        args    = ["echo", "-listen", ":${NOMAD_PORT_http}", "-text", "${node.unique.name} in ${node.datacenter}"]
      }

      service {
        name = "node-info"
        port = "http"
        tags = ["urlprefix-/node"]

        check {
          name     = "alive"
          type     = "http"
          path     = "/health"
          interval = "5s"
          timeout  = "1s"
        }
      }
    }
  }
}
