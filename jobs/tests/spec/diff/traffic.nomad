job "web" {
  group "web" {
    update {
      canary = 1
      traffic {
        steps = [5, 50]
      }
      analysis {
        metric "errors" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up"
          max     = 0.2
        }
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
      analysis {
        metric "errors" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up"
          max     = 0.5
        }
        hook "smoke" {
          on   = "start"
          http = "http://ci.example.com/smoke"
        }
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
