# Services find each other by name, port and place; checks by name; networks are replaced as a whole.
job "services" {
  group "g" {
    network {
      port "http" {
        to = 80
      }
      port "admin" {
        static = 9000
      }
      dns {
        servers = ["192.0.2.1", "192.0.2.2"]
      }
    }
    service {
      name = "web"
      port = "http"
      tags = ["a", "b"]
      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
        header {
          Accept = ["text/plain", "text/html"]
        }
      }
    }
    service {
      name = "admin"
      port = "admin"
      weights {
        passing = 5
      }
    }
    service {
      name = "gone"
      port = "1"
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/web"
      }
    }
  }
}
---
job "services" {
  group "g" {
    network {
      port "http" {
        to = 8080
      }
      port "admin" {
        static = 9000
      }
      dns {
        servers = ["192.0.2.1"]
        options = ["ndots:2"]
      }
    }
    service {
      name = "control"
      port = "admin"
      weights {
        passing = 7
        warning = 2
      }
    }
    service {
      name = "web"
      port = "http"
      tags = ["b", "c"]
      canary_tags = ["new"]
      meta {
        owner = "team"
      }
      check {
        name     = "alive"
        type     = "tcp"
        interval = "10s"
        timeout  = "2s"
      }
      check {
        type     = "http"
        path     = "/"
        interval = "20s"
        timeout  = "2s"
        header {
          Accept = ["text/html"]
        }
        check_restart {
          limit = 3
        }
      }
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/web"
      }
    }
  }
}
