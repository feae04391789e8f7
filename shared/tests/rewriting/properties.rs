//! Properties of the rewriter on generated bodies, compared with the reference.

use finality_core::{
    refusal::{NoHead, Refusal},
    rewrite::{Inspection, Rewriter, Rules},
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde::de::IgnoredAny;

use crate::{
    generator::{body, rules},
    reference::{self, Node, Verdict},
};

fn inspect(rules: &Rules, body: &[u8]) -> Inspection {
    Rewriter::new(rules.clone()).unwrap().inspect(body)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_reference_on_json(body in body(), rules in rules(), number: u64) {
        let node: Node = serde_json::from_str(&body).unwrap();
        let inspection = inspect(&rules, body.as_bytes());
        match reference::verdict(&node, &rules, number) {
            Verdict::TooDeep { tags: false, .. } if inspection == Inspection::Untouched => {}
            Verdict::TooDeep { ids, .. } => {
                let Inspection::Refused(denied) = inspection else { panic!("{inspection:?}") };
                let limit = rules.max_depth;
                prop_assert_eq!(&denied.refusal, &Refusal::TooDeep { limit });
                prop_assert_eq!(reference::ids_of_answer(&denied.refuse(body.as_bytes())), ids);
            }
            Verdict::Refused { refusal, ids } => {
                let Inspection::Refused(denied) = inspection else { panic!("{inspection:?}") };
                prop_assert_eq!(&denied.refusal, &refusal);
                prop_assert_eq!(reference::ids_of_answer(&denied.refuse(body.as_bytes())), ids);
            }
            Verdict::Untouched => prop_assert_eq!(inspection, Inspection::Untouched),
            Verdict::Tagged { rewritten, tags, ids } => {
                let Inspection::Tagged(tagged) = inspection else { panic!("{inspection:?}") };
                prop_assert_eq!(tagged.tags(), tags);
                let spliced = tagged.splice(body.as_bytes(), number);
                prop_assert_eq!(serde_json::from_slice::<Node>(&spliced).unwrap(), rewritten);
                let answer = tagged.refuse(body.as_bytes(), &Refusal::NoHead(NoHead::Unknown));
                prop_assert_eq!(reference::ids_of_answer(&answer), ids);
            }
        }
    }

    #[test]
    fn only_matched_tokens_change_and_the_result_is_stable(body in body(), rules in rules(), number: u64) {
        if let Inspection::Tagged(tagged) = inspect(&rules, body.as_bytes()) {
            let spliced = tagged.splice(body.as_bytes(), number);
            let before = reference::tokens(&body);
            let after = reference::tokens(std::str::from_utf8(&spliced).unwrap());
            prop_assert_eq!(before.len(), after.len());
            let mut changed = 0;
            for (before, after) in before.iter().zip(&after) {
                if before != after {
                    let text: String = serde_json::from_str(before).unwrap();
                    prop_assert!(reference::is_tag(&text, &rules), "{before} became {after}");
                    prop_assert_eq!(*after, format!("\"{number:#x}\""));
                    changed += 1;
                }
            }
            prop_assert_eq!(changed, tagged.tags());
            prop_assert_eq!(inspect(&rules, &spliced), Inspection::Untouched);
        }
    }

    #[test]
    fn a_verdict_on_damaged_json_agrees_with_serde(
        body in body(), rules in rules(), at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        let rewriter = Rewriter::new(rules).unwrap();
        prop_assert_eq!(rewriter.is_json(&body), is_json(&body));
        match rewriter.inspect(&body) {
            Inspection::Tagged(tagged) => {
                prop_assert!(is_json(&body));
                prop_assert!(is_json(&tagged.splice(&body, 1)));
            }
            Inspection::Refused(denied) => {
                prop_assert_eq!(is_json(&body), denied.refusal != Refusal::Unparsable);
                let answer = denied.refuse(&body);
                prop_assert!(answer.is_empty() || is_json(&answer));
            }
            Inspection::Untouched => {}
        }
    }

    #[test]
    fn arbitrary_bytes_cause_no_panic(body in vec(any::<u8>(), 0..200), rules in rules()) {
        if let Inspection::Tagged(tagged) = inspect(&rules, &body) {
            let _ = tagged.splice(&body, 1);
        }
    }

    #[test]
    fn arbitrary_json_tokens_cause_no_panic(
        pieces in vec(select(&[
            "{", "}", "[", "]", ",", ":", "\"params\"", "\"method\"", "\"id\"", "\"espresso\"", "\"eth_sign\"",
            "\\", "\"", "\\u0065", "\\u00", "1", "-", "e", "true", "nul", " ", "\u{17f}", "espresso",
        ][..]), 0..60),
        rules in rules(),
    ) {
        let body = pieces.concat();
        match inspect(&rules, body.as_bytes()) {
            Inspection::Untouched => {}
            Inspection::Refused(denied) if denied.refusal == Refusal::Unparsable => {
                prop_assert!(!is_json(body.as_bytes()));
            }
            Inspection::Refused(_) => {}
            Inspection::Tagged(_) => prop_assert!(is_json(body.as_bytes())),
        }
    }
}
