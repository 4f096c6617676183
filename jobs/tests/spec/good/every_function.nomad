job "functions" {
  meta = {
    abs              = "${abs(-3.5)} ${abs(0)} ${abs(7)}"
    ceil             = "${ceil(1.1)} ${ceil(-1.1)} ${ceil(3)}"
    floor            = "${floor(1.9)} ${floor(-1.1)}"
    log              = "${log(100, 10)} ${log(1, 2)} ${floor(log(8, 2))}"
    max              = "${max(1, 7, 3)} ${max(-1.5, -2)}"
    min              = "${min(1, 7, -3)} ${min(2.5)}"
    parseint         = "${parseint("ff", 16)} ${parseint("-1010", 2)} ${parseint("z", 36)} ${parseint("Z", 62)}"
    pow              = "${pow(2, 10)} ${pow(2, -1)} ${pow(9, 0.5)}"
    signum           = "${signum(-9)} ${signum(0)} ${signum("7")}"
    chomp            = "[${chomp("a\n\n")}] [${chomp("b\r\n")}] [${chomp("c")}]"
    format           = format("%s|%d|%05d|%x|%X|%o|%b|%e|%f|%.2f|%g|%q|%v|%t|%%|%6s|%-6s|", "a", 7, 42, 255, 255, 8, 5, 1.5, 1.5, 2.5, 1e20, "q\"", true, false, "r", "l")
    format_more      = format("%#v %v %v %s %v", ["a", 1], { b = 2 }, null, 12, 1.25)
    format_order     = format("%[2]s %[1]s", "one", "two")
    formatlist       = join(",", formatlist("%s:%d", ["a", "b"], [1, 2]))
    formatlist_one   = jsonencode(formatlist("plain"))
    indent           = indent(2, "a\nb\n\nc")
    join             = "${join("-", ["a", "b"], ["c"])}|${join(",", [])}"
    lower            = lower("ÀÉ Straße ABC")
    upper            = upper("àé i ß abc")
    regex_replace    = "${regex_replace("aaa-bbb", "(a+)-(b+)", "$2-$1")} ${regex_replace("x1y22", "[0-9]+", "#")} ${regex_replace("ab", "(?P<n>a)", "<$${n}>")}"
    replace          = "${replace("a.b.c", ".", "-")} ${replace("/x/", "/x/", "y")} ${replace("aa", "", "-")}"
    split            = jsonencode([split(",", "a,b,,c"), split(",", ""), split("", "abc")])
    strlen           = "${strlen("héllo")} ${strlen("")} ${strlen("👨‍👩‍👧")}"
    strrev           = "${strrev("abc")} ${reverse("añb")}"
    substr           = "${substr("hello world", 1, 4)}|${substr("hello", 2, -1)}|${substr("hello", -3, -1)}|${substr("abc", 5, 2)}|${substr("abc", 1, 99)}"
    title            = "${title("hello wORLD")} ${title("a-b_c d'e")}"
    trim             = "${trim("?!hi!?", "!?")}|${trim("  a ", " ")}"
    trimprefix       = "${trimprefix("helloworld", "hello")} ${trimprefix("x", "y")}"
    trimsuffix       = "${trimsuffix("helloworld", "world")} ${trimsuffix("x", "y")}"
    trimspace        = "[${trimspace("\t a b \n")}]"
    chunklist        = jsonencode([chunklist(["a", "b", "c", "d"], 3), chunklist(["a"], 1), chunklist([], 2)])
    coalesce         = "${coalesce(null, "x", "y")}|${coalesce("", "z")}|${coalesce(1, 2)}"
    coalescelist     = jsonencode([coalescelist([], ["a"], ["b"]), coalescelist(["c"])])
    compact          = jsonencode(compact(["", "a", "", "b"]))
    concat           = jsonencode([concat(["a"], ["b", "c"], []), concat([1], ["x"])])
    contains         = "${contains(["a", "b"], "b")} ${contains([1, 2], 3)} ${contains(["1"], "1")}"
    distinct         = jsonencode(distinct(["a", "b", "a", "c", "b"]))
    element          = "${element(["a", "b", "c"], 4)}"
    flatten          = jsonencode(flatten([["a"], [], ["b", ["c", ["d"]]]]))
    index            = "${index(["a", "b"], 1)} ${index(convert({ k = "v" }, map(string)), "k")}"
    keys             = jsonencode(keys({ b = 1, a = 2, C = 3 }))
    length           = "${length([])} ${length(["a", "b"])} ${length(convert({ a = 1 }, map(number)))}"
    lookup           = "${lookup({ a = "x" }, "a", "y")} ${lookup({ a = "x" }, "b", "y")}"
    merge            = jsonencode(merge({ a = 1, b = 2 }, { b = 3 }, { c = "x" }))
    range            = jsonencode([range(3), range(1, 4), range(1, 10, 4), range(3, 0), range(4, 0, -2), range(0)])
    setintersection  = jsonencode(setintersection(["c", "a", "b"], ["b", "c"], ["c", "b", "d"]))
    setproduct       = jsonencode(setproduct(["a", "b"], ["x", "y"]))
    setunion         = jsonencode(setunion(["b", "a"], ["c", "a"]))
    slice            = jsonencode([slice(["a", "b", "c"], 1, 2), slice(["a"], 0, 0)])
    sort             = jsonencode(sort(["b", "a", "C", "10", "9"]))
    values           = jsonencode(values({ b = 1, a = 2 }))
    zipmap           = jsonencode(zipmap(["a", "b"], [1, 2]))
    base64           = "${base64encode("hello ü")} ${base64decode("aGVsbG8=")}"
    csvdecode        = jsonencode(csvdecode("a,b\n1,\"x,\"\"y\"\"\"\n2,\n"))
    jsondecode       = jsonencode(jsondecode("{\"a\": [1, 2.50, true, null, \"x\"], \"b\": {\"c\": {}}}"))
    jsonencode       = jsonencode({ a = [1, 1.5, true, null], b = "<&>\u2028\"\\", c = {} })
    urlencode        = urlencode("a b&c=d/é+~*")
    yamldecode       = jsonencode(yamldecode("a: 1\nb: [x, 'y', 1.50, true, null, ~]\nc: |\n  t1\n  t2\nd: 0x1f\ne: 1e3\nf: \"1\"\n"))
    yamlencode       = yamlencode({ a = [1, "x", true, null], b = { c = "true", d = "1" }, e = [], f = {}, g = "two\nlines\n", h = "a: b" })
    convert          = jsonencode([convert("5", number), convert(5, string), convert(["a", "a"], set(string)), convert({ a = 1 }, map(string)), convert("true", bool)])
    can              = "${can(1 + 1)} ${can("x" + 1)} ${can({ a = 1 }.b)}"
    try              = "${try({ a = 1 }.b, "none")} ${try(1, 2)} ${try(["x"][3], ["x"][0])}"
    formatdate       = formatdate("YYYY YY M MM MMM MMMM D DD EEE EEEE h hh H HH m mm s ss aa AA Z ZZZ ZZZZ ZZZZZ 'lit''eral'", "2018-01-02T23:12:01-08:00")
    formatdate_noon  = formatdate("hh:mm aa H AA", "2018-01-02T12:05:09Z")
    formatdate_zero  = formatdate("H HH h AA Z ZZZ ZZZZZ", "2018-01-02T00:05:09Z")
    timeadd          = "${timeadd("2017-11-22T00:00:00Z", "10m")} ${timeadd("2020-02-28T23:59:59.5+01:00", "1h30m1s")} ${timeadd("2020-01-01T00:00:00Z", "-1.5h")}"
    md5              = md5("hello world")
    sha1             = sha1("hello world")
    sha256           = sha256("hello world")
    sha512           = sha512("")
    uuidv5           = "${uuidv5("dns", "www.example.com")} ${uuidv5("url", "http://x/")} ${uuidv5("oid", "1.2")} ${uuidv5("x500", "CN=a")} ${uuidv5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "a")}"
    cidrhost         = "${cidrhost("10.12.127.0/20", 16)} ${cidrhost("10.12.127.0/20", 268)} ${cidrhost("10.0.0.0/24", -1)} ${cidrhost("fd00:fd12:3456:7890:00a2::/72", 34)}"
    cidrnetmask      = "${cidrnetmask("172.16.0.0/12")} ${cidrnetmask("10.0.0.0/0")}"
    cidrsubnet       = "${cidrsubnet("172.16.0.0/12", 4, 2)} ${cidrsubnet("10.1.2.0/24", 4, 15)} ${cidrsubnet("fd00:fd12:3456:7890::/56", 16, 162)}"
    cidrsubnets      = jsonencode([cidrsubnets("10.1.0.0/16", 4, 4, 8, 4), cidrsubnets("fd00:fd12:3456:7890::/56", 16, 16, 16, 32)])
    basename         = "${basename("foo/bar/baz.txt")} ${basename("a/")} ${basename("")}"
    dirname          = "${dirname("foo/bar/baz.txt")} ${dirname("x")} ${dirname("/")}"
    operators        = "${1 + 2 * 3 - 4 / 8} ${-7 % 3} ${7 % -3} ${!true || true && false} ${1 == 1.0} ${"a" != "b"} ${2 >= 2}"
    numbers          = "${1 / 8} ${10 / 5} ${0.1 + 0.2} ${100 * 1.1} ${4.35 * 100} ${3 * 0.1 == 0.3} ${floor(0.1 * 30)} ${1e100} ${123456789012345678} ${1.50}"
    conditional      = "${true ? "a" : "b"} ${1 > 2 ? 1 : "x"}"
    for_tuple        = jsonencode([for i, v in ["a", "b", "c"] : "${i}${v}" if v != "b"])
    for_object       = jsonencode({ for k, v in { a = 1, b = 2 } : upper(k) => v * 2 })
    for_group        = jsonencode({ for v in ["ax", "b", "ay"] : substr(v, 0, 1) => v... })
    splat            = jsonencode([{ a = 1 }, { a = 2 }][*].a)
    splat_attribute  = jsonencode([{ a = { b = 1 } }, { a = { b = 2 } }].*.a.b)
    splat_one        = jsonencode("x"[*])
    splat_null       = jsonencode(null[*])
    directives       = "%{for v in ["a", "b"]}<${v}>%{endfor}%{if 1 > 2}yes%{else}no%{endif}"
    trimmed          = "a   %{~if true~}   b   %{~endif~}   c ${~"d"~} e"
    heredoc_indented = <<-EOT
      one
        two ${"x"}
      %{~for v in [1, 2]}
      v${v}
      %{~endfor}
    EOT
    heredoc_marked = <<-EOT
      one
      %{ for v in [1, 2] ~}
      v${v}
      %{ endfor ~}
      z
    EOT
    heredoc_deeper = <<-EOT
        %{ if true }
      x
        %{ endif }
      EOT
    quoted_lines     = "a\n%{ if true }\nb\t\"c\" \u00e9\n%{ endif }\nc"
    marked_names     = "a ${~ attr.x ~} b ${~ attr.y } c"
    yaml_words       = "${yamlencode(1)}${yamlencode(true)}${yamlencode("x")}${yamlencode([])}"
    heredoc          = <<EOT
 kept
	tab \n $${x} %%{y}
EOT
    escapes          = "tab\t nl\n cr\r quote\" back\\ \u00e9 \U0001F600 $${a} %%{b} $ % {c}"
    index_brackets   = "${["a", "b"][1]} ${{ k = "v" }["k"]} ${{ k = "v" }.k} ${["a"].0}"
    parens           = jsonencode({ ("k${1}") = 1, "q r" = 2, 3 = 4, true = 5 })
  }
  group "g" {
    task "t" {
      driver = "raw_exec"
    }
  }
}
