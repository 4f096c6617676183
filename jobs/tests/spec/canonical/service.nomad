# What a job of this type has when nothing is said.
job "plain" {
  type = "service"

  group "web" {
    network {
      port "http" {}
    }

    service {
      port = "http"

      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }

      check_restart {
        limit = 2
      }
    }

    volume "data" {
      type   = "host"
      source = "data"
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "true"
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
      }

      template {
        data        = "x"
        destination = "local/x"
      }

      artifact {
        source = "https://example.com/a.tgz"
      }

      vault {}

      identity {
        name = "other"
      }
    }
  }
}
