# Tasks at the edge of the mesh.
job "gateway" {
  group "g" {
    network {
      mode = "bridge"
      port "http" {}
    }
    service {
      name = "edge"
      port = "9002"
      connect {
        gateway {
          proxy {
            connect_timeout = "3s"
            envoy_gateway_bind_addresses "all" {
              address = "::"
              port    = 88
            }
          }
          ingress {
            listener {
              port     = 8080
              protocol = "http"
              service {
                name  = "web"
                hosts = ["a.example.com"]
              }
            }
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
job "gateway" {
  group "g" {
    network {
      mode = "bridge"
      port "http" {}
    }
    service {
      name = "edge"
      port = "9002"
      connect {
        gateway {
          proxy {
            connect_timeout = "4s"
            envoy_gateway_bind_addresses "all" {
              address = "::"
              port    = 89
            }
          }
          ingress {
            tls {
              enabled       = true
              cipher_suites = ["A"]
            }
            listener {
              port     = 8080
              protocol = "http"
              service {
                name            = "web"
                hosts           = ["b.example.com"]
                max_connections = 5
                request_headers {
                  add {
                    A = "b"
                  }
                  remove = ["C"]
                }
              }
              service {
                name  = "api"
                hosts = ["api.example.com"]
              }
            }
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
