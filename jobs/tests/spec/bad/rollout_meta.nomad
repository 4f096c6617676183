job "shop" {
  group "web" {
    service {
      name = "shop"
      meta {
        rollout_steps   = "25,5"
        rollout_hold    = "soon"
        rollout_judge   = "maybe"
        rollout_errors  = "2"
        rollout_latency = "p95<2x"
        rollout_else    = "1"
      }
    }
    service {
      name = "well"
      meta {
        rollout_steps   = "0.5,5,25"
        rollout_hold    = "2m"
        rollout_bake    = "10m"
        rollout_errors  = "+0.2pt,1.25x"
        rollout_latency = "p99<1.3x"
        rollout_judge   = "on"
        rollout_sticky  = "cookie"
        rollout_notify  = "https://hooks.example.com/x"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
