job "shop" {
  type = "system"
  group "falling" {
    update {
      traffic {
        steps = [25, 5]
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
  group "large" {
    update {
      traffic {
        steps = [50, 101]
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
  group "empty" {
    update {
      traffic {
        steps = []
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
