# Blocks of a task: what is matched by name, by place, by destination, and what shows context.
job "blocks" {
  ui {
    description = "Before"
    link {
      label = "docs"
      url   = "https://docs.example.com"
    }
  }
  group "g" {
    volume "data" {
      type   = "csi"
      source = "disk"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
      mount_options {
        fs_type     = "ext4"
        mount_flags = ["ro", "noatime"]
      }
    }
    scaling {
      min = 1
      max = 5
      policy {
        cooldown = "1m"
        target   = 1000000
      }
    }
    disconnect {
      lost_after = "1h"
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/one"
        limits  = [1, 2.5, 12345678]
      }
      artifact {
        source = "https://files.example.com/a"
      }
      template {
        data        = "a"
        destination = "local/a"
        wait {
          min = "2s"
          max = "9s"
        }
      }
      template {
        data        = "b"
        destination = "local/b"
      }
      identity {
        name = "store"
        aud  = ["one", "two"]
        ttl  = "1h"
      }
      secret "password" {
        provider = "nomad"
        path     = "app/password"
        config {
          namespace = "default"
        }
      }
      action "reload" {
        command = "/bin/reload"
        args    = ["now"]
      }
      volume_mount {
        volume      = "data"
        destination = "/data"
      }
      lifecycle {
        hook = "prestart"
      }
      resources {
        device "nvidia/gpu" {
          count = 1
        }
        cores = 2
      }
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/main"
      }
    }
  }
}
---
job "blocks" {
  ui {
    description = "After"
    link {
      label = "logs"
      url   = "https://logs.example.com"
    }
    link {
      label = "docs"
      url   = "https://docs.example.com"
    }
  }
  group "g" {
    volume "data" {
      type   = "csi"
      source = "disk"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
      per_alloc       = true
      mount_options {
        fs_type     = "xfs"
        mount_flags = ["noatime"]
      }
    }
    scaling {
      min = 1
      max = 8
      policy {
        cooldown = "2m"
      }
    }
    disconnect {
      lost_after = "2h"
      replace    = false
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/one"
        limits  = [1, 3]
      }
      artifact {
        source = "https://files.example.com/b"
        mode   = "file"
      }
      template {
        data          = "bb"
        destination   = "local/b"
        change_mode   = "script"
        uid           = 5
        change_script {
          command       = "/bin/reload"
          args          = ["a", "b"]
          fail_on_error = true
        }
      }
      template {
        data        = "c"
        destination = "local/c"
      }
      identity {
        env = true
      }
      identity {
        name = "store"
        aud  = ["two", "three"]
        ttl  = "2h"
      }
      secret "password" {
        provider = "nomad"
        path     = "app/other"
      }
      action "restart" {
        command = "/bin/restart"
      }
      action "reload" {
        command = "/bin/reload"
        args    = ["now"]
      }
      volume_mount {
        volume      = "data"
        destination = "/srv"
        read_only   = true
      }
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      resources {
        device "nvidia/gpu" {
          count = 2
        }
        device "fpga" {
          count = 1
        }
        cores = 2
      }
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/main"
      }
    }
  }
}
