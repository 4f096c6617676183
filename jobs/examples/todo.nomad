# One instance of a small HTTP service on a port of your choice.
#
# `trivet` is looked up on the task's PATH, where the agent puts the directory of its own program
# first: nothing needs to be downloaded or installed.
#
# Try it: curl -i http://127.0.0.1:9999/todo, or directly: curl -i http://127.0.0.1:8080/todo

job "todo" {
  datacenters = ["*"]
  type        = "service"

  group "web" {
    count = 1

    network {
      port "http" {
        static = 8080
      }
    }

    service {
      name = "todo"
      port = "http"
      tags = ["urlprefix-/todo"]

      check {
        type     = "http"
        path     = "/health"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "todo" {
      driver = "raw_exec"

      config {
        command = "trivet"
        args    = ["echo", "-listen", ":${NOMAD_PORT_http}", "-text", "hello"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
