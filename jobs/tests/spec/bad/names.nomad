job "bad" {
  datacentres = ["dc1"]
  count       = 1

  tsk "a" {}

  group {
    task "x" {}
  }

  group "a" "b" {}

  group "web" {
    count = "many"

    task "t" {
      driver = ["list"]
      memory = 5

      resources = { cpu = 1 }

      resources {
        memory = 1.5
      }
      resources {
        cpu = 100
      }

      service {
        meta = { a = "b" }
        check {
          type     = "http"
          interval = "30"
          timeout  = "5 parsecs"
          header {
            Accept = "text/html"
          }
        }
      }

      lifecycle {
        sidecar = true
      }

      env {
        list = [1, 2]
        inner {}
      }
    }
  }
}

unknown "x" {}
top = 1
