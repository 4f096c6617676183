# env NOMAD_VAR_ports=["a", "b"]
# env NOMAD_VAR_undeclared=ignored
# file count = 3
# var image=redis:7
variable "ports" {
  type = list(string)
}
variable "count" {
  type    = number
  default = 1
}
variable "image" {
  type = string
}
variables {
  zone = "z1"
}
locals {
  c    = "${local.b}!"
  b    = upper(local.a)
  a    = "x"
  tags = [for p in var.ports : "port-${p}" if p != "b"]
  map  = { for i, p in var.ports : p => i }
}
job "expr" {
  meta = {
    "dotted.key" = local.c
    sum          = 1 + 2 * 3
    cond         = var.count > 2 ? "many" : "few"
    join         = join(",", sort(["b", "a"]))
    keys         = join(",", keys(local.map))
    format       = format("%05.1f|%-4s|%3d|%v", 3.14159, "ab", 7, true)
    splat        = join("", [{ n = "p" }, { n = "q" }][*].n)
    try          = try(local.map.missing, "fallback")
    can          = can(local.map.missing)
    directive    = "%{ for p in var.ports }[${p}]%{ endfor }%{ if true }yes%{ else }no%{ endif }"
    lookup       = lookup({ a = "1" }, "b", "none")
    replace      = replace("a.b.c", ".", "-")
    substr       = substr("hello", 1, 3)
    base64       = base64encode("hello")
    decoded      = base64decode("aGVsbG8=")
    json         = jsonencode({ a = [1, "b"] })
    timeadd      = timeadd("2020-01-01T00:00:00Z", "1h")
    file         = trimspace(file("greeting.txt"))
    abspath      = abspath("x")
    merge        = jsonencode(merge({ a = 1 }, { b = 2 }))
    slice        = jsonencode(slice([1, 2, 3], 0, 2))
    range        = jsonencode(range(3))
    flatten      = jsonencode(flatten([[1], [2, [3]]]))
    zip          = jsonencode(zipmap(["a"], [1]))
    regex        = regex_replace("a1b22", "[0-9]+", "#")
    parseint     = parseint("ff", 16)
    title        = title("hello big world")
    convert      = convert("5", number) + 1
    index        = var.ports[1]
    neg          = -var.count
    heredoc_trim = trimspace(<<EOT
  spaces ${~ "x" ~}  
EOT
    )
  }
  group "g" {
    count = var.count
    network {
      dynamic "port" {
        for_each = var.ports
        labels   = [port.value]
        content {
          to = 8000 + port.key
        }
      }
    }
    task "t" {
      driver = "docker"
      config {
        image = var.image
      }
      service {
        port = "a"
        tags = local.tags
        meta {
          zone = var.zone
        }
        check {
          type     = "http"
          path     = "/"
          interval = "10s"
          timeout  = 2000000000
          header {
            Accept = ["text/html", "*/*"]
          }
        }
      }
    }
  }
}
