# Where the variable is written, unless the command line names a path.
# path = "path/to/variable"

# The namespace of the variable, unless the command line names one.
# namespace = "default"

# What is kept: names and values. All of it is encrypted as one. Names with
# letters, digits and underscores alone are the easiest to use in templates.
items {
  key1 = "value 1"
  key2 = "value 2"
}
