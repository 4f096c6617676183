# var nope=1
# var number=abc
# file count = 3
variable "unset" {}
variable "number" {
  type = number
}
variable "number" {}
variable "checked" {
  default = 5
  validation {
    condition     = var.checked > 10
    error_message = "Must be above ten."
  }
  sensitive = true
}
variable "typed" {
  type    = strin
  default = upper("a")
}
locals {
  a = local.b
  b = local.a
}
job "bad" {
  meta {
    undeclared = var.missing
    unknown    = uper("x")
    later      = sha256("x")
    few        = join(",")
    argument   = length("text")
    zero       = 1 / 0
    operand    = node.x + 1
    index      = [1][5]
    nothing    = "a ${null} b"
    file       = file("x")
    list       = "${[1]}"
  }
  group "g" {
    count = NOMAD_X
    dynamic "port" {
      for_each = [1]
      content {}
    }
    dynamic "task" {
      for_each = 5
      content {}
    }
    dynamic "task" {
      for_each = ["a"]
      content {}
    }
  }
}
