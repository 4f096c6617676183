job "shop" {
  group "web" {
    update {
      traffic {
        hold = "1m"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
