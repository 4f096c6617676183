job "a" {
  meta {
    x = "${HOME:-x}"
  }
}
