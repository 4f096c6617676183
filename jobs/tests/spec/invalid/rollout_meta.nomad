# What is put in later cannot be checked where it stands.
job "shop" {
  group "web" {
    service {
      name = "shop"
      meta {
        rollout_hold = "${attr.kernel.name}"
      }
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
