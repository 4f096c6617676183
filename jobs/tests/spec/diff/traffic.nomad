job "web" {
  group "web" {
    update {
      canary = 1
      traffic {
        steps = [5, 50]
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
  group "later" {
    task "server" {
      driver = "raw_exec"
    }
  }
}
---
job "web" {
  group "web" {
    update {
      canary = 1
      traffic {
        steps = [10, 50]
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
  group "later" {
    update {
      canary = 1
      traffic {
        steps = [1]
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
