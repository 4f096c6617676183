job "shop" {
  group "web" {
    update {
      canary = 1
      traffic {
        steps  = [0.25, 5]
        hold   = "2m"
        bake   = "10m"
        sticky = "cookie"
      }
      analysis {
        warmup = "5s"
        success_rate {
          max_drop = 0.3
        }
        latency {
          quantile  = 0.99
          max_ratio = 1.3
        }
      }
    }
    service {
      name = "shop"
      meta {
        rollout_steps  = "0.25,5"
        rollout_hold   = "1m"
        rollout_bake   = "1m"
        rollout_warmup = "1s"
        rollout_errors = "+1pt"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
