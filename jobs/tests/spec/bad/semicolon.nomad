job "a" {
  group "g" {
    count = 1; x = 2
  }
}
