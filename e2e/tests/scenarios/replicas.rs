//! Scenario 20: several sidecars publish one head on a real etcd.

#[path = "../../../sidecar/src/store/conformance.rs"]
mod conformance;

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use finality_core::head::{HeadReport, Status};
use finality_e2e::{
    client::{Answer, http, send},
    devnet::Devnet,
    etcd::Etcd,
    ports::free_port,
    process::{self, Process},
    rollup::Rollup,
    sidecar::{Settings, Sidecar},
    tools,
    wait::{PATIENCE, until},
};
use finality_sidecar::store::{
    engine::{Engine, EngineError},
    etcd::{EtcdClient, EtcdLocation, TlsFiles},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

/// Sidecars of one node that publish together, each with files of its own.
async fn replicas(
    net: &Devnet<impl Rollup>,
    etcd: &Etcd,
    folders: &[tempfile::TempDir],
) -> Vec<Sidecar> {
    let settings =
        Settings { more: vec![("--store", etcd.store())], ..net.sidecar.settings().clone() };
    let replicas: Vec<_> =
        folders.iter().map(|folder| Sidecar::new(settings.clone(), folder.path())).collect();
    for replica in &replicas {
        replica.start().await;
    }
    replicas
}

/// All replicas serve that head.
async fn all_serve(replicas: &[Sidecar], number: u64) -> Vec<HeadReport> {
    let mut reports = Vec::new();
    for replica in replicas {
        let report = until("the published head", PATIENCE, async || {
            let head = replica.head().await?;
            (head.number == number && head.status == Status::Ok).then_some(head)
        })
        .await;
        reports.push(report);
    }
    reports
}

async fn confirmed(replica: &Sidecar) -> Value {
    replica.get("/v1/head?confirm=cluster").await.unwrap().json()["confirmed"].clone()
}

/// A busy etcd may not answer in the time that a question has.
async fn is_confirmed(replica: &Sidecar) {
    until("a confirmation", PATIENCE, async || (confirmed(replica).await == true).then_some(()))
        .await;
}

async fn cluster_state(replica: &Sidecar, state: &str) {
    until(&format!("the state {state}"), PATIENCE, async || {
        (replica.status().await["cluster"]["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_replicas_publish_one_head_whatever_happens_to_etcd() {
    let net = Devnet::emulated().start().await;
    let folders = [process::folder(), process::folder(), process::folder(), process::folder()];
    let (own, of_etcd) = folders.split_at(3);
    let etcd = Etcd::start(of_etcd[0].path()).await;
    let replicas = replicas(&net, &etcd, own).await;
    net.produce(2).await;
    let reports = all_serve(&replicas, net.height().await).await;
    assert!(reports.iter().all(|report| report.store == reports[0].store));
    for replica in &replicas {
        is_confirmed(replica).await;
    }

    // The leader is frozen, then killed; its clients go on with the others.
    let leader = etcd.leader().await;
    etcd.freeze(leader, true);
    net.produce(2).await;
    all_serve(&replicas, net.height().await).await;
    let next = etcd.leader_without(Some(leader)).await;
    etcd.freeze(leader, false);
    let leader = next;
    etcd.kill(leader);
    net.produce(2).await;
    let published = net.height().await;
    all_serve(&replicas, published).await;

    // Without a quorum nothing is published or confirmed, and what was published is still served.
    let other = (leader + 1) % 3;
    etcd.kill(other);
    net.produce(2).await;
    cluster_state(&replicas[0], "silent").await;
    assert_eq!(replicas[0].head().await.unwrap().number, published);
    assert_eq!(confirmed(&replicas[0]).await, false);
    // Whoever starts now cannot know what others publish.
    replicas[1].kill();
    replicas[1].start().await;
    assert_eq!(replicas[1].head().await.map(|head| head.status), Some(Status::CutOff));

    etcd.spawn(leader);
    etcd.spawn(other);
    all_serve(&replicas, net.height().await).await;
    is_confirmed(&replicas[1]).await;

    // Alone again, from its own files.
    let published = net.height().await;
    replicas[2].stop().await;
    let alone = Settings { more: Vec::new(), ..replicas[2].settings().clone() };
    let alone = Sidecar::new(alone, own[2].path());
    alone.start().await;
    let head = all_serve(std::slice::from_ref(&alone), published).await;
    assert_ne!(head[0].store, reports[0].store);

    // What is published already may be moved while all run; into another file, only when none does.
    let store = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&replicas[0].settings().program);
        command.env_clear().current_dir(of_etcd[0].path()).arg("store").args(arguments);
        command.output().unwrap()
    };
    let file = own[2].path().join("moved.json").display().to_string();
    let own_file = replicas[0].store().display().to_string();
    let moving = ["move", "--store-path", &own_file, "--from", &etcd.store(), "--to"];
    let moved = store(&[&moving[..], &[&file]].concat());
    assert!(moved.status.success(), "nothing is published meanwhile: {moved:?}");
    let back = store(&["move", "--from", &file, "--to", &etcd.store()]);
    assert!(back.status.success(), "it is there already: {back:?}");
    alone.stop().await;

    // Lowered on purpose: those that run end, and take it over at their next start.
    let lowered = (published - 1).to_string();
    let reset = ["reset", "--yes", "--to", &lowered, "--store", &etcd.store()];
    let reset = store(&[&reset[..], &["--store-path", &own_file]].concat());
    assert!(reset.status.success(), "{reset:?}");
    for replica in &replicas[..2] {
        until("the replica to end", PATIENCE, async || replica.get("/livez").await.err()).await;
        replica.kill();
        replica.start().await;
    }
    let reports = all_serve(&replicas[..2], net.height().await).await;
    assert!(reports.iter().all(|report| report.generation == 1), "{reports:?}");
}

/// The head in an etcd, as the sidecar asks it.
fn engine(store: &str) -> impl Engine + use<> {
    engine_over(store, TlsFiles::default())
}

fn engine_over(store: &str, files: TlsFiles<'_>) -> impl Engine + use<> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let location = EtcdLocation::parse(store).unwrap();
    EtcdClient::new(location, files).unwrap().of(conformance::IDENTITY)
}

/// A question to etcd's gateway.
async fn gateway(etcd: &Etcd, path: &str, question: Value) -> Answer {
    let answer = send(http().post(etcd.url(path)).body(question.to_string())).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_etcd_keeps_one_head_for_those_it_knows() {
    let folder = process::folder();
    let etcd = Etcd::start(folder.path()).await;
    // Only what a sidecar needs.
    let key = |text: &str| BASE64_STANDARD.encode(text);
    let permission =
        json!({"permType": "READWRITE", "key": key("finality/"), "range_end": key("finality0")});
    for (path, question) in [
        ("auth/user/add", json!({"name": "root", "password": "root"})),
        ("auth/role/add", json!({"name": "root"})),
        ("auth/user/grant", json!({"user": "root", "role": "root"})),
        ("auth/user/add", json!({"name": "sidecar", "password": "p@ss:word"})),
        ("auth/role/add", json!({"name": "finality"})),
        ("auth/role/grant", json!({"name": "finality", "perm": permission})),
        ("auth/user/grant", json!({"user": "sidecar", "role": "finality"})),
        ("auth/enable", json!({})),
    ] {
        gateway(&etcd, path, question).await;
    }
    let as_user = |credentials: &str, prefix: &str| {
        let hosts = etcd.store().replace("/finality", prefix);
        engine(&hosts.replace("etcd://", &format!("etcd://{credentials}@")))
    };
    let known = as_user("sidecar:p%40ss%3Aword", "/finality");
    conformance::one_head_is_kept(&known).await;
    let another = as_user("sidecar:p%40ss%3Aword", "/finality");
    conformance::reports_live_as_long_as_their_replicas([&known, &another]).await;

    for refused in [
        engine(&etcd.store()),
        as_user("sidecar:wrong", "/finality"),
        as_user("sidecar:p%40ss%3Aword", "/other"),
    ] {
        assert!(matches!(refused.load().await, Err(EngineError::Refused(_))));
    }
    // Nothing that is not ours is overwritten.
    let token = gateway(&etcd, "auth/authenticate", json!({"name": "root", "password": "root"}));
    let token = token.await.json()["token"].as_str().unwrap().to_owned();
    let path = format!("finality/7-{}-7/head", "ab".repeat(4));
    let foreign = json!({"key": key(&path), "value": key(r#"{"format_version": 2}"#)});
    let put = http().post(etcd.url("kv/put")).header("authorization", token);
    assert_eq!(send(put.body(foreign.to_string())).await.unwrap().status, 200);
    assert!(matches!(known.load().await, Err(EngineError::Foreign(_))));
    assert!(matches!(
        known.advance(None, &conformance::head(99)).await,
        Err(EngineError::Foreign(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_etcd_over_tls_knows_its_clients_and_is_known() {
    let folder = process::folder();
    let path = |name: &str| folder.path().join(name);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    fs::write(path("ca.pem"), authority.pem()).unwrap();
    for (name, host) in [("etcd", "127.0.0.1"), ("client", "sidecar.example")] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        fs::write(path(&format!("{name}.pem")), both).unwrap();
    }
    let (client, peer) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
    let url = format!("https://127.0.0.1:{client}");
    let pem = path("etcd.pem").display().to_string();
    let arguments = [
        ("--data-dir", path("data").display().to_string()),
        ("--listen-client-urls", url.clone()),
        ("--advertise-client-urls", url.clone()),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer.clone()),
        ("--initial-cluster", format!("default={peer}")),
        ("--cert-file", pem.clone()),
        ("--key-file", pem),
        ("--trusted-ca-file", path("ca.pem").display().to_string()),
    ];
    let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    let arguments = arguments.chain(["--client-cert-auth".to_owned()]);
    let program = tools::etcd().unwrap();
    let _etcd = Process::start("etcd", &program, arguments, folder.path());

    let (ca, own) = (path("ca.pem"), path("client.pem"));
    let both = TlsFiles { authorities: Some(&ca), identity: Some(&own) };
    let store = format!("etcds://127.0.0.1:{client}");
    let known = engine_over(&store, both);
    until("etcd over TLS", PATIENCE, async || known.load().await.ok()).await;
    conformance::one_head_is_kept(&known).await;
    let named_otherwise = format!("etcds://localhost:{client}");
    for stranger in [
        engine_over(&store, TlsFiles { authorities: Some(&ca), identity: None }),
        engine_over(&store, TlsFiles { authorities: None, identity: Some(&own) }),
        engine_over(&named_otherwise, both),
        engine_over(&store.replace("etcds", "etcd"), TlsFiles::default()),
    ] {
        assert!(stranger.load().await.is_err());
    }
    assert!(known.load().await.is_ok());
}
