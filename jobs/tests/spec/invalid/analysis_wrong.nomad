job "shop" {
  group "web" {
    update {
      canary = 1
      traffic {
        steps  = [0.25, 5]
        hold   = "2m"
        bake   = "10m"
        sticky = "body"
      }
      analysis {
        warmup = "5s"
        success_rate {
          max_drop = 0.3
        }
        latency {
          quantile  = 0.95
          max_ratio = 1.3
        }
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
