//! The query of `/v1/head`. Parameters of later clients are ignored, and a status of a later client
//! is none that the head has.

use std::time::Duration;

use finality_core::head::Status;

/// What the client already has, and how long it is willing to wait for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HeadQuery {
    pub(super) after: Option<u64>,
    pub(super) status: Option<KnownStatus>,
    pub(super) wait: Duration,
    /// Whether the answer must be confirmed.
    pub(super) confirm: bool,
}

/// The status that a client has; none if this sidecar does not know it.
type KnownStatus = Option<Status>;

/// Why a query is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadQuery {
    pub(super) parameter: String,
    pub(super) problem: String,
}

impl HeadQuery {
    pub(super) fn parse(pairs: &[(String, String)]) -> Result<Self, BadQuery> {
        let mut query = Self::default();
        for (index, (name, value)) in pairs.iter().enumerate() {
            let refused = |problem: String| BadQuery { parameter: name.clone(), problem };
            if pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(refused("appears twice".into()));
            }
            match name.as_str() {
                "after" => {
                    let number = value.parse().map_err(|_| {
                        refused("must be a decimal block number, such as after=12345".into())
                    });
                    query.after = Some(number?);
                }
                "status" => {
                    let known = Status::ALL.into_iter().find(|status| status.as_str() == value);
                    query.status = Some(known);
                }
                "wait" => {
                    let wait = humantime::parse_duration(value)
                        .map_err(|_| refused("must be a duration, such as wait=25s".into()));
                    query.wait = wait?;
                }
                "confirm" if value == "cluster" => query.confirm = true,
                "confirm" => return Err(refused("must be confirm=cluster".into())),
                _ => {}
            }
        }
        Ok(query)
    }

    /// Whether the head is news for this client.
    pub(super) fn is_news(&self, number: u64, status: Status) -> bool {
        let asked = self.after.is_some() || self.status.is_some();
        !asked
            || self.after.is_some_and(|after| number > after)
            || self.status.is_some_and(|known| known != Some(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<HeadQuery, BadQuery> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        HeadQuery::parse(&pairs)
    }

    #[test]
    fn the_query_that_the_filter_writes_is_read() {
        let query = parse(&[("after", "5"), ("status", "node_behind"), ("wait", "25s")]).unwrap();
        assert_eq!(query.after, Some(5));
        assert_eq!(query.status, Some(Some(Status::NodeBehind)));
        assert_eq!(query.wait, Duration::from_secs(25));
        assert_eq!(parse(&[]).unwrap(), HeadQuery::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pairs, parameter) in [
            (&[("after", "")][..], "after"),
            (&[("after", "-1")], "after"),
            (&[("after", "0x10")], "after"),
            (&[("after", "18446744073709551616")], "after"),
            (&[("confirm", "all")], "confirm"),
            (&[("wait", "25")], "wait"),
            (&[("wait", "-5s")], "wait"),
            (&[("wait", "99999999999999999999s")], "wait"),
            (&[("after", "1"), ("after", "2")], "after"),
            (&[("later", "1"), ("later", "1")], "later"),
        ] {
            assert_eq!(parse(pairs).unwrap_err().parameter, parameter, "{pairs:?}");
        }
    }

    #[test]
    fn what_a_later_client_asks_is_ignored_and_its_status_is_news() {
        let query = parse(&[("after", "5"), ("later", "1"), ("confirm", "cluster")]).unwrap();
        assert_eq!(query, HeadQuery { after: Some(5), confirm: true, ..HeadQuery::default() });
        let query = parse(&[("after", "5"), ("status", "a_later_word")]).unwrap();
        assert!(Status::ALL.into_iter().all(|status| query.is_news(5, status)));
    }

    #[test]
    fn news_is_a_higher_number_or_another_status() {
        let query = parse(&[("after", "5"), ("status", "ok")]).unwrap();
        assert!(!query.is_news(5, Status::Ok));
        assert!(!query.is_news(4, Status::Ok));
        assert!(query.is_news(6, Status::Ok));
        assert!(query.is_news(5, Status::Diverged));
        assert!(!parse(&[("status", "ok")]).unwrap().is_news(9, Status::Ok));
        assert!(parse(&[]).unwrap().is_news(0, Status::Ok));
    }
}
