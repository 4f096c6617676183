job "web" {
  priority    = 50
  datacenters = ["dc1"]
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }
  group "web" {
    count = 2
    network {
      port "http" {}
    }
    task "server" {
      driver       = "raw_exec"
      kill_timeout = "5s"
      config {
        command = "run"
        args    = ["a", "b"]
      }
      env {
        A = "1"
        B = "2"
      }
      service {
        name = "web"
        port = "http"
        tags = ["one", "two"]
        check {
          name     = "alive"
          type     = "tcp"
          interval = "10s"
          timeout  = "2s"
        }
      }
    }
    task "side" {
      driver = "raw_exec"
    }
  }
  group "old" {
    task "t" {
      driver = "raw_exec"
    }
  }
}
---
job "web" {
  priority    = 60
  datacenters = ["dc1", "dc2"]
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "darwin"
  }
  group "web" {
    count = 4
    update {
      canary = 1
    }
    network {
      port "http" {}
      port "admin" { static = 9000 }
    }
    task "server" {
      driver       = "raw_exec"
      kill_timeout = "5s"
      config {
        command = "run"
        args    = ["a", "c", "d"]
      }
      env {
        A = "1"
        B = "3"
      }
      service {
        name = "web"
        port = "http"
        tags = ["one", "three"]
        check {
          name     = "alive"
          type     = "tcp"
          interval = "20s"
          timeout  = "2s"
        }
      }
    }
    task "side" {
      driver       = "raw_exec"
      kill_timeout = "9s"
    }
  }
  group "new" {
    task "t" {
      driver = "raw_exec"
    }
  }
}
