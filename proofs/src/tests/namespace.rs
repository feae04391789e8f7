//! Ordinary proofs.

use std::sync::LazyLock;

use alloy_primitives::{B256, hex};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use serde_json::{Value, json};

use super::{
    encoder::{Block, Dispersed, answer, header, header_json, payload, tagged},
    namespace_vectors, unsettled_vectors,
};
use crate::{
    Answer, CommitteeSizeError, Evidence, Header, HeaderError, NamespaceBlock, NamespaceError,
    NamespaceTable, Reason, TaggedBase64, UnsupportedVersion, Version,
    merkle::Tree,
    scheme::{Dispersal, Scheme, unsettled},
};

/// A case of the vectors.
#[derive(Clone)]
struct Case {
    namespace: u32,
    header: Value,
    answer: Value,
    size: u32,
}

impl Case {
    fn read(case: &Value) -> Self {
        let commitment = &case["payload_commitment"];
        let is_newest = commitment.as_str().unwrap().starts_with("AvidmGf2Commit");
        let common = &case["vid_common"];
        let weights = [
            &common["V1"]["total_weights"],
            &common["V2"]["param"]["total_weights"],
            &common["total_weights"],
        ];
        Self {
            namespace: case["namespace"].as_u64().unwrap() as u32,
            header: header_json(if is_newest { 6 } else { 5 }, &case["ns_table"], commitment),
            answer: case["answer"].clone(),
            size: weights.iter().find_map(|weight| weight.as_u64()).unwrap() as u32,
        }
    }

    fn all() -> Vec<Self> {
        let vectors = namespace_vectors();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.iter().all(|case| case["expect"] == "accept"));
        cases.iter().map(Self::read).collect()
    }

    fn block(&self) -> Result<NamespaceBlock, NamespaceError> {
        let answer = answer(&self.answer);
        let evidence = answer.check(&header(&self.header), self.namespace, self.size, &[])?;
        Ok(answer.into_block(&evidence))
    }

    fn listed(&self) -> NamespaceBlock {
        let listed = self.answer["transactions"].as_array().unwrap();
        let payload = |listed: &Value| STANDARD.decode(listed["payload"].as_str().unwrap());
        listed.iter().map(payload).collect::<Result<Vec<_>, _>>().unwrap().iter().collect()
    }

    /// The member of the proof, whatever its form.
    fn proof(&mut self) -> &mut serde_json::Map<String, Value> {
        let forms = self.answer["proof"].as_object_mut().unwrap();
        forms.values_mut().next().unwrap().as_object_mut().unwrap()
    }

    fn payload(&mut self) -> Vec<u8> {
        STANDARD.decode(self.proof()["ns_payload"].as_str().unwrap()).unwrap()
    }

    fn with_payload(&self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut case = self.clone();
        let mut payload = case.payload();
        change(&mut payload);
        case.proof()["ns_payload"] = json!(STANDARD.encode(payload));
        case
    }

    fn with_path(&self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut case = self.clone();
        let mut path = TaggedBase64::parse(case.proof()["ns_proof"].as_str().unwrap()).unwrap();
        change(&mut path.value);
        case.proof()["ns_proof"] = json!(path.to_string());
        case
    }

    fn reason(&self) -> Reason {
        self.block().unwrap_err().reason()
    }
}

/// A case as bytes, with what it proves.
struct Recorded {
    case: Case,
    commitment: B256,
    header: Vec<u8>,
    answer: Vec<u8>,
    block: NamespaceBlock,
}

impl Recorded {
    fn of(case: Case) -> Self {
        let bytes = |json: &Value| json.to_string().into_bytes();
        Self {
            commitment: header(&case.header).committed().unwrap(),
            header: bytes(&case.header),
            answer: bytes(&case.answer),
            block: case.block().unwrap(),
            case,
        }
    }

