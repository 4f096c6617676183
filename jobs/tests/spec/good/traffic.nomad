job "shop" {
  update {
    traffic {
      steps = [5, 25, 50]
    }
  }
  group "web" {
    service {
      name = "shop"
      canary_meta {
        track = "new"
      }
      meta {
        rollout_steps = "1"
      }
    }
    task "server" {
      driver = "raw_exec"
      service {
        name = "shop-admin"
      }
    }
  }
  group "plain" {
    update {
      canary = 2
      traffic {
        steps = [0, 100]
      }
    }
    task "server" {
      driver = "raw_exec"
      service {
        name = "plain"
      }
    }
  }
}
