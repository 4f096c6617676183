job "later" {
  periodic {
    cron = "@daily"
  }
  parameterized {}
  multiregion {}
  vault {}
  group "g" {
    volume "data" {
      type = "host"
    }
    scaling {
      max = 5
    }
    disconnect {}
    max_run_duration = "5m"
    network {
      mode = "bridge"
      dns {}
    }
    service {
      connect {
        sidecar_service {}
      }
    }
    task "t" {
      driver = "docker"
      volume_mount {}
      secret "s" {}
      action "a" {}
      csi_plugin {}
      resources {
        device "nvidia/gpu" {}
        numa {}
      }
      template {
        destination = "x"
        wait {}
      }
    }
  }
}
