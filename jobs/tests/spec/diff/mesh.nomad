# Parts of the mesh inside a service.
job "mesh" {
  group "g" {
    network {
      mode = "bridge"
      port "http" {}
    }
    service {
      name = "web"
      port = "9001"
      connect {
        sidecar_service {
          proxy {
            local_service_port = 5
            upstreams {
              destination_name = "db"
              local_bind_port  = 7
            }
            upstreams {
              destination_name = "cache"
              local_bind_port  = 8
            }
            config {
              protocol = "http"
            }
          }
        }
        sidecar_task {
          name = "proxy"
          resources {
            cpu = 50
          }
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
---
job "mesh" {
  group "g" {
    network {
      mode = "bridge"
      port "http" {}
    }
    service {
      name = "web"
      port = "9001"
      connect {
        sidecar_service {
          tags = ["proxy"]
          proxy {
            local_service_port = 6
            upstreams {
              destination_name = "db"
              local_bind_port  = 9
              mesh_gateway {
                mode = "local"
              }
            }
            expose {
              path {
                path            = "/health"
                protocol        = "http"
                local_path_port = 5
                listener_port   = "http"
              }
            }
            transparent_proxy {
              uid          = "101"
              exclude_uids = ["1"]
            }
            config {
              protocol = "grpc"
            }
          }
        }
        sidecar_task {
          name = "proxy"
          logs {
            max_files = 2
          }
          resources {
            cpu    = 60
            memory = 70
          }
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
