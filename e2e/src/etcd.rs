//! Three real etcd members, which can be killed, frozen and started again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};

use crate::{
    client::{http, send},
    link::Link,
    ports::free_port,
    process::Service,
    tools,
    wait::{PATIENCE, until},
};

/// The size of the cluster.
const MEMBERS: usize = 3;

fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    initial: String,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: u16,
    peer: u16,
    data: PathBuf,
    service: Service,
}

impl Etcd {
    /// Starts the members and waits until they have a leader.
    ///
    /// # Panics
    /// When one ends instead.
    pub async fn start(folder: &Path) -> Self {
        let program = tools::etcd().unwrap_or_else(|error| panic!("{error}"));
        let members: Vec<_> = (0..MEMBERS)
            .map(|index| {
                let name = format!("etcd-{index}");
                let data = folder.join(&name);
                let service = Service::new(&name, &program, folder);
                Member { name, client: free_port(), peer: free_port(), data, service }
            })
            .collect();
        let peers: Vec<_> = members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer))
            .collect();
        let cluster = Self { members, initial: peers.join(",") };
        (0..MEMBERS).for_each(|index| cluster.spawn(index));
        cluster.has_leader().await;
        cluster
    }

    /// The setting by which a sidecar uses it.
    #[must_use]
    pub fn store(&self) -> String {
        let hosts: Vec<_> =
            self.members.iter().map(|member| format!("127.0.0.1:{}", member.client)).collect();
        format!("etcd://{}/finality", hosts.join(","))
    }

    /// The same over ways of one's own, one for each member.
    #[must_use]
    pub fn store_over(&self, links: &[Link]) -> String {
        let hosts: Vec<_> = self
            .members
            .iter()
            .zip(links)
            .map(|(member, link)| link.to(&format!("http://127.0.0.1:{}", member.client)))
            .map(|url| url.trim_start_matches("http://").to_owned())
            .collect();
        format!("etcd://{}/finality", hosts.join(","))
    }

    /// Asks the members' JSON gateways until one answers.
    pub async fn ask(&self, path: &str, question: &Value) -> Value {
        until(&format!("etcd to answer {path}"), PATIENCE, async || {
            for member in self.members.iter().filter(|member| member.service.is_running()) {
                let url = format!("http://127.0.0.1:{}/v3/{path}", member.client);
                let asked = http().post(url).timeout(Duration::from_secs(1));
                let answer = send(asked.body(question.to_string())).await;
                if let Some(answer) = answer.ok().filter(|answer| answer.status == 200) {
                    return Some(answer.json());
                }
            }
            None
        })
        .await
    }

    /// Keeps what the members have now; they are killed and started again for that.
    ///
    /// # Panics
    /// When a file cannot be copied.
    pub fn take_snapshot(&self) {
        (0..MEMBERS).for_each(|index| self.kill(index));
        for Member { data, .. } in &self.members {
            copy_folder(data, &data.with_extension("snapshot"));
        }
        (0..MEMBERS).for_each(|index| self.spawn(index));
    }

    /// Goes back to the snapshot: what was acknowledged since is lost.
    ///
    /// # Panics
    /// When there is none.
    pub fn restore_snapshot(&self) {
        (0..MEMBERS).for_each(|index| self.kill(index));
        for Member { data, .. } in &self.members {
            copy_folder(&data.with_extension("snapshot"), data);
        }
        (0..MEMBERS).for_each(|index| self.spawn(index));
    }

    /// A path of the JSON gateway of the first member.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/v3/{path}", self.members[0].client)
    }

    /// Starts a member, or starts it again with its data.
    pub fn spawn(&self, index: usize) {
        self.spawn_into(index, "new");
    }

    /// Kills a member, whose data is lost, and replaces it as etcd's manual says.
    ///
    /// # Panics
    /// When the others do not answer.
    pub async fn replace(&self, index: usize) {
        let Member { name, peer, data, .. } = &self.members[index];
        self.kill(index);
        let _ = fs::remove_dir_all(data);
        let list = self.ask("cluster/member/list", &json!({})).await;
        let known = list["members"].as_array().into_iter().flatten();
        for member in known.filter(|member| member["name"] == name.as_str()) {
            self.ask("cluster/member/remove", &json!({ "ID": member["ID"] })).await;
        }
        let peer = format!("http://127.0.0.1:{peer}");
        self.ask("cluster/member/add", &json!({ "peerURLs": [peer] })).await;
        self.spawn_into(index, "existing");
    }

    fn spawn_into(&self, index: usize, cluster: &str) {
        let Member { name, client, peer, data, service } = &self.members[index];
        let (client, peer) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let values = [
            ("--name", name.clone()),
            ("--data-dir", data.to_string_lossy().into_owned()),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", self.initial.clone()),
            ("--initial-cluster-state", cluster.to_owned()),
        ];
        let arguments = values.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        service.start(arguments);
    }

    /// Kills a member (SIGKILL).
    pub fn kill(&self, index: usize) {
        self.members[index].service.kill();
    }

    /// Freezes a member (SIGSTOP), or lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, index: usize, frozen: bool) {
        let id = i32::try_from(self.members[index].service.id()).ok().and_then(Pid::from_raw);
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(id.expect("a process"), signal).unwrap();
    }

    /// Lets a member write no further byte: it ends at the next one, as etcd does on a full disk.
    ///
    /// # Panics
    /// When it does not run.
    pub fn fill_disk(&self, index: usize) {
        let id = i32::try_from(self.members[index].service.id()).ok().and_then(Pid::from_raw);
        // The limit is about places in files, so it holds for what was allocated before, too.
        let limit = Rlimit { current: Some(1), maximum: None };
        prlimit(id, Resource::Fsize, limit).unwrap();
    }

    /// Waits until a member has ended that could not write, and starts it again with room.
    pub async fn mend_disk(&self, index: usize) {
        until("the member without room to end", PATIENCE, async || {
            self.members[index].service.ended().is_some().then_some(())
        })
        .await;
        self.kill(index);
        self.spawn(index);
    }

    /// The member that leads, once there is one.
    pub async fn leader(&self) -> usize {
        self.leader_without(None).await
    }

    /// The same without a member that is gone or frozen.
    pub async fn leader_without(&self, gone: Option<usize>) -> usize {
        until("etcd to have a leader", PATIENCE, async || {
            let members = self.members.iter().enumerate();
            for (index, member) in members.filter(|(index, _)| Some(*index) != gone) {
                let url = format!("http://127.0.0.1:{}/v3/maintenance/status", member.client);
                let asked = http().post(url).timeout(Duration::from_secs(1)).body("{}");
                let Ok(answer) = send(asked).await else { continue };
                let status = answer.json();
                let led = status["leader"].as_str().is_some_and(|leader| leader != "0");
                if led && status["leader"] == status["header"]["member_id"] {
                    return Some(index);
                }
            }
            None
        })
        .await
    }

    async fn has_leader(&self) {
        self.leader().await;
    }
}
