//! The box of the status page: what the filter would make of a request body, computed in the
//! browser by `finality-core` itself.
//!
//! `cargo xtask page` compiles this for the browser; the sidecar embeds what comes of it.

use finality_core::{
    head::HeadReport,
    jsonrpc,
    refusal::{NoHead, Refusal},
    rewrite::{Inspection, Rewriter, Rules, Scope, Tagged},
};
use wasm_bindgen::prelude::wasm_bindgen;

/// What becomes of a request body.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// `untouched`: the node gets these very bytes; `rewritten`: it gets the body with every tag
    /// replaced; `refused`: it gets nothing, and the body is the client's answer.
    pub verdict: String,
    /// The body, in pieces: those with an odd index are what tags became.
    pub pieces: Vec<String>,
    /// Why it is refused; empty when it is not.
    pub reason: String,
    /// HTTP status of a refusal; 0 when there is none.
    pub http_status: u16,
}

/// What the filter would make of a body with these tags and this scope (`params` or
/// `block-parameters`). `head` is the head as `/v1/status` gives it, in JSON; none while there is
/// no head.
///
/// # Errors
/// Tags or a scope that the filter would not take, or something else than a head.
#[wasm_bindgen]
pub fn preview(
    body: &str,
    tags: Vec<String>,
    scope: &str,
    head: Option<String>,
) -> Result<Preview, String> {
    let scope = scope.parse::<Scope>().map_err(|error| error.to_string())?;
    let rules = Rules { tags, scope, ..Rules::default() };
    let rewriter = Rewriter::new(rules).map_err(|error| error.to_string())?;
    let head = head.map(|head| HeadReport::parse(head.as_bytes())).transpose();
    let head = head.map_err(|error| error.to_string())?;
    let bytes = body.as_bytes();
    Ok(match rewriter.inspect(bytes) {
        Inspection::Untouched => Preview::of("untouched", vec![body.to_owned()]),
        Inspection::Refused(denied) => {
            Preview::refused(&denied.refusal, &jsonrpc::error_without_id(&denied.refusal))
        }
        Inspection::Tagged(tagged) => match usable(head.as_ref()) {
            Ok(number) => Preview::of("rewritten", pieces(&tagged, bytes, number)),
            Err(why) => {
                let refusal = Refusal::NoHead(why);
                Preview::refused(&refusal, &tagged.refuse(bytes, &refusal))
            }
        },
    })
}

/// The number that tags become, or why there is none.
fn usable(head: Option<&HeadReport>) -> Result<u64, NoHead> {
    let head = head.ok_or(NoHead::Unknown)?;
    if head.status.is_usable() { Ok(head.number) } else { Err(NoHead::Status(head.status)) }
}

/// The body with every tag replaced, cut before and after what each tag became.
fn pieces(tagged: &Tagged, body: &[u8], number: u64) -> Vec<String> {
    let spliced = tagged.splice(body, number);
    let mut rest = spliced.as_slice();
    let mut pieces = Vec::new();
    let mut cut = |length: usize| {
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after;
        pieces.push(text(piece));
    };
    let length = finality_core::head::hex_number(number).len() + 2;
    let mut from = 0;
    for tag in tagged.ranges() {
        cut(tag.start - from);
        cut(length);
        from = tag.end;
    }
    cut(usize::MAX);
    pieces
}

/// Cuts are beside quotes and ids are copied whole, so nothing is lost here.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Preview {
    fn of(verdict: &str, pieces: Vec<String>) -> Self {
        Self { verdict: verdict.to_owned(), pieces, reason: String::new(), http_status: 0 }
    }

    fn refused(refusal: &Refusal, answer: &[u8]) -> Self {
        Self {
            reason: refusal.message(),
            http_status: refusal.http_status(),
            ..Self::of("refused", vec![text(answer)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &str = r#"[{"id":1,"method":"eth_call","params":[{"to":"é"},"espresso"]},
        {"id":"a","method":"eth_getLogs","params":[{"fromBlock":"esp\u0072esso","toBlock":"latest"}]}]"#;

    fn head(status: &str) -> Option<String> {
        let head = serde_json::json!({
            "number": 12345, "hex": "0x3039", "hash": null, "source": "espresso", "mode": "espresso",
            "status": status, "espresso": null, "ethereum": null, "chain_id": 1, "updated_at": "",
        });
        Some(head.to_string())
    }

    fn of(body: &str, head: Option<String>) -> Preview {
        preview(body, vec!["espresso".into()], "params", head).unwrap()
    }

    #[test]
    fn the_body_is_that_of_the_core_and_its_odd_pieces_are_the_numbers() {
        let preview = of(BATCH, head("ok"));
        assert_eq!(preview.verdict, "rewritten");
        let numbers: Vec<_> = preview.pieces.iter().skip(1).step_by(2).collect();
        assert_eq!(numbers, [r#""0x3039""#; 2]);
        let expected = BATCH.replace("espresso", "0x3039").replace(r"esp\u0072esso", "0x3039");
        assert_eq!(preview.pieces.concat(), expected);
    }

    #[test]
    fn what_holds_no_tag_is_untouched_with_or_without_a_head() {
        for body in ["", "not JSON", r#"{"params":["latest"]}"#] {
            for head in [head("ok"), None] {
                let preview = of(body, head);
                assert_eq!(
                    (preview.verdict.as_str(), preview.pieces.concat()),
                    ("untouched", body.into())
                );
            }
        }
    }

    #[test]
    fn without_a_usable_head_it_is_refused_as_the_filter_refuses() {
        for (head, reason) in [
            (None, "no_head"),
            (head("diverged"), "diverged"),
            (head("node_behind"), "node_behind"),
            (head("node_unchecked"), "node_unchecked"),
            (head("cut_off"), "cut_off"),
            (head("unproven"), "unproven"),
        ] {
            let preview = of(BATCH, head);
            assert_eq!((preview.verdict.as_str(), preview.http_status), ("refused", 503));
            let answers: serde_json::Value =
                serde_json::from_str(&preview.pieces.concat()).unwrap();
            assert_eq!(answers[0]["error"]["data"]["reason"], reason);
            assert_eq!(answers[1]["id"], "a");
            assert!(!preview.reason.is_empty());
        }
        assert_eq!(of(BATCH, head("pruned")).verdict, "rewritten");
    }

    #[test]
    fn a_body_that_cannot_be_read_is_refused_whatever_the_head() {
        let preview = of(r#"{"params":["espresso""#, None);
        assert_eq!((preview.verdict.as_str(), preview.http_status), ("refused", 400));
        assert!(preview.pieces.concat().contains("-32700"));
    }

    #[test]
    fn settings_that_the_filter_would_not_take_are_named() {
        let error = |tags: &[&str], scope: &str, head: Option<&str>| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            preview(BATCH, tags, scope, head.map(str::to_owned)).unwrap_err()
        };
        assert!(error(&["espresso"], "everywhere", None).contains("scope"));
        assert!(error(&[], "params", None).contains("tag"));
        assert!(error(&["espresso"], "params", Some("{}")).contains("head"));
    }
}