    /// What is proven with one bit of header and answer turned, the header's commitment being
    /// known: others have it, or the root covers it.
    fn turned(&self, at: usize, bit: u8) -> Option<NamespaceBlock> {
        let (mut header, mut answer) = (self.header.clone(), self.answer.clone());
        let at = at % (header.len() + answer.len());
        match at.checked_sub(header.len()) {
            None => header[at] ^= 1 << bit,
            Some(at) => answer[at] ^= 1 << bit,
        }
        let header = Header::read(&header).ok()?;
        (header.committed() == Ok(self.commitment)).then_some(())?;
        let answer = Answer::read(&answer).ok()?;
        let evidence = answer.check(&header, self.case.namespace, self.case.size, &[]).ok()?;
        Some(answer.into_block(&evidence))
    }
}

#[test]
fn the_proofs_of_the_vectors_are_accepted() {
    let vectors = namespace_vectors();
    for (case, vector) in Case::all().into_iter().zip(vectors["cases"].as_array().unwrap()) {
        let block = case.block().unwrap();
        assert_eq!(block.payloads().len() as u64, vector["transactions"].as_u64().unwrap());
        assert_eq!(block, case.listed(), "{}", vector["name"]);
    }
}

/// The mutations in the order of the vectors.
#[test]
fn mutated_proofs_are_refused() {
    let vectors = namespace_vectors();
    assert_eq!(vectors["mutations"].as_array().unwrap().len(), 14);
    let flip = |bytes: &mut Vec<u8>, at: usize| bytes[at] ^= 0x10;
    for case in Case::all() {
        let middle = case.with_payload(|payload| flip(payload, payload.len() / 2));
        assert_eq!(middle.reason(), Reason::Commitment);
        let last = case.with_payload(|payload| flip(payload, payload.len() - 1));
        assert_eq!(last.reason(), Reason::Commitment);
        let shorter = case.with_payload(|payload| _ = payload.pop());
        assert_eq!(shorter.reason(), Reason::Length);
        let longer = case.with_payload(|payload| payload.push(0));
        assert_eq!(longer.reason(), Reason::Length);

        let mut moved = case.clone();
        let index = case.clone().proof()["ns_index"].as_u64().unwrap();
        moved.proof()["ns_index"] = json!(index + 1);
        assert_eq!(moved.reason(), Reason::Path);

        // The list is not looked at.
        let mut shorter_list = case.clone();
        shorter_list.answer["transactions"].as_array_mut().unwrap().pop();
        assert_eq!(shorter_list.block().unwrap(), case.listed());
        let mut reversed = case.clone();
        reversed.answer["transactions"].as_array_mut().unwrap().reverse();
        assert_eq!(reversed.block().unwrap(), case.listed());

        let mut hidden = case.clone();
        hidden.answer = json!({"proof": null, "transactions": []});
        assert_eq!(hidden.reason(), Reason::Presence);
        let mut foreign = case.clone();
        foreign.namespace += 1;
        assert_eq!(foreign.reason(), Reason::Presence);

        let mut other_form = case.clone();
        let forms = other_form.answer["proof"].as_object_mut().unwrap();
        let (form, proof) = std::mem::take(forms).into_iter().next().unwrap();
        forms.insert(if form == "V1" { "V2" } else { "V1" }.into(), proof);
        assert_eq!(other_form.reason(), Reason::Path);

        let trailing = case.with_path(|path| path.push(0));
        assert_eq!(trailing.reason(), Reason::Path);
        let mut checksum = case.clone();
        let path = checksum.proof()["ns_proof"].as_str().unwrap().to_owned();
        let other = if path.ends_with('A') { 'E' } else { 'A' };
        checksum.proof()["ns_proof"] = json!(format!("{}{other}", &path[..path.len() - 1]));
        assert_eq!(checksum.reason(), Reason::Path);

        let mut has_levels = false;
        drop(case.with_path(|path| has_levels = path[0] != 0));
        let no_level = case.with_path(|path| *path = 0_u64.to_le_bytes().to_vec());
        if has_levels {
            assert_eq!(no_level.reason(), Reason::Path);
            let sibling = case.with_path(|path| flip(path, 20));
            assert_eq!(sibling.reason(), Reason::Commitment);
            let fewer = case.with_path(|path| path[8] -= 1);
            assert_eq!(fewer.reason(), Reason::Path);
            let fewer = case.with_path(|path| {
                path[8] -= 1;
                path.truncate(path.len() - 32);
            });
            assert_eq!(fewer.reason(), Reason::Path);
        } else {
            assert!(no_level.block().is_ok());
            let level = case.with_path(|path| path[0] = 1);
            assert_eq!(level.reason(), Reason::Path);
        }
    }
}

