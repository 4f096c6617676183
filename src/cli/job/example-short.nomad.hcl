job "example" {
  group "web" {
    network {
      port "http" {}
    }

    service {
      name = "example"
      port = "http"
      tags = ["urlprefix-/example"]

      check {
        type     = "http"
        path     = "/health"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "trivet"
        args    = ["echo", "-listen", "${NOMAD_ADDR_http}"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
