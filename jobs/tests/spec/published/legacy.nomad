# Old forms: a task below the job, a network below the task, ports mapped in the driver's options.
job "legacy" {
  datacenters = ["dc1"]

  task "server" {
    driver = "docker"
    config {
      image = "server:1"
      port_map {
        http = 8080
      }
      labels {
        owner = "team"
      }
    }
    resources {
      cpu    = 100
      memory = 64
      iops   = 5
      network {
        mbits = 10
        port "http" {
          static = 80
        }
        port "admin" {}
      }
    }
    service {
      port = "http"
      check {
        type     = "http"
        path     = "/"
        interval = "2s"
        timeout  = "2s"
      }
    }
  }
}
