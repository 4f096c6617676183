job "groups" {
  dynamic "group" {
    for_each = range(1001)
    labels   = ["g${group.value}"]
    content {}
  }
}
