# Every block and attribute of the language once.
job "blocks" {
  id         = "blocks-1"
  name       = "All blocks"
  region     = "global"
  namespace  = "default"
  type       = "batch"
  priority   = 60
  node_pool  = "default"
  all_at_once = true
  datacenters = ["dc1", "dc*"]

  ui {
    description = "Shows **all** blocks."
    link {
      label = "docs"
      url   = "https://example.com/docs"
    }
  }
  periodic {
    crons            = ["*/15 * * * *", "0 3 * * SUN"]
    prohibit_overlap = true
    time_zone        = "Europe/Berlin"
    enabled          = false
  }
  parameterized {
    payload       = "optional"
    meta_required = ["input"]
    meta_optional = ["level"]
  }
  vault {
    role = "job"
  }
  secret "shared" {
    provider = "nomad"
    path     = "shared/path"
  }
  constraint {
    distinct_hosts = true
  }
  constraint {
    attribute = "${attr.kernel.version}"
    version   = ">= 4"
  }
  affinity {
    attribute = "${node.datacenter}"
    value     = "dc1"
    weight    = 70
  }
  spread {
    attribute = "${node.datacenter}"
    weight    = 80
    target "dc1" {
      percent = 60
    }
    target "dc2" {
      percent = 40
    }
  }
  reschedule {
    attempts = 2
    interval = "1h"
  }
  meta {
    owner = "team"
  }

  group "main" {
    count                        = 2
    shutdown_delay               = "3s"
    max_run_duration             = "2h"
    stop_after_client_disconnect = "1h"
    max_client_disconnect        = "2h"
    prevent_reschedule_on_lost   = true
    consul {
      namespace = "apps"
      cluster   = "default"
      partition = "p"
    }
    disconnect {
      lost_after           = "6h"
      replace              = false
      reconcile            = "keep_original"
    }
    ephemeral_disk {
      size    = 500
      sticky  = true
      migrate = true
    }
    restart {
      attempts         = 3
      interval         = "10m"
      delay            = "20s"
      mode             = "delay"
      render_templates = true
    }
    scaling {
      enabled = true
      min     = 1
      max     = 10
      policy {
        cooldown = "1m"
        check "load" {
          source = "prometheus"
          query  = "rate"
          strategy "target-value" {
            target = 70
          }
        }
      }
    }
    volume "data" {
      type            = "csi"
      source          = "data-volume"
      read_only       = true
      access_mode     = "multi-node-reader-only"
      attachment_mode = "file-system"
      per_alloc       = false
      sticky          = false
      mount_options {
        fs_type     = "ext4"
        mount_flags = ["noatime"]
      }
    }
    volume "host" {
      type   = "host"
      source = "scratch"
      sticky = true
    }
    network {
      mode     = "bridge"
      hostname = "web-${NOMAD_ALLOC_INDEX}"
      dns {
        servers  = ["10.0.0.2"]
        searches = ["internal"]
        options  = ["ndots:2"]
      }
      cni {
        args = {
          "nomad.job" = "x"
        }
      }
      port "http" {
        to           = 8080
        host_network = "public"
      }
      port "admin" {
        static           = 9090
        ignore_collision = false
      }
    }
    service {
      name     = "api"
      port     = "http"
      provider = "consul"
      cluster  = "default"
      kind     = "api-gateway"
      identity {
        aud = ["consul.io"]
        ttl = "1h"
      }
      connect {
        sidecar_service {
          tags                      = ["proxy"]
          port                      = "admin"
          disable_default_tcp_check = true
          meta {
            a = "b"
          }
          proxy {
            local_service_address = "127.0.0.1"
            local_service_port    = 8080
            expose {
              path {
                path            = "/health"
                protocol        = "http"
                local_path_port = 8080
                listener_port   = "admin"
              }
            }
            upstreams {
              destination_name       = "db"
              destination_namespace  = "data"
              destination_peer       = "cloud"
              destination_partition  = "p"
              destination_type       = "service"
              local_bind_port        = 5432
              local_bind_address     = "127.0.0.2"
              local_bind_socket_path = "/tmp/db.sock"
              local_bind_socket_mode = "0600"
              datacenter             = "dc2"
              mesh_gateway {
                mode = "local"
              }
              config {
                connect_timeout_ms = 500
              }
            }
            transparent_proxy {
              uid                    = "101"
              outbound_port          = 15001
              exclude_inbound_ports  = ["admin", "9091"]
              exclude_outbound_ports = [443, 80]
              exclude_outbound_cidrs = ["10.0.0.0/8"]
              exclude_uids           = ["102"]
              no_dns                 = true
            }
            config {
              protocol = "http"
            }
          }
        }
        sidecar_task {
          name           = "proxy"
          driver         = "docker"
          user           = "envoy"
          kill_timeout   = "10s"
          shutdown_delay = "1s"
          kill_signal    = "SIGTERM"
          config {
            image = "envoy:${NOMAD_META_version}"
          }
          env {
            LEVEL = "debug"
          }
          meta {
            kind = "sidecar"
          }
          resources {
            cpu    = 200
            memory = 64
          }
          logs {
            max_files = 2
          }
          volume_mount {
            volume      = "host"
            destination = "/scratch"
          }
        }
      }
      check {
        type            = "grpc"
        grpc_service    = "health"
        grpc_use_tls    = true
        tls_server_name = "api.internal"
        interval        = "5s"
        timeout         = "1s"
        expose          = true
        advertise       = "10.0.0.9"
        check_restart {
          limit           = 3
          grace           = "5s"
          ignore_warnings = true
        }
      }
      tagged_addresses {
        lan = "10.0.0.1"
      }
      weights {
        passing = 5
        warning = 1
      }
    }
    service {
      name = "edge"
      connect {
        gateway {
          proxy {
            connect_timeout                     = "500ms"
            envoy_gateway_bind_tagged_addresses = true
            envoy_gateway_no_default_bind       = true
            envoy_dns_discovery_type            = "LOGICAL_DNS"
            envoy_gateway_bind_addresses "all" {
              address = "0.0.0.0"
              port    = 443
            }
          }
          ingress {
            tls {
              enabled         = true
              tls_min_version = "TLSv1_2"
              tls_max_version = "TLSv1_3"
              cipher_suites   = ["X"]
              sds {
                cluster_name  = "sds"
                cert_resource = "cert"
              }
            }
            listener {
              port     = 8443
              protocol = "http"
              service {
                name                    = "api"
                hosts                   = ["api.example.com"]
                max_connections         = 10
                max_pending_requests    = 20
                max_concurrent_requests = 30
                request_headers {
                  add {
                    x = "1"
                  }
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
      name = "out"
      connect {
        gateway {
          terminating {
            service {
              name      = "legacy"
              ca_file   = "/ca"
              cert_file = "/cert"
              key_file  = "/key"
              sni       = "legacy.internal"
            }
          }
        }
      }
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "true"
      }
    }
    task "work" {
      driver         = "docker"
      user           = "nobody"
      kind           = "connect-native:api"
      leader         = true
      kill_timeout   = "20s"
      kill_signal    = "SIGQUIT"
      shutdown_delay = "2s"
      config {
        image = "busybox:1"
        args  = ["sh", "-c", "echo $${HOME} ${NOMAD_ALLOC_ID}"]
        labels {
          a = "b"
          nested {
            c = "d"
          }
        }
        mounts = [{ type = "bind", source = "a" }]
        port_map = {
          http = 80
        }
      }
      consul {
        cluster = "default"
      }
      secret "token" {
        provider = "vault"
        path     = "kv/token"
        config {
          engine = "kv_v2"
        }
      }
      identity {
        env  = true
        file = true
      }
      identity {
        name          = "cloud"
        aud           = ["cloud.example.com"]
        file          = true
        filepath      = "local/token.jwt"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        ttl           = "30m"
        extra_claims  = ["unique_id"]
        service_name  = "api"
      }
      action "flush" {
        command = "/bin/flush"
        args    = ["--all"]
      }
      schedule {
        cron {
          start    = "0 30 9 * * MON-FRI"
          end      = "0 17"
          timezone = "UTC"
        }
      }
      csi_plugin {
        id                     = "plugin"
        type                   = "node"
        mount_dir              = "/csi"
        stage_publish_base_dir = "/local/csi"
        health_timeout         = "1m"
      }
      dispatch_payload {
        file = "input.json"
      }
      volume_mount {
        volume           = "data"
        destination      = "/data"
        read_only        = true
        propagation_mode = "private"
        selinux_label    = "Z"
      }
      template {
        data            = "x={{ key \"a\" }}"
        destination     = "local/x.env"
        env             = true
        change_mode     = "script"
        uid             = 1000
        gid             = 1000
        wait {
          min = "2s"
          max = "4s"
        }
        change_script {
          command       = "/bin/reload"
          args          = ["now"]
          timeout       = "20s"
          fail_on_error = true
        }
      }
      template {
        source      = "local/y.tpl"
        destination = "local/y"
        once        = true
        vault_grace = "1s"
      }
      artifact {
        source      = "https://example.com/a.tgz"
        destination = "local/a"
        mode        = "any"
        insecure    = true
        chown       = true
        options {
          checksum = "md5:d41d8cd98f00b204e9800998ecf8427e"
        }
        headers {
          X-Token = "t"
        }
      }
      logs {
        max_files     = 3
        max_file_size = 4
        disabled      = true
      }
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      resources {
        cores      = 2
        memory     = 256
        memory_max = 512
        secrets    = 8
        device "nvidia/gpu/T4" {
          count = 2
          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "2 GiB"
          }
          affinity {
            attribute = "${device.model}"
            value     = "T4"
          }
        }
        numa {
          affinity = "prefer"
          devices  = ["nvidia/gpu/T4"]
        }
        network {
          mbits = 10
          port "old" {}
        }
      }
    }
  }
  task "alone" {
    driver = "raw_exec"
    config {
      command = "/bin/true"
    }
    env = {
      "a.b" = "1"
      n     = 5
    }
  }
}
