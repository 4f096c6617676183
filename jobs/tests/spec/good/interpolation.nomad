# var env=prod
job "web-app" {
  id = "web-${var.env}"
  constraint {
    attribute = attr.kernel.name
    value     = "linux"
  }
  constraint {
    attribute = "${attr.cpu.arch}"
    version   = ">= 1.2"
  }
  constraint {
    distinct_hosts = true
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "run"
        args = [
          "-listen=${NOMAD_IP_http}:${ NOMAD_PORT_http }",
          "${env["FOO.BAR"]}",
          "a-${meta.rack}-${var.env}",
          "$HOME",
          "$${HOME}",
          "$$${HOME}",
          "%%{http_code}",
          "${unknownword}",
          upper(node.class),
        ]
        nested {
          deep = { a = 1 }
        }
        nested {
          deep = 2
        }
        map = { a = "b" }
      }
      env {
        TEXT = <<EOF
line one ${var.env}
\n stays, ${NOMAD_ALLOC_ID} too
EOF
        DEDENT = <<-EOF
          one
            two
          EOF
        NUMBER = 1.5
        FLAG = true
      }
      template {
        data        = "{{ env \"NOMAD_ALLOC_ID\" }}"
        destination = "local/id"
      }
    }
  }
}
variable "env" {}
