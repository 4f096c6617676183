job "x" {
  meta {
    a = "%{ if true }yes"
    b = "%{ endif }"
    c = "%{ for x of [1] }${x}%{ endfor }"
    d = "${ [for x in [1] x] }"
    e = "${ {a = 1, b} }"
    f = (1 + 2
  }
  group "g" {
    dynamic "network" {
      for_each = [1, 2, 3]
      content {
        prot = 1
      }
    }
    dynamic "service" {
      for_each = null
      content {}
    }
  }
}
