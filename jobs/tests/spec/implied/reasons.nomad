# What a job asks of its nodes without saying so.
job "reasons" {
  group "catalog" {
    network {
      port "http" {}
    }
    service {
      name = "front"
      port = "http"
    }
    task "web" {
      driver = "raw_exec"
      config {
        command = "/bin/web"
      }
      service {
        name = "admin"
        port = "http"
      }
    }
    task "plain" {
      driver = "raw_exec"
      config {
        command = "/bin/plain"
      }
    }
  }

  group "native" {
    network {
      port "db" {}
    }
    service {
      name     = "db"
      provider = "nomad"
    }
    task "db" {
      driver = "raw_exec"
      config {
        command = "/bin/db"
      }
      service {
        name     = "db-admin"
        port     = "db"
        provider = "nomad"
        check {
          type     = "tcp"
          interval = "10s"
          timeout  = "1s"
        }
      }
    }
  }

  # Its own wish stands in the place of what would be added.
  group "asked" {
    constraint {
      attribute = "${attr.consul.version}"
      operator  = "semver"
      value     = ">= 1.20.0"
    }
    service {
      name = "choosy"
    }
    task "choosy" {
      driver = "raw_exec"
      config {
        command = "/bin/choosy"
      }
    }
  }

  group "signals" {
    task "one" {
      driver      = "raw_exec"
      kill_signal = "SIGUSR2"
      config {
        command = "/bin/one"
      }
      template {
        data          = "x"
        destination   = "local/x"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }
    }
    task "two" {
      driver = "raw_exec"
      config {
        command = "/bin/two"
      }
      vault {
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }
    }
  }

  group "tokens" {
    service {
      name = "signed"
      port = "80"
      identity {
        aud = ["elsewhere"]
      }
    }
    task "signed" {
      driver = "raw_exec"
      config {
        command = "/bin/signed"
      }
      consul {
        partition = "east"
      }
      identity {
        name = "bucket"
        aud  = ["store"]
      }
      secret "password" {
        provider = "nomad"
        path     = "app/password"
      }
      resources {
        cores = 2
        numa {
          affinity = "prefer"
        }
      }
    }
  }

  group "apart" {
    network {
      mode = "bridge"
    }
    task "apart" {
      driver = "raw_exec"
      config {
        command = "/bin/apart"
      }
      schedule {
        cron {
          start = "0 30 9 * * *"
          end   = "0 16"
        }
      }
    }
  }
}
