job "${var.x}" {
}
