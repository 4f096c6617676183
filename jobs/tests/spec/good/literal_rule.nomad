variable "env" {
  default = "prod"
}
job "literal" {
  meta = {
    plain        = "${NOMAD_PORT_http}"
    spaces       = "${ attr.cpu.arch }"
    index        = "${env["FOO.BAR"]}"
    bare         = attr.kernel.name
    mixed        = "a-${meta.rack}-${var.env}"
    unknown      = "${unknownword}"
    in_function  = upper(node.class)
    dollar       = "$HOME"
    escaped      = "$${HOME}"
    twice        = "$$${HOME}"
    thrice       = "$$$${HOME}"
    percent      = "%%{http_code}"
    percents     = "%%%{http_code}"
    deep         = "${node.unique.id}/${device.attr.memory}"
    conditional  = var.env == "prod" ? attr.a : attr.b
    compare      = "${attr.a == attr.b}"
    for_each     = "${join(",", [for x in ["a", "b"] : "${x}-${node.c}"])}"
    object       = jsonencode({ a = attr.x, (var.env) = "${meta.y}" })
    heredoc      = <<EOT
${NOMAD_ALLOC_ID} $${shell} %%{format} ${var.env}
EOT
    marked       = "a ${~ attr.x ~} b"
    template     = "{{ env \"X\" }} {{ with $x }}{{ . }}{{ end }}"
    number_index = attr.list[0]
    parens       = "${(attr.a)}"
  }
  constraint {
    attribute = attr.kernel.name
    value     = "${meta.k}"
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "$$${X} $${Y} ${NOMAD_TASK_DIR} %%{a}"
      }
      env {
        A = "${NOMAD_ADDR_x}"
        B = attr.b
      }
      template {
        data        = "$${x} ${attr.y} {{ key \"a\" }}"
        destination = "${NOMAD_SECRETS_DIR}/x"
      }
    }
  }
}
