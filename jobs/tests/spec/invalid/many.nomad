# Of many errors a hundred are listed.
job "many" {
  dynamic "group" {
    for_each = range(60)
    labels   = ["g${group.value}"]
    content {
      count = -1
      task "t" {
        driver = ""
        kill_timeout = "-1s"
      }
    }
  }
}
