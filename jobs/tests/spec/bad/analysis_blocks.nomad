job "shop" {
  group "web" {
    update {
      canary = 1
      analysis {
        metric "both missing" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up"
        }
        metric "crossed" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up"
          min     = 5
          max     = 1
        }
        metric "elsewhere" {
          source  = "datadog"
          address = "http://ada:secret@prometheus:9090?x=y"
          query   = "up{version=\"{{ canary }}\"}"
          max     = 1
        }
        metric "torn" {
          source  = "prometheus"
          address = "prometheus:9090"
          query   = "up{version=\"{{ version\"}"
          max     = "much"
        }
        metric "open" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up{version=\"{{ version\"}"
          max     = 1
        }
        metric "bare" {
        }
        hook "nobody" {
          on = "start"
        }
        hook "never" {
          on   = "sometimes"
          http = "ci.example.com"
        }
        hook "both" {
          on     = "promote"
          http   = "http://ci.example.com"
          manual = true
        }
        hook "asked" {
          on     = "step"
          manual = true
        }
        hook "done" {
          on   = "done"
          http = "http://ci.example.com"
        }
        hook "event" {
          on   = "event"
          http = "http://ci.example.com"
        }
        hook "action" {
          on     = "start"
          action = "smoke-test"
        }
        hook "job" {
          on  = "start"
          job = "smoke-test"
        }
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
  group "twice" {
    update {
      canary = 1
      analysis {
        metric "errors" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up"
          max     = 1
        }
        metric "errors" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "up"
          max     = 2
        }
        dynamic "hook" {
          for_each = range(17)
          labels   = ["hook-${hook.value}"]
          content {
            on   = "step"
            http = "http://ci.example.com/${hook.value}"
          }
        }
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
