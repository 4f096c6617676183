# What a torn declaration would have declared is not missed.
variable "a" {
  default = [1,
}
job "x" {
  colour = var.a
}
