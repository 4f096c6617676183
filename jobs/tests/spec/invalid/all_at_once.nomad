job "big" {
  all_at_once = true
  group "a" {
    count = 10000
    task "t" {
      driver = "raw_exec"
      config { command = "/bin/true" }
    }
  }
  group "b" {
    count = 6385
    task "t" {
      driver = "raw_exec"
      config { command = "/bin/true" }
    }
  }
}
