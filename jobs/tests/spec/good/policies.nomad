job "policies" {
  type = "service"
  update {
    stagger      = "1h30m"
    max_parallel = 2
  }
  reschedule {
    delay     = "1m"
    unlimited = true
  }
  spread {
    attribute = "${node.datacenter}"
    target "dc1" {
      percent = 70
    }
  }
  affinity {
    attribute    = "${meta.tags}"
    set_contains = "a,b"
    weight       = -20
  }
  group "g" {
    update {
      canary = 1
    }
    ephemeral_disk {
      size = "500"
    }
    network {
      mode = "host"
      port "web" {
        static       = 8080
        host_network = "public"
      }
      port "any" { to = -1 }
    }
    task "init" {
      driver = "exec"
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      logs {
        max_files = 3
      }
      artifact {
        source      = "https://example.com/a.tgz"
        destination = "local/a"
        options {
          checksum = "md5:d41d8cd98f00b204e9800998ecf8427e"
        }
      }
    }
    task "main" {
      driver       = "exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "20s"
    }
  }
}
