job "gateways" {
  group "in" {
    network {
      mode = "bridge"
      port "inbound" {
        static = 8080
      }
    }
    service {
      name = "ingress"
      port = "8080"
      connect {
        gateway {
          ingress {
            tls {
              tls_min_version = "TLSv1_2"
            }
            listener {
              port     = 8080
              protocol = "tcp"
              service {
                name = "api"
              }
            }
          }
        }
      }
    }
  }
  group "out" {
    network {
      mode = "bridge"
    }
    service {
      name = "leaving"
      connect {
        gateway {
          proxy {
            connect_timeout = "2s"
          }
          terminating {
            service {
              name = "database"
            }
          }
        }
        sidecar_task {
          resources {
            cpu = 700
          }
        }
      }
    }
  }
  group "between" {
    network {
      mode = "bridge"
      port "wan" {}
    }
    service {
      name = "far"
      port = "wan"
      connect {
        gateway {
          mesh {}
        }
      }
    }
  }
  group "host" {
    network {
      mode = "host"
    }
    service {
      name = "host-ingress"
      port = "8081"
      connect {
        gateway {
          proxy {
            envoy_gateway_no_default_bind = true
          }
          ingress {
            listener {
              port     = 8081
              protocol = "tcp"
              service {
                name = "api"
              }
            }
          }
        }
      }
    }
  }
}
