variable "any" {
  type = any
}
variable "list" {
  type = list
}
variable "map" {
  type = map(any)
}
variable "two" {
  type = list(string, number)
}
variable "none" {
  type = set()
}
variable "object" {
  type = object
}
variable "tuple" {
  type = tuple(string)
}
variable "attributes" {
  type = object(string)
}
variable "key" {
  type = object({ "a" = string })
}
variable "open" {
  type = object({ a = any })
}
variable "optional" {
  type = object({ a = optional(string) })
}
variable "modifier" {
  type = optional(string)
}
variable "primitive" {
  type = string()
}
variable "wildcard" {
  type = any()
}
variable "unknown" {
  type = text
}
variable "constructor" {
  type = text()
}
variable "text" {
  type = "string"
}
variable "null" {
  type = null
}
job "types" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "true"
      }
      env {
        A = convert("1", optional(number))
        B = convert(["1"], list)
        C = convert({ a = "1" }, object({ a = optional(number, 4) }))
        D = convert(["1"], any)[0]
        E = convert({ a = "1" }, object({ a = optional(number) })).a
      }
    }
  }
}
