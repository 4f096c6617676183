# Blocks of the job below those of its groups, and those of groups below those of tasks.
job "merged" {
  type = "service"

  update {
    max_parallel = 2
    canary       = 1
  }

  reschedule {
    delay = "1m"
  }

  migrate {
    max_parallel = 3
  }

  group "web" {
    scaling {
      max = 5
    }

    disconnect {}

    consul {}

    update {
      canary      = 2
      auto_revert = true
    }

    reschedule {
      max_delay = "2h"
    }

    restart {
      attempts = 7
    }

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

      restart {
        delay = "1s"
      }

      identity {
        name = "other"
      }
    }
  }
}
