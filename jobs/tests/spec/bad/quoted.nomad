job "a" {
  "cpu" = 5
}
