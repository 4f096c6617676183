job "shop" {
  group "web" {
    update {
      traffic {
        max_hold = "1m"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
