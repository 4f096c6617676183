job "a" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "true"
      colour = "red"
    }
  }
  shade = 3
}
