//! The sidecar behind an Envoy of its own over mutual TLS: both files of `envoy/mtls`, with only
//! addresses, ports and the folder of the certificates replaced.

use std::path::Path;

use finality_e2e::{
    client::Client,
    echo::Echo,
    edge::resolve,
    envoy::{Envoy, Options},
    fake_sidecar::{FakeSidecar, Says},
    ports::free_port,
    process::{self, Process},
    tools::Tools,
    wait::{PATIENCE, until},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpStream;

/// An authority, and its certificates for these names under `.example`.
pub(crate) fn certificates(folder: &Path, names: &[&str]) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A different name than the certificates', which would otherwise look self-signed.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    for name in names {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// An edge that presents the certificate for that name.
fn edge(tools: &Tools, folder: &Path, name: &str, node: u16, port: u16) -> Envoy {
    let shipped = std::fs::read_to_string(&tools.envoy_yaml).unwrap();
    let (_, plain) = shipped.split_once("  - name: finality_sidecar\n").unwrap();
    let (plain, _) = plain.split_once("\n\n").unwrap();
    let plain = format!("  - name: finality_sidecar\n{plain}\n");
    let mtls = tools.envoy_yaml.with_file_name("mtls/cluster.yaml");
    let mtls = std::fs::read_to_string(mtls)
        .unwrap()
        .replace("address: sidecar.example", "address: 127.0.0.1")
        .replace("port_value: 8443", "port_value: 8090")
        .replace("/etc/envoy/tls/edge", &format!("/etc/envoy/tls/{name}"))
        .replace("/etc/envoy/tls", &folder.to_string_lossy());
    let own = folder.join(format!("{name}-envoy"));
    std::fs::create_dir(&own).unwrap();
    let options = Options { edits: vec![(plain, mtls)], ..Options::default() };
    Envoy::new(options, node, port, &own)
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_over_mutual_tls_only_the_named_client_gets_the_head() {
    let tools = Tools::from_env().unwrap();
    let folder = process::folder();
    certificates(folder.path(), &["edge", "sidecar", "other"]);
    let node = Echo::start().await;
    let sidecar = FakeSidecar::start(Says::head(100)).await;
    let port = free_port();
    let beside = tools.envoy_yaml.with_file_name("mtls/sidecar.yaml");
    let beside = std::fs::read_to_string(beside)
        .unwrap()
        .replace("0.0.0.0", "127.0.0.1")
        .replace("port_value: 8443", &format!("port_value: @{port}"))
        .replace("port_value: 8090", &format!("port_value: {}", sidecar.port()))
        .replace("port_value: @", "port_value: ")
        .replace("/etc/envoy/tls", &folder.path().to_string_lossy());
    let path = folder.path().join("sidecar.yaml");
    std::fs::write(&path, beside).unwrap();
    let arguments = ["--disable-hot-restart", "--log-level", "warning", "--config-path"];
    let arguments = arguments.into_iter().chain([path.to_str().unwrap()]);
    let _beside = Process::start("envoy-beside", &tools.envoy, arguments, folder.path());
    until("the Envoy beside the sidecar", PATIENCE, async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| ())
    })
    .await;

    let named = edge(&tools, folder.path(), "edge", node.port(), port);
    named.start().await;
    let client = Client::new(named.url());
    until("the head over TLS", PATIENCE, async || {
        (resolve(&client).await == Ok(100)).then_some(())
    })
    .await;
    // Long polls work as well.
    sidecar.say(Says::head(101));
    until("the next head", PATIENCE, async || (resolve(&client).await == Ok(101)).then_some(()))
        .await;

    // Signed by the same authority, but for another name.
    let other = edge(&tools, folder.path(), "other", node.port(), port);
    other.start().await;
    until("a poll that failed", PATIENCE, async || {
        (other.stat("wasmcustom.finality_filter_polls_failed_total").await > 0).then_some(())
    })
    .await;
    assert_eq!(resolve(&Client::new(other.url())).await, Err("no_head".into()));
}