#[test]
fn only_the_size_of_the_committee_fits() {
    for mut case in Case::all() {
        let size = case.size;
        for other in (1..=16).chain([30, 100, 1_000]).filter(|other| *other != size) {
            case.size = other;
            assert_eq!(case.block(), Err(NamespaceError::Commitment), "{other}");
        }
        for none in [0, 4097, u32::MAX] {
            case.size = none;
            let expected = CommitteeSizeError::OutOfRange(none);
            assert_eq!(case.block(), Err(NamespaceError::CommitteeSize(expected)));
            assert_eq!(case.reason(), Reason::CommitteeSize);
        }
    }
}

/// The vectors have two payloads with one commitment each, if the threshold is the answer's.
#[test]
fn a_claimed_threshold_does_not_count() {
    let vectors = namespace_vectors();
    let cases = vectors["threshold_confusion"]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (dispersal, minor, form) = match case["scheme"].as_str().unwrap() {
            "AvidM" => (Dispersal::AvidM, 5, "V1"),
            _ => (Dispersal::AvidmGf2, 6, "V2"),
        };
        let decoded = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        let forged = decoded(&case["forged_payload"]);
        let length = case["honest_len"].as_u64().unwrap() as usize;
        let mut honest = decoded(match case.get("honest_payload") {
            Some(payload) => payload,
            None => &vectors["reference_payload"]["raw_payload"],
        });
        honest.truncate(length);
        let size = case["total_weights"].as_u64().unwrap() as u32;
        let commitment = dispersal.commit(&honest, size, 4).unwrap();
        assert_eq!(tagged(dispersal.tag(), commitment.as_slice()), case["ns_commit"]);
        let claimed = case["claimed_threshold"].as_u64().unwrap() as u32;
        assert_eq!(dispersal.commit(&forged, size, claimed), Some(commitment));

        let root = dispersal.tree().root(std::iter::once(commitment));
        let root = tagged(dispersal.tag(), root.as_slice());
        for (table, reason) in [(&honest, Reason::Length), (&forged, Reason::Commitment)] {
            let case = Case {
                namespace: 7,
                header: header_json(minor, &super::encoder::table(&[(7, table.len())]), &root),
                answer: json!({"transactions": [], "proof": {form: {
                    "ns_index": 0,
                    "ns_payload": STANDARD.encode(&forged),
                    "ns_proof": tagged("MERKLE_PROOF", &[0; 8]),
                }}}),
                size,
            };
            assert_eq!(case.reason(), reason);
        }
    }
}

/// The commitment to a whole payload, and to each namespace in it.
fn commitments(
    scheme: &Scheme,
    table: &NamespaceTable,
    payload: &[u8],
    size: u32,
) -> (Vec<B256>, B256) {
    let threshold = (scheme.threshold)(size);
    let mut begin = 0;
    let (mut commitments, mut lengths) = (Vec::new(), Vec::new());
    for (_, end) in table.entries() {
        let part = &payload[begin..*end as usize];
        commitments.push(scheme.dispersal.commit(part, size, threshold).unwrap());
        lengths.push(part.len() as u64);
        begin = *end as usize;
    }
    if commitments.is_empty() {
        commitments.push(scheme.dispersal.commit(&[], size, threshold).unwrap());
    }
    let binding = scheme.binding_leaf.then(|| binding_value(size, threshold, &lengths));
    let root = scheme.dispersal.tree().root(commitments.iter().copied().chain(binding));
    (commitments, root)
}

fn binding_value(size: u32, threshold: u32, lengths: &[u64]) -> B256 {
    let numbers = [u64::from(threshold), u64::from(size), lengths.len() as u64];
    let numbers = numbers.iter().chain(lengths).flat_map(|number| number.to_le_bytes());
    let bytes: Vec<u8> = b"NS_AVIDM_GF2_COMMON".iter().copied().chain(numbers).collect();
    Tree::BLAKE3_4.value(&bytes)
}

