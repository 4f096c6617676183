# A service whose text, number of instances and path come from input variables.
#
# `trivet` is looked up on the task's PATH, where the agent puts the directory of its own program first.
#
# Try it: trivet job run -var 'text=good morning' -var count=3 http-echo.nomad

variable "text" {
  type        = string
  default     = "hello"
  description = "What every request gets"
}

variable "count" {
  type    = number
  default = 2

  validation {
    condition     = var.count > 0
    error_message = "At least one instance must run."
  }
}

variable "path" {
  type    = string
  default = "/echo"
}

locals {
  greeting = "${title(var.text)}, from ${upper(basename(var.path))}"
}

job "http-echo" {
  datacenters = ["*"]

  meta {
    path = var.path
  }

  group "echo" {
    count          = var.count
    shutdown_delay = "2s"

    network {
      port "http" {}
    }

    service {
      name = "http-echo"
      port = "http"
      tags = ["urlprefix-${var.path} strip=${var.path}"]

      check {
        name     = "alive"
        type     = "http"
        path     = "/health"
        interval = "5s"
        timeout  = "1s"
      }
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "trivet"
        args    = ["echo", "-listen", ":${NOMAD_PORT_http}", "-text", local.greeting]
      }
    }
  }
}
