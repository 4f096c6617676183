job "shop" {
  group "web" {
    update {
      canary = 1
      analysis {
        metric "checkout_failures" {
          source  = "prometheus"
          address = "http://prometheus.service.consul:9090"
          query   = "sum(rate(checkout_failed{version=\"{{ version }}\"}[{{ window }}]))"
          max     = 0.2
        }
        dynamic "metric" {
          for_each = ["p50", "p99"]
          labels   = [metric.value]
          content {
            source  = "prometheus"
            address = "http://prometheus.service.consul:9090"
            query   = "latency{quantile=\"${metric.value}\"}"
            min     = 1
            max     = 500
          }
        }
        hook "smoke" {
          on   = "start"
          http = "http://ci.example.com/smoke"
        }
        hook "go-live" {
          on     = "promote"
          manual = true
        }
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
