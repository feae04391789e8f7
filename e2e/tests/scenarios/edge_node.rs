//! Between client and node, as the shipped configuration has it: host names, old clients, and a
//! node behind https with a path, by the files of `envoy/https`.

use std::path::Path;

use finality_e2e::{
    client::{Client, http, http2, raw, send},
    echo::Echo,
    edge::{Edge, outcome, resolve, tagged, untagged},
    envoy::{Envoy, Options},
    fake_sidecar::{FakeSidecar, Says},
    ports::free_port,
    process::{self, Process},
    tools::Tools,
    wait::{PATIENCE, until},
    websocket::{Connection, Http},
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::edge_mtls::certificates;

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_client_may_use_any_host_name() {
    for to_node in [Http::One, Http::Two] {
        let builder = Edge::builder();
        let builder = if to_node == Http::Two { builder.http2_to_node() } else { builder };
        let edge = builder.start().await;
        edge.resolves_to(Ok(100)).await;
        // The node refuses such a name, as geth does.
        let direct = http().post(format!("http://127.0.0.1:{}", edge.node.port()));
        let direct = direct.header("host", "rpc.example.org").body(tagged());
        assert_eq!(send(direct).await.unwrap().status, 403);

        for client in [http().clone(), http2()] {
            edge.node.take_seen();
            let request = client
                .post(edge.envoy.url())
                .header("content-type", "application/json")
                .header("host", "rpc.example.org:8545");
            assert_eq!(outcome(&send(request.body(tagged())).await.unwrap()), Ok(100));
            assert_eq!(edge.node.take_complete().len(), 1);
        }
        let mut connection = Connection::open_by_name(&edge.envoy.url(), "rpc.example.org").await;
        connection.send(Message::text(untagged())).await;
        assert_eq!(connection.message().await, Message::text(untagged()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_http_1_0_is_served() {
    let edge = Edge::builder().start().await;
    edge.resolves_to(Ok(100)).await;
    let expected = tagged().replace("espresso", "0x64");
    // nginx's proxy_pass names a host; a client may leave it out.
    for host in ["Host: backend\r\n", ""] {
        let (body, length) = (tagged(), tagged().len());
        let request = format!(
            "POST / HTTP/1.0\r\n{host}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        // The connection ends after the answer.
        let answer = String::from_utf8(raw(&edge.envoy.url(), request.as_bytes()).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.0 200 ok\r\n"), "{head}");
        assert!(head.contains("x-finality-head: 100"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(body, expected);
    }
}

/// A server behind https that knows one name and one path, in front of the node.
async fn https(tools: &Tools, folder: &Path, node: u16, certificate: &str) -> (Process, u16) {
    let port = free_port();
    let at = |file: &str| folder.join(file).display().to_string();
    let (chain, key) = (at(&format!("{certificate}.crt")), at(&format!("{certificate}.key")));
    let configuration = serde_json::json!({"static_resources": {
        "listeners": [{
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "listener_filters": [{"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            }}],
            "filter_chains": [{
                // Other names get no handshake.
                "filter_chain_match": {"server_names": ["node.example"]},
                "transport_socket": {"name": "tls", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {"tls_certificates": [{
                        "certificate_chain": {"filename": chain}, "private_key": {"filename": key},
                    }]},
                }},
                "filters": [{"name": "http", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "https",
                    "upgrade_configs": [{"upgrade_type": "websocket"}],
                    "route_config": {"virtual_hosts": [{
                        "name": "node", "domains": ["node.example"],
                        "routes": [{
                            "match": {"path_separated_prefix": "/v2/KEY"},
                            "route": {"cluster": "node", "host_rewrite_literal": "localhost"},
                        }],
                    }]},
                    "http_filters": [{"name": "router", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    }}],
                }}],
            }],
        }],
        "clusters": [{"name": "node", "load_assignment": {"cluster_name": "node", "endpoints": [{
            "lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": "127.0.0.1", "port_value": node,
            }}}}],
        }]}}],
    }});
    let path = folder.join(format!("{certificate}.json"));
    std::fs::write(&path, configuration.to_string()).unwrap();
    let arguments = ["--disable-hot-restart", "--log-level", "warning", "--config-path"];
    let arguments = arguments.into_iter().chain([path.to_str().unwrap()]);
    let server = Process::start(&format!("https-{certificate}"), &tools.envoy, arguments, folder);
    until("the server behind https", PATIENCE, async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| ())
    })
    .await;
    (server, port)
}

/// The shipped configuration with both files of `envoy/https`.
fn edge_to(tools: &Tools, folder: &Path, node: u16, sidecar: u16) -> Envoy {
    let read = |name: &str| {
        std::fs::read_to_string(tools.envoy_yaml.with_file_name("https").join(name)).unwrap()
    };
    let tls = read("tls.yaml")
        .replace("/etc/ssl/certs/ca-certificates.crt", &folder.join("ca.crt").to_string_lossy());
    let port = "                port_value: 9545\n".to_owned();
    let localhost = "                  host_rewrite_literal: localhost\n".to_owned();
    let own = folder.join(format!("envoy-{node}"));
    std::fs::create_dir(&own).unwrap();
    let edits = vec![(port.clone(), port + &tls), (localhost, read("route.yaml"))];
    Envoy::new(Options { edits, ..Options::default() }, node, sidecar, &own)
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_a_node_behind_https_with_a_path() {
    let tools = Tools::from_env().unwrap();
    let folder = process::folder();
    certificates(folder.path(), &["node", "other"]);
    let node = Echo::start().await;
    let sidecar = FakeSidecar::start(Says::head(100)).await;
    let (_server, port) = https(&tools, folder.path(), node.port(), "node").await;
    let edge = edge_to(&tools, folder.path(), port, sidecar.port());
    edge.start().await;
    let client = Client::new(edge.url());
    until("the head", PATIENCE, async || (resolve(&client).await == Ok(100)).then_some(())).await;
    for (sent, expected) in
        [("/", "/v2/KEY"), ("/?a=1", "/v2/KEY?a=1"), ("/health", "/v2/KEY/health")]
    {
        node.take_seen();
        let answer = Client::new(format!("{}{sent}", edge.url())).post(tagged()).await.unwrap();
        assert_eq!(outcome(&answer), Ok(100), "{sent}");
        let paths: Vec<_> = node.take_complete().into_iter().map(|seen| seen.path).collect();
        assert_eq!(paths, [expected]);
    }
    let mut connection = Connection::open(Http::One, &edge.url()).await;
    connection.send(Message::text(tagged())).await;
    let expected = tagged().replace("espresso", "0x64");
    assert_eq!(connection.message().await, Message::text(expected));

    // The same authority, but a certificate for another name.
    let (_other, port) = https(&tools, folder.path(), node.port(), "other").await;
    let edge = edge_to(&tools, folder.path(), port, sidecar.port());
    edge.start().await;
    node.take_seen();
    let answer = Client::new(edge.url()).post(untagged()).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(edge.stat("cluster.full_node.ssl.fail_verify_san").await > 0);
    assert!(node.take_seen().is_empty());
}
