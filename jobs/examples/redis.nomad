# A Redis that is installed on the host, reached over TCP by its name in DNS.
#
# Needs `redis-server` on the agent's PATH.
#
# Try it: dig @127.0.0.1 -p 8600 redis.service.consul SRV, then redis-cli -p <port> ping

job "redis" {
  datacenters = ["*"]

  group "cache" {
    network {
      port "db" {}
    }

    # Keep the node and the data when an instance is replaced.
    ephemeral_disk {
      sticky = true
      size   = 300
    }

    task "redis" {
      driver         = "raw_exec"
      shutdown_delay = "2s"

      config {
        command = "redis-server"
        args    = ["--port", "${NOMAD_PORT_db}", "--dir", "${NOMAD_ALLOC_DIR}/data"]
      }

      service {
        name = "redis"
        port = "db"
        tags = ["cache"]

        check {
          name     = "alive"
          type     = "tcp"
          interval = "10s"
          timeout  = "2s"
        }
      }

      resources {
        cpu    = 200
        memory = 128
      }
    }
  }
}
