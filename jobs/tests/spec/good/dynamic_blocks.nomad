variable "ports" {
  type    = map(number)
  default = { http = 8080, admin = 9090 }
}
variable "services" {
  default = [
    { name = "web", port = "http", tags = ["a", "b"], checks = ["/health", "/ready"] },
    { name = "ops", port = "admin", tags = [], checks = [] },
  ]
}
job "dynamic" {
  dynamic "constraint" {
    for_each = ["linux", "amd64"]
    iterator = want
    content {
      attribute = "$${attr.want${want.key}}"
      value     = want.value
    }
  }
  dynamic "group" {
    for_each = ["a", "b"]
    labels   = ["g-${group.value}"]
    content {
      count = group.key + 1
      network {
        dynamic "port" {
          for_each = var.ports
          labels   = [port.key]
          content {
            to = port.value
          }
        }
      }
      dynamic "service" {
        for_each = var.services
        content {
          name = "${group.value}-${service.value.name}"
          port = service.value.port
          tags = [for t in service.value.tags : upper(t)]
          dynamic "check" {
            for_each = service.value.checks
            content {
              type     = "http"
              path     = check.value
              name     = "${service.value.name} ${check.key}"
              interval = "10s"
              timeout  = "2s"
            }
          }
        }
      }
      task "main" {
        driver = "raw_exec"
        config {
          command = "run"
          args    = [for k, v in var.ports : "${k}=${v}"]
        }
        dynamic "template" {
          for_each = { x = "1", y = "2" }
          content {
            data        = template.value
            destination = "local/${template.key}"
          }
        }
        dynamic "env" {
          for_each = [1]
          content {
            ONE = env.value
          }
        }
      }
    }
  }
}
