//! The files that URLs were read from. They are read again, since keys change.

use std::fmt;

use super::{Part, SETTINGS, Setting, Values, parse, reference};
use crate::redact::SecretUrl;

/// The settings whose URLs come from files.
#[derive(Debug, Default)]
pub struct SecretFiles(Vec<Followed>);

/// What a look at the files brought. Places are those of the URLs in their setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// URLs with another key, path or query.
    Changed {
        /// The setting.
        setting: &'static str,
        /// The places and their URLs.
        urls: Vec<(usize, SecretUrl)>,
    },
    /// A file cannot be used, and what was read before is kept.
    Unusable {
        /// The setting.
        setting: &'static str,
        /// The places of the URLs that came from it.
        places: Vec<usize>,
        /// Why; nothing of the file is shown.
        problem: String,
    },
}

#[derive(Debug)]
struct Followed {
    setting: &'static Setting,
    files: Vec<File>,
    /// All URLs of the setting.
    urls: Vec<SecretUrl>,
}

/// An element of a setting that is a file.
struct File {
    part: Part,
    /// The place of its first URL.
    first: usize,
    /// What was read last, if that is not the text in use: it counts when it is read twice, since
    /// a file may be read while it is written.
    last: Option<Result<String, String>>,
    /// Whether that was told.
    is_told: bool,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("part", &self.part).finish_non_exhaustive()
    }
}

impl SecretFiles {
    /// The files among the values.
    #[must_use]
    pub fn of(values: &Values) -> Self {
        let followed = SETTINGS.iter().filter_map(|setting| {
            let parts = &values.get(setting.name)?.parts;
            let (mut files, mut urls) = (Vec::new(), Vec::new());
            for part in parts {
                let first = urls.len();
                urls.extend(parse::urls(&part.text).ok()?);
                if part.file().is_some() {
                    files.push(File { part: part.clone(), first, last: None, is_told: false });
                }
            }
            (!files.is_empty()).then_some(Followed { setting, files, urls })
        });
        Self(followed.collect())
    }

    /// Whether there is nothing to follow.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the files again.
    pub fn look(&mut self) -> Vec<News> {
        self.0.iter_mut().flat_map(Followed::look).collect()
    }
}

impl Followed {
    fn look(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for file in &mut self.files {
            let Some(read) = file.read_twice() else { continue };
            let judged = match &read {
                Ok(text) => file.judge(text, &self.urls, self.setting.name),
                Err(problem) => Err(problem.clone()),
            };
            let setting = self.setting.name;
            match (judged, read) {
                (Ok(urls), Ok(text)) => {
                    let places = file.first..;
                    for (url, place) in urls.iter().zip(places.clone()) {
                        if let Some(known) = self.urls.get_mut(place) {
                            known.clone_from(url);
                        }
                    }
                    file.part.text = text;
                    (file.last, file.is_told) = (None, false);
                    news.push(News::Changed { setting, urls: places.zip(urls).collect() });
                }
                (Err(problem), _) if !file.is_told => {
                    file.is_told = true;
                    news.push(News::Unusable { setting, places: file.places().collect(), problem });
                }
                _ => {}
            }
        }
        news
    }
}

impl File {
    fn places(&self) -> impl Iterator<Item = usize> {
        (self.first..).zip(parse::list(&self.part.text)).map(|(place, _)| place)
    }

    /// What the file holds now, if that is new and was read twice in a row.
    fn read_twice(&mut self) -> Option<Result<String, String>> {
        let read = reference::read(self.part.file()?);
        if read.as_ref().is_ok_and(|text| *text == self.part.text) {
            (self.last, self.is_told) = (None, false);
            return None;
        }
        if self.last.as_ref() != Some(&read) {
            self.last = Some(read);
            self.is_told = false;
            return None;
        }
        Some(read)
    }

