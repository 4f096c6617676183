job "huge" {
  group "g" {
    ephemeral_disk {
      size = 9223372036854775807
    }
    task "t" {
      driver = "raw_exec"
      resources {
        cpu    = 9223372036854775807
        memory = 9223372036854775807
      }
    }
  }
}
