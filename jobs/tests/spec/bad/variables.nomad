# var typed=x
# var flag=yes
# var list=[1
# var pair=[1]
# var whole={b=2}
# var lost=1
# env NOMAD_VAR_small=3
# file odd = "x"
# file unknown = 1
variable "typed" {
  type = number
}
variable "flag" {
  type = bool
}
variable "list" {
  type = list(string)
}
variable "pair" {
  default = [1, 2]
}
variable "whole" {
  default = { a = 1 }
}
variable "small" {
  type = number
  validation {
    condition     = var.small > 5
    error_message = "Must be more than five."
  }
}
variable "odd" {
  type = number
}
variable "unset" {}
variable "a.b" {
  default = 1
}
variable "bad_default" {
  type    = number
  default = "abc"
}
variable "bad_type" {
  type = strong
}
variable "bad_types" {
  type = list(string, number)
}
variable "optional" {
  type = object({ a = optional(string) })
}
variable "called" {
  default  = upper("a")
  nullable = true
}
variable "other" {
  default = 1
  validation {
    condition     = var.small > 1
    error_message = " "
  }
}
variable "constant" {
  default = 1
  validation {
    condition = true
  }
}
variable "no_flag" {
  default = 1
  validation {
    condition     = var.no_flag
    error_message = "Wrong."
  }
}
variable "typed" {}
job "x" {}
