job "shop" {
  group "web" {
    update {
      canary = 1
      traffic {
        steps = [5]
      }
      analysis {
        metric "errors" {
          source  = "prometheus"
          address = "http://ada:secret@prometheus:9090"
          query   = "up"
          max     = 0.2
        }
        hook "smoke" {
          on   = "start"
          http = "http://ci.example.com/smoke"
        }
        hook "go-live" {
          on     = "promote"
          manual = true
        }
        hook "ready" {
          on     = "start"
          manual = true
        }
      }
    }
    service {
      name = "shop"
      meta {
        rollout_gates         = "increase"
        rollout_metric_errors = "<0.5 http://ben:secret@prometheus:9090 up"
        rollout_hook_smoke    = "step http://ci.example.com/other"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
