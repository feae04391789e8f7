//! The query of `/v1/head`. A misspelled parameter is an error: otherwise a client would poll
//! without waiting.

use std::time::Duration;

use finality_core::head::Status;

/// What the client already has, and how long it is willing to wait for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HeadQuery {
    pub(super) after: Option<u64>,
    pub(super) status: Option<Status>,
    pub(super) wait: Duration,
}

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
                    let status = known.ok_or_else(|| {
                        let all = Status::ALL.map(Status::as_str).join(", ");
                        refused(format!("must be one of {all}"))
                    });
                    query.status = Some(status?);
                }
                "wait" => {
                    let wait = humantime::parse_duration(value)
                        .map_err(|_| refused("must be a duration, such as wait=25s".into()));
                    query.wait = wait?;
                }
                _ => return Err(refused("is unknown; expected after, status or wait".into())),
            }
        }
        Ok(query)
    }

    /// Whether the head is news for this client.
    pub(super) fn is_news(&self, number: u64, status: Status) -> bool {
        let asked = self.after.is_some() || self.status.is_some();
        !asked
            || self.after.is_some_and(|after| number > after)
            || self.status.is_some_and(|known| known != status)
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
        assert_eq!(query.status, Some(Status::NodeBehind));
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
            (&[("status", "OK")], "status"),
            (&[("wait", "25")], "wait"),
            (&[("wait", "-5s")], "wait"),
            (&[("wait", "99999999999999999999s")], "wait"),
            (&[("after", "1"), ("after", "2")], "after"),
            (&[("afer", "1")], "afer"),
        ] {
            assert_eq!(parse(pairs).unwrap_err().parameter, parameter, "{pairs:?}");
        }
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
