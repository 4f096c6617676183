job "a" {
  type = "service
  priority = "high"
  meta {
    note = "two
    lines"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      template {
        data = <<EOT
never ended
  EOTT
      }
    }
  }
}
