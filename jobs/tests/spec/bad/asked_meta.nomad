job "shop" {
  group "web" {
    service {
      name = "shop"
      meta {
        rollout_metric_errors  = "<0.2 http://prometheus:9090 sum(rate(errors{version=\"{{ version }}\"}[1m]))"
        rollout_metric_none    = "http://ada:secret@prometheus:9090 up"
        rollout_metric_crossed = ">5,<1 http://prometheus:9090 up"
        rollout_metric_where   = "<1 prometheus:9090 up"
        rollout_metric_what    = "<1 http://prometheus:9090"
        rollout_metric_who     = "<1 http://prometheus:9090 up{version=\"{{ canary }}\"}"
        rollout_metric_        = "<1 http://prometheus:9090 up"
        rollout_hook_smoke     = "start http://ci.example.com/smoke"
        rollout_hook_when      = "http://ci.example.com/smoke"
        rollout_hook_where     = "step ci.example.com"
        rollout_hook_over      = "done http://ci.example.com/done"
      }
    }
    service {
      name = "many"
      meta {
        rollout_metric_m0 = "<1 http://prometheus:9090 up"
        rollout_metric_m1 = "<1 http://prometheus:9090 up"
        rollout_metric_m2 = "<1 http://prometheus:9090 up"
        rollout_metric_m3 = "<1 http://prometheus:9090 up"
        rollout_metric_m4 = "<1 http://prometheus:9090 up"
        rollout_metric_m5 = "<1 http://prometheus:9090 up"
        rollout_metric_m6 = "<1 http://prometheus:9090 up"
        rollout_metric_m7 = "<1 http://prometheus:9090 up"
        rollout_metric_m8 = "<1 http://prometheus:9090 up"
        rollout_metric_m9 = "<1 http://prometheus:9090 up"
        rollout_metric_m10 = "<1 http://prometheus:9090 up"
        rollout_metric_m11 = "<1 http://prometheus:9090 up"
        rollout_metric_m12 = "<1 http://prometheus:9090 up"
        rollout_metric_m13 = "<1 http://prometheus:9090 up"
        rollout_metric_m14 = "<1 http://prometheus:9090 up"
        rollout_metric_m15 = "<1 http://prometheus:9090 up"
        rollout_metric_m16 = "<1 http://prometheus:9090 up"
        rollout_metric_m17 = "<1 http://prometheus:9090 up"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
