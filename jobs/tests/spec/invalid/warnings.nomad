job "warnings" {
  group "a" {
    count = 2
    update {
      max_parallel = 5
      canary       = 1
      auto_promote = true
    }
    network {
      mbits = 10
      port "http" {}
    }
    service {
      port = "http"
    }
    task "t" {
      driver = "raw_exec"
      identity {
        env = true
      }
      service {
        name = "x"
        port = "http"
      }
    }
  }
  group "b" {
    update {
      canary = 1
    }
    task "t" {
      driver = "raw_exec"
    }
  }
}
