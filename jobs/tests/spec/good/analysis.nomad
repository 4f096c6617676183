job "shop" {
  update {
    traffic {
      steps    = [0.25, 5, 50]
      hold     = "2m"
      bake     = "10m"
      sticky   = "cookie"
      splitter = "ignore"
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
      latency {
        quantile  = 0.5
        max_ratio = 2
      }
    }
  }
  group "web" {
    service {
      name = "shop"
      meta {
        rollout_hold = "1m"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
