job "a" {
  type: "batch"
}
