job "mesh" {
  meta {
    tier = "front"
  }
  group "plain" {
    network {
      mode = "bridge"
    }
    service {
      name = "${JOB}-${NOMAD_META_tier}-${NOMAD_GROUP_NAME}"
      port = "9001"
      connect {
        sidecar_service {}
      }
    }
    task "web" {
      driver = "docker"
      config {
        image = "web:1"
      }
    }
  }
  group "changed" {
    network {
      mode = "bridge"
      port "proxy" {
        to = 20000
      }
    }
    service {
      name = "api"
      port = "9002"
      connect {
        sidecar_service {
          port = "proxy"
        }
        sidecar_task {
          name           = "envoy"
          user           = "nobody"
          kill_signal    = "SIGTERM"
          kill_timeout   = "20s"
          shutdown_delay = "1s"
          config {
            force_pull = true
          }
          env {
            A = "b"
          }
          meta {
            c = "d"
          }
          resources {
            cpu    = 500
            memory = 64
          }
          logs {
            max_files = 3
          }
        }
      }
    }
    task "api" {
      driver = "docker"
      config {
        image = "api:1"
      }
    }
  }
  group "podman" {
    network {
      mode = "bridge"
    }
    service {
      name = "cache"
      port = "9003"
      connect {
        sidecar_service {}
        sidecar_task {
          resources {
            memory = 256
          }
        }
      }
    }
    service {
      name    = "other"
      port    = "9004"
      cluster = "west"
      connect {
        sidecar_service {}
        sidecar_task {
          driver = "exec"
          config {
            command = "envoy"
          }
        }
      }
    }
    task "cache" {
      driver = "podman"
      config {
        image = "cache:1"
      }
    }
  }
  group "native" {
    network {
      port "http" {}
    }
    service {
      name = "native"
      port = "http"
      connect {
        native = true
      }
    }
    task "only" {
      driver = "raw_exec"
      config {
        command = "true"
      }
    }
  }
}
