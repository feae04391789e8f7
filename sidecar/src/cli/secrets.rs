//! Follows the files that URLs come from while the sidecar runs.

use std::{collections::BTreeMap, time::Duration};

use super::dependencies::Clients;
use crate::{
    config::{News, SecretFiles},
    upstream::{Upstream, UpstreamError},
};

/// The clients by the setting that names their URLs.
type BySetting = BTreeMap<&'static str, Vec<Upstream>>;

/// Reads the files again once per interval, and gives the clients what changed.
pub(super) fn follow(files: SecretFiles, clients: &Clients, interval: Duration) {
    if files.is_empty() {
        return;
    }
    let mut by_setting = BySetting::new();
    for client in clients.all() {
        by_setting.entry(client.report().setting).or_default().push(client.clone());
    }
    tokio::spawn(async move {
        let mut files = files;
        loop {
            tokio::time::sleep(interval).await;
            // The files may be on a network.
            let looked = tokio::task::spawn_blocking(move || {
                let news = files.look();
                (files, news)
            });
            // It ends with the runtime.
            let Ok((same, news)) = looked.await else { return };
            files = same;
            news.into_iter().for_each(|news| tell(&by_setting, news));
        }
    });
}

fn tell(by_setting: &BySetting, news: News) {
    let client = |setting, place| by_setting.get(setting).and_then(|clients| clients.get(place));
    match news {
        News::Changed { setting, urls } => {
            for (place, url) in urls {
                tracing::info!(setting, %url, "the URL was read again from its file");
                client(setting, place).into_iter().for_each(|client| client.set_url(url.clone()));
            }
        }
        News::Unusable { setting, places, problem } => {
            let error = UpstreamError::SecretFile(problem);
            let clients = places.iter().filter_map(|place| client(setting, *place));
            clients.for_each(|client| client.blame(&error));
        }
    }
}
