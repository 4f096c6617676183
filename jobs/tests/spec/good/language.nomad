variable "list" { 
  type = list(string)
  default = ["a", "b", "c"]
}
variable "obj" {
  type = object({ name = string, ports = list(number), on = bool })
  default = { name = "n", ports = [1, 2], on = true }
}
variable "m" {
  type = map(string)
  default = { x = "1", y = 2 }
}
variable "s" {
  type = set(string)
  default = ["b", "a", "b"]
}
variable "t" {
  type = tuple([string, number])
  default = ["q", "7"]
}
variable "any" {
  default = { a = [1, "x", true] }
}
variable "n" {
  type = number
  default = 2.5
}
locals {
  nested = { for k, v in var.m : upper(k) => { val = v, len = strlen(v) } }
  grouped = { for p in ["a1", "b1", "a2"] : substr(p, 0, 1) => p... }
  cond = var.obj.on ? var.obj.name : "off"
  heredoc = <<EOT
  first ${local.cond}
    second
EOT
  indented = <<-EOT
    first ${local.cond}
      second $${kept} %%{kept}
    %{ for x in var.list ~}
    - ${x}
    %{ endfor ~}
    end
  EOT
}
job "lang" {
  meta = {
    nested = jsonencode(local.nested)
    grouped = jsonencode(local.grouped)
    heredoc = local.heredoc
    indented = local.indented
    splat = join(",", var.obj.ports[*])
    splat2 = jsonencode([{ a = [1] }, { a = [2] }].*.a)
    idx = var.list[length(var.list) - 1]
    idx2 = var.any["a"][1]
    legacy = var.list.0
    set = jsonencode(var.s)
    tuple = jsonencode(var.t)
    num = "${var.n} ${var.n * 2} ${1 / 4} ${7 % 4} ${-var.n}"
    cmp = "${1 < 2} ${2 >= 3} ${"a" == "a"} ${!true} ${true && false || true}"
    runtime = "${node.unique.name} ${ attr.kernel.name } ${NOMAD_META_x}-${var.n}"
    env = "${env["A.B"]}"
    bare = attr.cpu.arch
    esc = "a\tb\n\"q\" \u00e9 $${x} %%{y} \\"
    ifdir = "%{ if var.n > 2 }big%{ else }small%{ endif }!"
    ifdir2 = "x%{ if false }y%{ endif }z"
    strip = "a  ${~ "b" ~}  c"
    fordir = "%{ for i, v in var.list }${i}=${v};%{ endfor }"
    forif = jsonencode([for v in var.list : v if v != "b"])
    forobj = jsonencode({ for i, v in var.list : v => i })
    condtype = jsonencode(true ? [1] : [])
    nullv = coalesce(null, "d")
    range = jsonencode([range(3), range(1, 4), range(1, 8, 2), range(5, 1)])
    merge = jsonencode(merge({ a = 1, b = 2 }, { b = 3 }))
    sort = jsonencode(sort(["b", "a"]))
    fmt = format("%s %d %05.2f %q %v %-5s| %5s %x %t", "a", 3, 1.5, "q", [1, "a"], "l", "r", 255, true)
    fmtlist = jsonencode(formatlist("%s=%s", ["a", "b"], ["1", "2"]))
    lookup = lookup({ a = "1" }, "z", "def")
    try = try(var.any.nope, "fb")
    can = can(var.any.a)
    conv = jsonencode([convert("5", number), convert(["a"], set(string)), convert(5, string)])
    contains = contains(["a", "b"], "a")
    distinct = jsonencode(distinct(["a", "b", "a"]))
    flatten = jsonencode(flatten([["a"], [], ["b", ["c"]]]))
    keys = jsonencode(keys({ b = 1, a = 2 }))
    values = jsonencode(values({ b = 1, a = 2 }))
    slice = jsonencode(slice(["a", "b", "c"], 1, 2))
    zip = jsonencode(zipmap(["a", "b"], [1, 2]))
    regex = regex_replace("a-b_c", "[-_](\\w)", "<$1>")
    replace = replace("1+1", "+", "-")
    split = jsonencode(split(",", "a,b,"))
    trim = "${trim("  x ", " ")}${trimprefix("abc", "a")}${trimsuffix("abc", "c")}${trimspace(" y ")}"
    url = urlencode("a b/c?d=é")
    b64 = "${base64encode("héllo")} ${base64decode("aGk=")}"
    json = jsonencode(jsondecode("{\"a\": [1, 2.50, null, \"<x>\"]}"))
    indent = indent(2, "a\nb")
    chomp = chomp("a\n\n")
    log = "${log(8, 2)} ${pow(2, 10)} ${signum(-3)} ${abs(-2)} ${ceil(1.2)} ${floor(1.8)} ${max(1, 3, 2)} ${min(4, 2)} ${parseint("1010", 2)}"
    index = index(["a", "b"], 1)
    setint = jsonencode(setintersection(["a", "b"], ["b", "c"]))
    strlen = strlen("héllo")
    yaml = yamlencode({ a = "x", b = { c = [1, 2, { d = "multi\nline" }] }, e = [], f = "a very long text that goes on and on behind the eightieth column, so that it has to be folded somewhere" })
    big = 12345678901
    float = 0.1
    exp = 1e3
  }
  group "g" {
    count = "${length(var.list)}"
    dynamic "task" {
      for_each = { for i, n in var.list : n => i }
      labels = ["t-${task.key}"]
      content {
        driver = "docker"
        config {
          image = "i:${task.value}"
          args = concat(["x"], var.list)
          volumes = ["a:${NOMAD_TASK_DIR}"]
          auth {
            username = "u"
            password = "${var.obj.name}"
          }
          mount {
            type = "bind"
            options { 
              a = 1 
            }
          }
          mount {
            type = "tmpfs"
          }
          n = 1.5
          b = true
          obj = { a = { b = 1 } }
          list = [{ a = 1 }, { b = 2 }]
        }
        env {
          A = task.value
          B = true
          C = 1.50
        }
      }
    }
  }
}
