# var text=plain "text"
# var number=7
# var flag=true
# var list=["a", "b"]
# var set=["b", "a", "b"]
# var map={a = "1", b = 2}
# var object={name = "n", size = "3", extra = true}
# var tuple=[1, "2"]
# var untyped=[1, not an expression]
# var by_default=8
# var shaped=["1", 2]
# var anything=[1, "a"]
# var strongest=flag
# file strongest = "file"
# file from_file = "file"
# env NOMAD_VAR_strongest=environment
# env NOMAD_VAR_from_file=environment
# env NOMAD_VAR_from_environment=environment
# env NOMAD_VAR_undeclared=ignored
variable "text" {
  type = string
}
variable "number" {
  type = number
}
variable "flag" {
  type = bool
}
variable "list" {
  type = list(string)
}
variable "set" {
  type = set(string)
}
variable "map" {
  type = map(number)
}
variable "object" {
  type = object({ name = string, size = number })
}
variable "tuple" {
  type = tuple([string, number])
}
variable "untyped" {}
variable "by_default" {
  default = 1
}
variable "shaped" {
  default = [1, "2"]
}
variable "anything" {
  type = tuple([number, string])
}
variable "strongest" {
  default = "default"
}
variable "from_file" {
  default = "default"
}
variable "from_environment" {
  default = "default"
}
variable "from_default" {
  type        = list(number)
  description = "Whole numbers."
  default     = ["1", 2]
}
variable "nothing" {
  default = null
}
variable "checked" {
  default = 3
  validation {
    condition     = var.checked > 1 && can(regex_replace("x", "y", "z"))
    error_message = "Must be more than one."
  }
}
variables {
  short = "short"
  many  = { a = 1 }
}
job "a" {
  meta {
    text             = jsonencode(var.text)
    number           = jsonencode(var.number)
    flag             = jsonencode(var.flag)
    list             = jsonencode(var.list)
    set              = jsonencode(var.set)
    map              = jsonencode(var.map)
    object           = jsonencode(var.object)
    tuple            = jsonencode(var.tuple)
    untyped          = jsonencode(var.untyped)
    by_default       = jsonencode(var.by_default)
    shaped           = jsonencode(var.shaped)
    anything         = jsonencode(var.anything)
    strongest        = var.strongest
    from_file        = var.from_file
    from_environment = var.from_environment
    from_default     = jsonencode(var.from_default)
    nothing          = jsonencode(var.nothing)
    checked          = var.checked
    short            = var.short
    many             = jsonencode(var.many)
  }
}
