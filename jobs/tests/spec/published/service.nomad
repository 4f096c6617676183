# What a service job may have and the file beside it has not.
job "serving" {
  type = "service"

  ui {
    description = "Serves."

    link {
      label = "docs"
      url   = "https://example.com"
    }
  }

  update {
    max_parallel      = 2
    health_check      = "task_states"
    min_healthy_time  = "5s"
    healthy_deadline  = "2m"
    progress_deadline = "3m"
    auto_revert       = true
    auto_promote      = true
    canary            = 1
    stagger           = "20s"
  }

  migrate {
    max_parallel     = 2
    health_check     = "task_states"
    min_healthy_time = "5s"
    healthy_deadline = "2m"
  }

  reschedule {
    delay          = "20s"
    delay_function = "fibonacci"
    max_delay      = "30m"
    unlimited      = true
  }

  constraint {
    attribute = "${attr.unique.hostname}"
    regexp    = "web.*"
  }

  constraint {
    attribute    = "${meta.tags}"
    set_contains = "a,b"
  }

  constraint {
    attribute = "${attr.nomad.version}"
    semver    = ">= 1.0.0"
  }

  constraint {
    distinct_property = "${node.datacenter}"
  }

  constraint {
    attribute = "${meta.rack}"
    is_set    = true
  }

  constraint {
    attribute  = "${meta.old}"
    is_not_set = true
  }

  constraint {
    attribute        = "${meta.tags}"
    set_contains_any = "a,b"
  }

  constraint {
    attribute        = "${meta.tags}"
    set_contains_all = "a,b"
  }

  group "web" {
    affinity {
      attribute = "${node.class}"
      operator  = "!="
      value     = "slow"
      weight    = -10
    }

    spread {
      attribute = "${node.class}"
    }

    update {
      max_parallel      = 2
      health_check      = "checks"
      min_healthy_time  = "5s"
      healthy_deadline  = "2m"
      progress_deadline = "3m"
      auto_revert       = true
      auto_promote      = true
      canary            = 1
      stagger           = "20s"

      traffic {
        steps    = [5, 50]
        hold     = "1m"
        bake     = "2m"
        sticky   = "cookie"
        splitter = "ignore"
      }

      analysis {
        warmup = "5s"

        success_rate {
          max_drop = 0.5
        }

        latency {
          quantile  = 0.99
          max_ratio = 1.5
        }

        metric "errors" {
          source  = "prometheus"
          address = "http://prometheus:9090"
          query   = "sum(rate(errors{version=\"{{ version }}\"}[{{ window }}]))"
          min     = 0
          max     = 0.2
        }

        hook "smoke" {
          on   = "start"
          http = "http://ci.example.com/smoke"
        }

        hook "go-live" {
          on     = "promote"
          manual = true
        }
      }
    }

    migrate {
      max_parallel     = 2
      health_check     = "checks"
      min_healthy_time = "5s"
      healthy_deadline = "2m"
    }

    reschedule {
      attempts       = 2
      interval       = "1h"
      delay          = "20s"
      delay_function = "exponential"
      max_delay      = "30m"
      unlimited      = false
    }

    scaling {
      type    = "horizontal"
      enabled = true
      min     = 1
      max     = 5

      policy {
        cooldown = "1m"
      }
    }

    meta {
      owner = "team"
    }

    vault {
      role = "group"
    }

    network {
      mbits = 5

      port "http" {
        to = 8080
      }
    }

    service {
      name                = "web"
      provider            = "consul"
      port                = "http"
      address             = "192.0.2.1"
      address_mode        = "auto"
      tags                = ["a"]
      canary_tags         = ["b"]
      enable_tag_override = true
      on_update           = "ignore_warnings"
      task                = "server"

      meta {
        a = "b"
      }

      canary_meta {
        a = "c"
      }

      check_restart {
        limit           = 2
        grace           = "5s"
        ignore_warnings = true
      }

      check {
        name                     = "alive"
        type                     = "http"
        path                     = "/health"
        protocol                 = "https"
        port                     = "http"
        address_mode             = "host"
        interval                 = "5s"
        timeout                  = "1s"
        initial_status           = "passing"
        tls_skip_verify          = true
        method                   = "POST"
        body                     = "{}"
        notes                    = "told"
        success_before_passing   = 1
        failures_before_critical = 2
        failures_before_warning  = 1
        on_update                = "ignore_warnings"

        header {
          Accept = ["text/html"]
        }
      }

      check {
        name     = "script"
        type     = "script"
        task     = "server"
        command  = "/bin/check"
        args     = ["now"]
        interval = "5s"
        timeout  = "1s"
      }
    }

    task "server" {
      driver      = "raw_exec"
      kill_signal = "SIGTERM"

      config {
        command = "/bin/serve"
      }

      env {
        A = "b"
      }

      meta {
        c = "d"
      }

      constraint {
        attribute = "${attr.cpu.arch}"
        operator  = "="
        value     = "amd64"
      }

      affinity {
        attribute = "${attr.cpu.arch}"
        operator  = "regexp"
        value     = "amd"
        weight    = 10
      }

      restart {
        attempts         = 1
        interval         = "1m"
        delay            = "1s"
        mode             = "delay"
        render_templates = true
      }

      vault {
        policies               = ["read"]
        role                   = "server"
        namespace              = "team"
        cluster                = "default"
        env                    = false
        disable_file           = true
        change_mode            = "signal"
        change_signal          = "SIGUSR1"
        allow_token_expiration = true
      }

      consul {
        namespace = "team"
        cluster   = "default"
        partition = "p"
      }

      secret "own" {
        provider = "plugin"
        path     = "a/b"

        env {
          A = "b"
        }
      }

      scaling "cpu" {
        enabled = true
        min     = 100
        max     = 500

        policy {
          cooldown = "1m"
        }
      }

      service {
        name = "admin"
        port = "own"

        tagged_addresses {
          lan = "192.0.2.2"
        }

        weights {
          passing = 2
          warning = 1
        }
      }

      template {
        data                 = "x"
        destination          = "local/x"
        change_mode          = "signal"
        change_signal        = "SIGUSR1"
        perms                = "0600"
        splay                = "2s"
        left_delimiter       = "[["
        right_delimiter      = "]]"
        error_on_missing_key = true
      }

      template {
        data        = "y"
        destination = "local/y"
        change_mode = "script"

        change_script {
          command             = "/bin/reload"
          run_on_first_render = true
        }
      }

      logs {
        enabled = true
      }

      resources {
        cpu  = 50
        disk = 10
        iops = 5

        network {
          mode = "host"

          dns {
            servers  = ["192.0.2.53"]
            searches = ["internal"]
            options  = ["ndots:2"]
          }

          port "own" {
            static = 9000
          }
        }
      }
    }
  }

  group "edge" {
    disconnect {
      stop_on_client_after = "5m"
      replace              = true
      reconcile            = "longest_running"
    }

    network {
      mode = "bridge"
    }

    service {
      name = "edge"
      port = "8443"

      connect {
        gateway {
          proxy {
            connect_timeout = "1s"

            envoy_gateway_bind_addresses "all" {
              address = "0.0.0.0"
              port    = 8443
            }

            config {
              protocol = "http"
            }
          }

          ingress {
            listener {
              port     = 8443
              protocol = "http"

              service {
                name  = "web"
                hosts = ["example.com"]

                tls {
                  enabled = true

                  sds {
                    cluster_name  = "sds"
                    cert_resource = "cert"
                  }
                }

                request_headers {
                  add {
                    x = "1"
                  }
                }

                response_headers {
                  set {
                    y = "2"
                  }

                  remove = ["z"]
                }
              }
            }
          }
        }
      }
    }

    service {
      name = "behind"
      port = "8080"

      connect {
        sidecar_service {}

        sidecar_task {
          identity {
            name = "side"
            aud  = ["mesh"]
            ttl  = "1h"
          }
        }
      }
    }

    task "idle" {
      driver = "raw_exec"

      config {
        command = "/bin/idle"
      }
    }
  }

  group "native" {
    network {
      port "http" {}
    }

    service {
      name = "native"
      port = "http"
      task = "serve"

      connect {
        native = true
      }
    }

    task "serve" {
      driver = "raw_exec"

      config {
        command = "/bin/serve"
      }
    }
  }
}