fn scheme(minor: u64) -> Scheme {
    Scheme::of(Version { major: 0, minor }).unwrap()
}

#[test]
fn commitments_of_whole_payloads_are_those_of_the_vectors() {
    let vectors = namespace_vectors();
    let reference = &vectors["reference_payload"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let payload = bytes(&reference["raw_payload"]);
    let table = NamespaceTable::decode(&bytes(&reference["ns_table"])).unwrap();
    let cases = vectors["commitments_of_the_reference_payload"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let scheme = scheme(if case["scheme"] == "v1" { 5 } else { 6 });
        let size = case["total_weights"].as_u64().unwrap() as u32;
        assert_eq!((scheme.threshold)(size), case["recovery_threshold"].as_u64().unwrap() as u32);
        let (parts, root) = commitments(&scheme, &table, &payload, size);
        let tag = scheme.dispersal.tag();
        let parts: Vec<_> = parts.iter().map(|part| tagged(tag, part.as_slice())).collect();
        assert_eq!(Value::Array(parts), case["ns_commits"]);
        assert_eq!(tagged(tag, root.as_slice()), case["payload_commitment"]);
    }
    for (version, commitment) in reference["header_commitments_match_weight_1"].as_object().unwrap()
    {
        let scheme = scheme(version.strip_prefix("0.").unwrap().parse().unwrap());
        let (_, root) = commitments(&scheme, &table, &payload, 1);
        assert_eq!(tagged(scheme.dispersal.tag(), root.as_slice()), *commitment);
    }
    let empty = NamespaceTable::decode(&[0; 4]).unwrap();
    for (version, commitment) in vectors["empty_block_weight_1"].as_object().unwrap() {
        let scheme = scheme(version.strip_prefix("0.").unwrap().parse().unwrap());
        let (_, root) = commitments(&scheme, &empty, &[], 1);
        assert_eq!(tagged(scheme.dispersal.tag(), root.as_slice()), *commitment);
    }
}

#[test]
fn the_published_forms_of_later_versions_are_known_and_not_admitted() {
    let vectors = unsettled_vectors();
    let forms = [scheme(6), unsettled::SAME_HEADER, unsettled::BINDING_LEAF, unsettled::NO_BUILDER]
        .into_iter()
        .chain([unsettled::NEXT]);
    let cases = vectors["headers"]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for (case, form) in cases.iter().zip(forms) {
        let mut json = vectors["headers"]["base"].clone();
        json["version"]["Version"]["minor"] = case["minor"].clone();
        json["fields"]["payload_commitment"] = case["payload_commitment"].clone();
        if case["builder_commitment"] == false {
            json["fields"].as_object_mut().unwrap().remove("builder_commitment");
        }
        let text = json.to_string();
        let read = |version| (version == form.version).then_some(form);
        let header = Header::read_by(read, text.as_bytes()).unwrap();
        let commitment = header.tagged_commitment().unwrap().to_string();
        assert_eq!(commitment, case["commitment"].as_str().unwrap(), "{}", case["name"]);

        let minor = case["minor"].as_u64().unwrap();
        let released = Header::read(text.as_bytes()).unwrap();
        if minor > 6 {
            let version = UnsupportedVersion(Version { major: 0, minor });
            assert_eq!(released.committed(), Err(HeaderError::Version(version)));
            let refused = Answer::absent().check(&released, 1, 10, &[]).unwrap_err();
            assert_eq!(refused.reason(), Reason::UnsupportedVersion);
        } else {
            assert!(released.committed().is_ok());
        }
    }
}

#[test]
fn a_binding_leaf_follows_the_namespaces() {
    let vectors = unsettled_vectors();
    let reference = &namespace_vectors()["reference_payload"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let (payload, encoded) = (bytes(&reference["raw_payload"]), bytes(&reference["ns_table"]));
    let table = NamespaceTable::decode(&encoded).unwrap();
    let cases = vectors["binding_leaf"]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let size = case["total_weights"].as_u64().unwrap() as u32;
        let (parts, root) = commitments(&unsettled::BINDING_LEAF, &table, &payload, size);
        let lengths: Vec<u64> = serde_json::from_value(case["ns_lens"].clone()).unwrap();
        let value = binding_value(size, (unsettled::BINDING_LEAF.threshold)(size), &lengths);
        assert_eq!(hex::encode(value), case["binding_value_hex"].as_str().unwrap());
        let tag = Dispersal::AvidmGf2.tag();
        let parts: Vec<_> = parts.iter().map(|part| tagged(tag, part.as_slice())).collect();
        assert_eq!(Value::Array(parts), case["ns_commits"]);
        match case["root_hex"].as_str() {
            None => assert_eq!(tagged(tag, root.as_slice()), case["payload_commitment"]),
            Some(expected) => {
                assert_eq!(hex::encode(root), expected);
                let json = header_json(7, &reference["ns_table"], &tagged(tag, root.as_slice()));
                let read = |_| Some(unsettled::BINDING_LEAF);
                let header = Header::read_by(read, json.to_string().as_bytes()).unwrap();
                let (namespace, end) = table.entries()[0];
                let mut proof = case["proof"].clone();
                proof["ns_payload"] = json!(STANDARD.encode(&payload[..end as usize]));
                let answer = answer(&json!({"proof": {"V2": proof}}));
                let evidence = answer.check(&header, namespace, size, &[]).unwrap();
                assert!(matches!(evidence, Evidence::Opened(_)));
            }
        }
    }
}

#[test]
fn a_namespace_that_the_table_lacks_needs_no_proof() {
    let block = Block { namespaces: vec![Dispersed::honest(7, payload(&[b"one"]), 10)] };
    let absent = Answer::absent();
    assert!(!absent.has_proof());
    assert_eq!(absent.check(&block.header(), 8, 0, &[]), Ok(Evidence::Absent));
    let listed = json!([{"proof": null, "transactions": [{"namespace": 8, "payload": "AA=="}]}]);
    let answers = Answer::read_range(listed.to_string().as_bytes(), 1).unwrap();
    let answer = answers.into_iter().next().unwrap();
    let evidence = answer.check(&block.header(), 8, 0, &[]).unwrap();
    assert!(answer.into_block(&evidence).is_empty());
}

#[test]
fn answers_are_as_many_as_were_asked_for_and_have_a_known_form() {
    let one = json!({"proof": null});
    for (answers, count) in [(json!([]), 1), (json!([one]), 2), (json!([one, one]), 1)] {
        assert!(Answer::read_range(answers.to_string().as_bytes(), count).is_err());
    }
    for proof in [
        json!({}),
        json!({"anything": 1}),
        json!({"V1": {}, "V2": {}}),
        json!("V2"),
        json!({"V2": {"ns_index": 0, "ns_payload": "?", "ns_proof": ""}}),
        json!({"V2": {"ns_index": -1, "ns_payload": "", "ns_proof": ""}}),
    ] {
        assert!(Answer::read(json!({"proof": proof}).to_string().as_bytes()).is_err(), "{proof}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 2_000, ..Config::default() })]

    #[test]
    fn any_single_bit_turned_is_refused_or_changes_nothing(
        transactions in vec(vec(any::<u8>(), 0..40), 0..4), weight in 1..30_usize,
        at in any::<usize>(), bit in 0..8_u8,
    ) {
        let ours = payload(&transactions.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let block = Block { namespaces: vec![
            Dispersed::honest(7, payload(&[b"one"]), weight),
            Dispersed::honest(9, ours, weight),
        ]};
        let case = Recorded::of(Case {
            namespace: 9,
            header: block.header_json(42),
            answer: block.opening(1),
            size: weight as u32,
        });
        if let Some(block) = case.turned(at, bit) {
            prop_assert_eq!(&block, &case.block);
        }
    }

    #[test]
    fn any_single_bit_of_a_case_turned_is_refused_or_changes_nothing(
        case in any::<usize>(), at in any::<usize>(), bit in 0..8_u8,
    ) {
        static CASES: LazyLock<Vec<Recorded>> =
            LazyLock::new(|| Case::all().into_iter().map(Recorded::of).collect());
        let case = &CASES[case % CASES.len()];
        if let Some(block) = case.turned(at, bit) {
            prop_assert_eq!(&block, &case.block);
        }
    }
}