    /// The URLs in a text, if they may take the place of those in use: as many, each at the same
    /// host, so that no vote goes to another service and no half of a host's name is asked.
    fn judge(
        &self,
        text: &str,
        all: &[SecretUrl],
        setting: &str,
    ) -> Result<Vec<SecretUrl>, String> {
        let shown = self.part.reference.as_deref().unwrap_or_default();
        let urls = parse::urls(text).map_err(|problem| format!("{shown}: {problem}"))?;
        let before: Vec<_> = self.places().filter_map(|place| all.get(place)).collect();
        if urls.len() != before.len() {
            return Err(format!(
                "{shown} has another number of URLs than at the start; restart to use them"
            ));
        }
        let same = |(url, before): (&SecretUrl, &&SecretUrl)| {
            url.expose().origin() == before.expose().origin()
        };
        if !urls.iter().zip(&before).all(same) {
            return Err(format!(
                "{shown} names another host or port than at the start; restart to use it"
            ));
        }
        let others =
            all.iter().enumerate().filter(|(place, _)| !self.places().any(|ours| ours == *place));
        if ["l1_rpc", "query_service_url"].contains(&setting)
            && others
                .into_iter()
                .any(|(_, other)| urls.iter().any(|url| url.is_same_service(other)))
        {
            return Err(format!("{shown} names a service that the setting has already"));
        }
        Ok(urls)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::config::Environment;

    struct Place {
        folder: tempfile::TempDir,
        files: SecretFiles,
    }

    impl Place {
        fn new(other: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("l1");
            fs::write(&path, "https://l1.test/old\n").unwrap();
            let text = format!("{other},file:{}", path.display());
            let flags = BTreeMap::from([("l1_rpc", text)]);
            let values = Values::gather(&flags, None, &Environment::default());
            let files = SecretFiles::of(&values);
            assert!(!files.is_empty());
            Self { folder, files }
        }

        fn write(&self, text: &str) {
            fs::write(self.folder.path().join("l1"), text).unwrap();
        }

        /// What two looks bring: nothing at the first one.
        fn look(&mut self) -> Vec<News> {
            assert_eq!(self.files.look(), [], "it may be half written");
            self.files.look()
        }
    }

    fn changed(url: &str) -> Vec<News> {
        let url = SecretUrl::parse(url).unwrap();
        vec![News::Changed { setting: "l1_rpc", urls: vec![(1, url)] }]
    }

    #[test]
    fn a_new_key_counts_once_it_was_read_twice() {
        let mut place = Place::new("https://other.test");
        assert_eq!(place.look(), []);
        place.write("https://l1.test/new");
        assert_eq!(place.look(), changed("https://l1.test/new"));
        assert_eq!(place.look(), []);
        place.write("https://l1.test/ne");
        assert_eq!(place.files.look(), []);
        place.write("https://l1.test/newer");
        assert_eq!(place.look(), changed("https://l1.test/newer"), "the half is not used");
    }

    #[test]
    fn what_cannot_be_used_is_told_once_and_keeps_the_old_one() {
        let mut place = Place::new("https://l1.test/other");
        for text in [
            "",
            "https://l1.te",
            "https://l1.test:444/new",
            "http://l1.test/new",
            "nonsense",
            "https://l1.test/a\nhttps://l1.test/b",
            "https://l1.test/a,https://l1.test/b",
            "https://l1.test/other",
        ] {
            place.write(text);
            let news = place.look();
            let [News::Unusable { setting: "l1_rpc", places, problem }] = &*news else {
                panic!("{text}: {news:?}");
            };
            assert_eq!(*places, [1], "{text}");
            assert!(!problem.contains("l1.te"), "{problem}");
            assert_eq!(place.files.look(), [], "told once");
        }
        fs::remove_file(place.folder.path().join("l1")).unwrap();
        assert!(matches!(&*place.look(), [News::Unusable { .. }]));
        // The old one again is no news, a new one is.
        place.write("https://l1.test/old");
        assert_eq!(place.look(), []);
        place.write("https://l1.test/new");
        assert_eq!(place.look(), changed("https://l1.test/new"));
    }
}
