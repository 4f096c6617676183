job "a" {
  type = "batch"
  priority = 3
  type = "service"
  group "g" {
    count = 1
    task "t" {
      driver = "raw_exec"
      env {
        A = 1
        A = 2
      }
    }
    count = 2
  }
  colour = 1
}
