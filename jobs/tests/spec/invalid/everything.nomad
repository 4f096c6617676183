job "has space" {
  type        = "servce"
  priority    = 500
  datacenters = [""]
  constraint {
    attribute = "${attr.x}"
    operator  = "like"
    value     = "y"
  }
  constraint {
    attribute = "${attr.x}"
    regexp    = "("
  }
  affinity {
    attribute = "${attr.x}"
    value     = "y"
    weight    = 0
  }
  spread {
    attribute = "${node.datacenter}"
    weight    = 500
    target "a" { percent = 70 }
    target "b" { percent = 60 }
  }
  group "web" {
    count = -1
    update {
      canary            = -1
      auto_promote      = true
      min_healthy_time  = "10m"
      healthy_deadline  = "5m"
      progress_deadline = "1m"
      health_check      = "maybe"
    }
    restart {
      mode     = "later"
      interval = "1s"
    }
    reschedule {
      attempts  = 3
      interval  = "1m"
      delay     = "1m"
      max_delay = "10m"
      unlimited = false
    }
    migrate {
      health_check = "x"
    }
    ephemeral_disk {
      size = 5
    }
    network {
      mode = "bridge"
      port "http" { static = 80 }
      port "http" { static = 80 }
      port "big" { static = 70000 }
      port "to" { to = 70000 }
    }
    service {
      name         = "under_score"
      port         = "nope"
      provider     = "eureka"
      address_mode = "driver"
    }
    task "a" {
      driver       = ""
      kill_timeout = "1h"
      leader       = true
      resources {
        cpu        = 0
        memory     = 5
        memory_max = 1
        disk       = 5
      }
      constraint {
        distinct_hosts = true
      }
      artifact {
        source      = "https://example.com/x"
        destination = "../../../etc"
        mode        = "folder"
        options {
          checksum = "md5:12"
        }
      }
      template {
        destination = "../../x"
        change_mode = "script"
        perms       = "rwx"
      }
      service {
        name = "a"
        port = "missing"
        check {
          name     = "c"
          type     = "grpc"
          interval = "500ms"
          timeout  = "2s"
        }
        check {
          name     = "c"
          type     = "http"
          port     = "gone"
          interval = "5s"
        }
      }
    }
    task "a" {
      driver = "raw_exec"
      leader = true
    }
    task "alloc/x" {
      driver = "raw_exec"
      lifecycle {
        hook = "never"
      }
    }
  }
  group "web" {}
}
