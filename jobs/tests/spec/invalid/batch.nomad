job "types" {
  type = "batch"
  update {
    max_parallel = 2
  }
  group "a" {
    task "t" {
      driver = "raw_exec"
    }
  }
}
