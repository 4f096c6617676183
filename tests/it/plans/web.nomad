job "web" {
  update {
    health_check     = "task_states"
    min_healthy_time = "50ms"
  }

  group "app" {
    count = 2

    task "server" {
      driver = "raw_exec"

      config {
        command = "/bin/sleep"
        args    = ["600"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
