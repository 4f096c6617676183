job "functions" {
  meta = {
    bcrypt       = bcrypt("secret", 4)
    cidrhost     = cidrhost("10.0.0.0/8", 2)
    cidrnetmask  = cidrnetmask("10.0.0.0/8")
    cidrsubnet   = cidrsubnet("10.0.0.0/8", 8, 2)
    cidrsubnets  = join(" ", cidrsubnets("10.0.0.0/8", 8, 8, 16))
    chunklist    = jsonencode(chunklist(["a", "b", "c"], 2))
    coalesce     = coalesce(null, "x")
    coalescelist = join("", coalescelist([], ["y"]))
    compact      = join("", compact(["", "z", null, 1]))
    csvdecode    = jsonencode(csvdecode("a,b\n1,2\n"))
    element      = "${element(["a", "b"], 5)}${element(["a", "b"], -1)}"
    formatdate   = formatdate("EEE, DD MMM YYYY hh:mm:ss ZZZ", "2020-02-29T12:30:05Z")
    formatlist   = join(",", formatlist("%s-%02d", ["a", "b"], 7))
    fileset      = join(",", fileset("files", "**/*.txt"))
    basename     = basename("a/b.txt")
    dirname      = dirname("a/b.txt")
    md5          = md5("hello")
    sha1         = sha1("hello")
    sha256       = sha256("hello")
    sha512       = sha512("hello")
    setproduct   = jsonencode(setproduct(["a", "b"], [1, 2]))
    setunion     = join("", setunion(["b", "a"], ["c", "a"]))
    timeadd      = timeadd("2020-01-01T10:00:00+02:00", "90m")
    title        = title("it's a_b-c d")
    upper        = upper("straße")
    strrev       = strrev("añb")
    substr       = substr("héllo", -3, 2)
    uuidv4       = uuidv4()
    uuidv5       = uuidv5("dns", "example.com")
    yamldecode   = jsonencode(yamldecode("a: [1, yes, 2.5]\nb:\n  c: ~\n"))
    yamlencode   = yamlencode({ b = [1, "x"], a = true })
    number       = "${1e21} ${10 / 4} ${7 % 3}"
    rsadecrypt = rsadecrypt(
      "M049f2XkSU+488YVXUV/xY/iqoNx0GxFbBR5sHafscR8yVtjEykV49I5zJHiwLHsK8gQMIc1XzzowPFHk34ssg==",
      file("key.pem")
    )
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
    }
  }
}
