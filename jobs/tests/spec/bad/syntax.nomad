# Several slips of the pen, and what they leave intact is looked at too.
job "a" {
  datacenters = ["dc1"
  type: "service"
  "priority" = 50
  coount = 3

  group "g" {
    count = 1; size = 2
    colour = "red"

    network {
      port "http" { static = 80, to = 8080 }
      port "db"
      { to = 1 }
    }

    task "t" {
      driver = 'raw_exec'
      config {
        args = [1, 2
          3]
        command = "${HOME:-x}"
        other   = "%{http_code}"
        path    = "C:\dir"
      }
      env = {
        A = 1 B = 2
        C
      }
      template {
        data = "${upper(a b)}"
        destination = 1 +
      }
      resources {
        cpu = 100 & 3
        cpu = 200
        memmory = 3
      }
    }
  }
}
