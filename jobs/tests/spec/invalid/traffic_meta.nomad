job "shop" {
  group "web" {
    shutdown_delay = "1s"
    update {
      traffic {
        steps = [5, 50]
      }
    }
    service {
      name = "shop"
      meta {
        rollout_steps = "1"
      }
    }
    service {
      name = "alike"
      meta {
        rollout_steps = "5,50"
      }
      canary_meta {
        rollout_steps = "100"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
