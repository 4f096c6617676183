# Two services that reach each other through sidecars: the dashboard asks the API for a number, and
# both see nothing but their own network. It needs nodes that run containers and sidecars; where
# there is none, the job is registered and waits.
job "countdash" {
  group "api" {
    # A network of its own: what listens here is reached through the sidecar only.
    network {
      mode = "bridge"
    }

    service {
      name = "count-api"
      port = "9001"

      # The sidecar takes connections of other services and checks who they are.
      connect {
        sidecar_service {}
      }
    }

    task "web" {
      driver = "docker"

      config {
        image = "hashicorpdev/counter-api:v3"
      }
    }
  }

  group "dashboard" {
    network {
      mode = "bridge"

      # People reach the dashboard from outside, on this port of the node.
      port "http" {
        static = 9002
        to     = 9002
      }
    }

    service {
      name = "count-dashboard"
      port = "http"

      connect {
        sidecar_service {
          proxy {
            # The API answers on this port of the task's own loopback interface.
            upstreams {
              destination_name = "count-api"
              local_bind_port  = 8080
            }
          }
        }
      }
    }

    task "dashboard" {
      driver = "docker"

      env {
        # Host and port of the upstream, as the sidecar offers it.
        COUNTING_SERVICE_URL = "http://${NOMAD_UPSTREAM_ADDR_count_api}"
      }

      config {
        image = "hashicorpdev/counter-dashboard:v3"
      }
    }
  }
}
