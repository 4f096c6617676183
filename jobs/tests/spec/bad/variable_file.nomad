# file {"n": "x", "other": 1, "l": [1]}
variable "n" {
  type = number
}
variable "l" {
  type = list(number)
}
job "a" {}
