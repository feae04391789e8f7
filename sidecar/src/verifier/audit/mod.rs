//! Compares what was read of HotShot with Espresso's light client on L1, and says what of it may
//! move the head.

mod ledger;

use std::time::Duration;

use espresso_proofs::{Checkpoint, Link};
use tokio::time::Instant;

use super::{
    Feed, FeedSource, L1Source, NodeSource, Options, Stall, Verifier, choice::Candidate,
    confirmation::Failed, findings::ProofFindings,
};
use crate::{
    config::HotshotProofs,
    espresso::{Headers, disproven, is_unserved},
    eth::BlockId,
    head::HeadBlock,
    l1::{LightClientError, View},
    node::NodeBlock as _,
    rollup::{BatchOf, Facts as _, Position, Rollup},
    store::{self, HeaderMark},
    upstream::UpstreamError,
};
use ledger::{Comparison, Ledger};

pub(super) use ledger::MOST_HEADERS;

/// The pause after services have not shown where a chain begins.
const BEGIN_AGAIN: Duration = Duration::from_secs(30);

/// A state of the light client, and the L1 block in whose state it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sighting {
    block: BlockId,
    checkpoint: Checkpoint,
}

/// The light client contradicts what was read, as of an L1 block.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    block: BlockId,
    height: u64,
    about: About,
}

/// What the light client contradicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The headers in a row.
    Headers,
    /// Those of an earlier stretch.
    Owed,
    /// That the head's batch is in its block.
    Head,
}

/// What is compared with the light client, and how that stands.
#[derive(Debug)]
pub(super) struct Audit {
    proofs: HotshotProofs,
    ledger: Ledger,
    /// The newest state of the light client that counts.
    known: Option<Sighting>,
    /// One that a single endpoint has said once.
    unconfirmed: Option<Sighting>,
    /// The final L1 block in whose state the light client was read.
    read_at: Option<BlockId>,
    /// Whether the known state was not compared with everything yet.
    is_due: bool,
    doubt: Option<Doubt>,
    /// The HotShot height at which the head's batch was seen since the head was found unproven.
    found: Option<u64>,
    /// When services last did not show where a chain begins.
    unbegun: Option<Instant>,
    /// Why nothing is compared.
    problem: Option<Problem>,
}

/// Why nothing is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// The light client cannot be read.
    Unread(String),
    /// No service shows what is under its root.
    Unserved(String),
}

impl Problem {
    fn text(&self) -> String {
        match self {
            Self::Unread(error) => format!("the light client cannot be read: {error}"),
            Self::Unserved(error) => format!(
                "no query service serves block-state, which shows what is under the light client's root (query_service_url): {error}"
            ),
        }
    }
}

impl Audit {
    pub(super) fn new(options: &Options, stored: &store::Audit) -> Self {
        Self {
            proofs: options.proofs,
            ledger: Ledger::new(stored.audited, stored.owed.clone()),
            known: None,
            unconfirmed: None,
            read_at: None,
            is_due: false,
            doubt: None,
            found: None,
            unbegun: None,
            problem: None,
        }
    }

    /// Reading starts at a height.
    pub(super) fn start(&mut self, height: u64) {
        self.ledger.start(height);
    }

    /// Whether reading ahead is of no use until the light client has moved.
    pub(super) fn is_full(&self) -> bool {
        self.proofs == HotshotProofs::Root && self.ledger.is_full()
    }

    /// Whether HotShot blocks below a height may move the head.
    pub(super) const fn covers(&self, height: u64) -> bool {
        !matches!(self.proofs, HotshotProofs::Root) || height < self.ledger.settled()
    }

    /// Why the next HotShot block with a batch may not move the head yet.
    pub(super) fn uncovered(&self, number: u64, height: u64) -> Stall {
        match &self.problem {
            Some(problem) => Stall::CheckpointUnavailable(problem.text()),
            None => Stall::AwaitingCheckpoint {
                number,
                height,
                covered: self.known.map(|known| known.checkpoint.height),
            },
        }
    }

    fn findings(&self, stored: &store::Audit) -> ProofFindings {
        ProofFindings {
            mode: self.proofs.into(),
            audited: stored.audited,
            light_client: self.known.map(|known| known.checkpoint.height),
            read_at: self.known.map(|known| known.block),
            head: stored.head_height,
            contradicted: self.doubt.map(|doubt| doubt.height),
            problem: self.problem.as_ref().map(Problem::text),
        }
    }
}

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Whether anything is compared.
    const fn is_audited(&self) -> bool {
        !matches!(self.options.proofs, HotshotProofs::Off) && self.options.light_client.is_some()
    }

    /// Reads the light client if L1 has a new final block, and compares what is to be compared.
    pub(super) async fn audit(&mut self, l1: &View) -> Result<(), Stall> {
        self.audit.ledger.head_is_at(self.keeper.audit().head_height);
        if self.is_audited() {
            if let Some(finalized) = l1.finalized() {
                self.read_checkpoint(finalized).await;
            }
            if let Some(known) = self.audit.known.filter(|_| self.audit.is_due) {
                self.audit.is_due = false;
                self.compare_all(known).await?;
            }
            self.end_unproven().await?;
        }
        self.show_audit();
        Ok(())
    }

    /// The height below which everything that was read is under the light client's root; none while
    /// nothing is compared.
    pub(super) fn settled_height(&self) -> Option<u64> {
        let is_compared = self.is_audited() && self.audit.problem.is_none();
        is_compared.then(|| self.audit.ledger.settled())
    }

    fn show_audit(&mut self) {
        self.audit.ledger.head_is_at(self.keeper.audit().head_height);
        self.note_owed();
        let findings = self.audit.findings(self.keeper.audit());
        self.metrics.proven_heights(findings.audited, findings.light_client);
        self.findings.proofs = findings;
    }

    /// Ethereum has made a block the head.
    pub(super) fn decided_by_ethereum(&mut self) {
        self.audit.ledger.head_is_at(None);
        self.audit.ledger.forgive();
        self.audit.found = None;
    }

    /// Reading goes back to an earlier height.
    pub(super) fn go_back(&mut self, height: u64) {
        let Some(feed) = &mut self.feed else { return };
        feed.go_back(height);
        self.audit.ledger.go_back(height);
        self.audit.found = self.audit.found.filter(|found| *found < height);
    }

    /// Reading goes on at a later height.
    pub(super) fn skip_reading_to(&mut self, height: u64) {
        let Some(feed) = &mut self.feed else { return };
        feed.skip_to(height);
        self.audit.ledger.break_off();
        self.audit.ledger.start(height);
    }

    /// A batch at a HotShot height makes a block the head.
    pub(super) fn head_moves_to(&mut self, height: u64) {
        self.audit.ledger.head_moves_to(height);
        if self.is_audited() {
            return self.note_owed();
        }
        // Once something is compared, the head's batch is looked up.
        self.audit.ledger.forgive();
        self.keeper.set_audited(self.audit.ledger.audited(), Vec::new());
    }

    /// What is saved with the head: how far it was compared, and what is still to be compared.
    fn note_owed(&mut self) {
        if self.is_audited() {
            let owed = self.audit.ledger.all_owed();
            self.keeper.set_audited(self.audit.ledger.audited(), owed);
        }
    }

    /// Whether anything may move the head that HotShot has.
    pub(super) fn may_confirm(&self) -> Result<(), Stall> {
        let number = self.keeper.block().map_or(0, |head| head.number);
        if self.keeper.audit().unproven {
            return Err(Stall::Unproven { number });
        }
        if let Some(doubt) = self.audit.doubt {
            return Err(Stall::CheckpointContradicts { number, height: doubt.height });
        }
        if self.is_audited() && !self.is_unserved() && self.audit.ledger.owes_too_much() {
            let height = self.audit.ledger.audited().unwrap_or(0);
            return Err(self.audit.uncovered(number.saturating_add(1), height));
        }
        Ok(())
    }

    async fn read_checkpoint(&mut self, finalized: BlockId) {
        let Some(contract) = self.options.light_client else { return };
        if self.audit.read_at == Some(finalized) && self.audit.unconfirmed.is_none() {
            return;
        }
        let checkpoint = match self.l1.checkpoint(contract, finalized).await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                let is_answer =
                    !matches!(&error, LightClientError::Upstream(error) if !error.is_answer());
                self.audit.read_at = is_answer.then_some(finalized);
                return self.cannot_compare(Problem::Unread(error.to_string()));
            }
        };
        if matches!(self.audit.problem, Some(Problem::Unread(_))) {
            self.can_compare();
        }
        self.audit.read_at = Some(finalized);
        let sighting = Sighting { block: finalized, checkpoint };
        let before = self.audit.unconfirmed.take();
        let counts = self.l1.is_shared()
            || [before, self.audit.known].iter().flatten().any(|it| it.checkpoint == checkpoint);
        if !counts {
            self.audit.unconfirmed = Some(sighting);
        }
        match self.audit.ledger.compare(&checkpoint) {
            Comparison::Contradicts(_) => self.doubt(sighting, About::Headers),
            Comparison::Agrees(_) => self.withdraw_doubt(About::Headers),
            Comparison::Beyond(_) | Comparison::Nothing => {}
        }
        if counts {
            self.audit.is_due |= self.audit.known != Some(sighting);
            self.audit.known = Some(sighting);
        }
    }

    /// Compares everything with a state of the light client that counts.
    async fn compare_all(&mut self, known: Sighting) -> Result<(), Stall> {
        let checkpoint = known.checkpoint;
        let Some(source) = self.feed.as_ref().map(Feed::source) else { return Ok(()) };
        let comparison = self.audit.ledger.compare(&checkpoint);
        if let Comparison::Contradicts(mark) = comparison {
            return self.contradicted(known, About::Headers, Some(mark)).await;
        }
        self.settle_doubt(known, comparison);
        if self.audit.doubt.is_none_or(|doubt| doubt.about == About::Head) {
            self.prove_under(checkpoint);
            self.look_up_head(known).await?;
        }
        let owed = self.audit.ledger.owed().iter().map(|mark| (About::Owed, *mark));
        let mut marks: Vec<_> = owed.collect();
        match comparison {
            Comparison::Beyond(tip) => marks.push((About::Headers, tip)),
            Comparison::Agrees(mark) => self.audit.ledger.is_proven(mark),
            _ => {}
        }
        let had_owed = !self.audit.ledger.owed().is_empty();
        for (about, mark) in marks {
            if mark.height > checkpoint.height {
                continue;
            }
            match source.chain_under(checkpoint, mark.height).await {
                Ok(chain) if chain.tree().root().hash == mark.root => {
                    self.audit.ledger.is_proven(mark);
                    self.can_compare();
                    self.withdraw_doubt(about);
                }
                // That is known, and may yet turn out to be wrong.
                Ok(_) if self.keeper.audit().unproven && about == About::Owed => {}
                Ok(_) => return self.contradicted(known, about, Some(mark)).await,
                Err(error) => {
                    self.no_path(&error);
                    return Ok(());
                }
            }
        }
        if had_owed && self.audit.ledger.owed().is_empty() && self.keeper.audit().unproven {
            tracing::warn!(l1_block = %known.block, "the light client bears out the head after all");
            self.set_unproven(false).await?;
        }
        if let Some(lost) = self.audit.ledger.lost()
            && lost < checkpoint.height
            && (self.audit.proofs == HotshotProofs::Root || !self.is_unserved())
        {
            self.audit.ledger.break_off();
            self.read_again(lost);
        }
        Ok(())
    }

    /// Ends a doubt about what is gone: nothing else would.
    fn settle_doubt(&mut self, known: Sighting, comparison: Comparison) {
        let Some(doubt) = self.audit.doubt else { return };
        match doubt.about {
            About::Owed if self.audit.ledger.owed().is_empty() => self.withdraw_doubt(About::Owed),
            About::Head if self.unseen_head().is_none() => self.withdraw_doubt(About::Head),
            // Batches of those headers may be kept.
            About::Headers
                if comparison == Comparison::Nothing && doubt.block.number < known.block.number =>
            {
                self.audit.doubt = None;
                self.prove_under(known.checkpoint);
                self.read_again(self.audit.ledger.settled());
            }
            _ => {}
        }
    }

    /// The HotShot height of the head's batch if comparing headers does not show that it is there.
    fn unseen_head(&self) -> Option<u64> {
        let ledger = &self.audit.ledger;
        let height = self.keeper.audit().head_height?;
        let is_settled = Some(height) < ledger.audited() || ledger.has_seen_head();
        (!is_settled && ledger.owed().is_empty()).then_some(height)
    }

    /// Looks for the head's batch in its HotShot block if nothing else will show that it is there:
    /// after a start, and after headers that were in no chain.
    async fn look_up_head(&mut self, known: Sighting) -> Result<(), Stall> {
        let (Some(height), Some(head)) = (self.unseen_head(), self.keeper.block()) else {
            return Ok(());
        };
        if height >= known.checkpoint.height {
            return Ok(());
        }
        let Some(until) = height.checked_add(1) else { return Ok(()) };
        let Some(source) = self.feed.as_ref().map(Feed::source) else { return Ok(()) };
        let blocks = match source.range(height, until).await {
            Err(UpstreamError::TooLarge { .. }) => source.block_alone(height).await,
            blocks => blocks,
        };
        let blocks = match blocks {
            Ok(blocks) if matches!(blocks.headers, Headers::Proven { .. }) => blocks,
            Ok(_) => return Ok(()),
            Err(error) => {
                self.no_path(&error);
                return Ok(());
            }
        };
        let batches = self.find_batches(height, blocks.payloads).await?;
        let candidates: Vec<_> = batches.admitted.iter().map(|(at, batch)| (*at, batch)).collect();
        let Some(found) = self.find_head(head, &candidates).await else {
            // It can be told in another round.
            self.audit.is_due = true;
            return Ok(());
        };
        if found.is_some() {
            self.audit.ledger.head_is_proven(height);
            self.withdraw_doubt(About::Head);
            return Ok(());
        }
        self.contradicted(known, About::Head, None).await
    }

    /// A state of the light client that counts contradicts what was read.
    async fn contradicted(
        &mut self,
        known: Sighting,
        about: About,
        mark: Option<HeaderMark>,
    ) -> Result<(), Stall> {
        let before = self.audit.doubt;
        self.doubt(known, about);
        let is_borne_out = self.l1.is_shared()
            || before.is_some_and(|doubt| doubt.block.number < known.block.number);
        if !is_borne_out {
            return Ok(());
        }
        let audited = self.audit.ledger.audited();
        let head_height = self.keeper.audit().head_height;
        let settled = self.audit.ledger.settled();
        let from = audited.or(head_height).map_or(settled, |height| height.min(settled));
        if head_height.is_some() && head_height >= audited {
            mark.into_iter().for_each(|mark| self.audit.ledger.owe(mark));
            self.set_unproven(true).await?;
        } else {
            mark.into_iter().for_each(|mark| self.audit.ledger.is_refuted(mark));
        }
        self.audit.doubt = None;
        self.audit.is_due = true;
        self.prove_under(known.checkpoint);
        self.read_again(from);
        Ok(())
    }

    fn prove_under(&mut self, checkpoint: Checkpoint) {
        self.feed.iter_mut().for_each(|feed| feed.prove_under(checkpoint));
    }

    /// Forgets what was read from a height on, and reads it again.
    fn read_again(&mut self, height: u64) {
        tracing::info!(height, "reading HotShot again, under the light client's root");
        self.metrics.reset("light_client");
        self.candidates.reread(height);
        self.audit.found = self.audit.found.filter(|found| *found < height);
        if let Some(feed) = &mut self.feed {
            let height = height.min(feed.cursor());
            feed.pause();
            feed.go_back(height);
            self.audit.ledger.start(height);
        }
    }

    async fn set_unproven(&mut self, unproven: bool) -> Result<(), Stall> {
        if self.keeper.audit().unproven == unproven {
            return Ok(());
        }
        if !unproven {
            let number = self.keeper.block().map_or(0, |head| head.number);
            tracing::warn!(number, "the head is proven");
        }
        self.audit.found = None;
        self.audit.ledger.head_is_at(self.keeper.audit().head_height);
        self.note_owed();
        let result = self.keeper.set_unproven(unproven).await;
        self.note_save(&result);
        self.show_head();
        result.map_err(|error| Stall::StoreUnwritable(error.to_string()))
    }

    /// Whether the head's batch was found under the light client's root.
    async fn end_unproven(&mut self) -> Result<(), Stall> {
        let settled = self.audit.ledger.settled();
        let Some(height) = self.audit.found.filter(|height| *height < settled) else {
            return Ok(());
        };
        self.audit.ledger.forgive();
        self.audit.ledger.head_is_proven(height);
        self.set_unproven(false).await
    }

    /// Where the head's batch is among these, if it is; none if that cannot be told. Batches that
    /// do not name their block are compared with the node's, with those that do.
    pub(super) async fn find_head(
        &self,
        head: HeadBlock,
        batches: &[Candidate<'_, R>],
    ) -> Option<Option<Position>> {
        let mut of_head = batches.to_vec();
        of_head.retain(|(_, batch)| batch.facts.number() == head.number);
        let names_it = |(_, batch): &&Candidate<'_, R>| {
            batch.facts.hash().is_some() && batch.facts.hash() == head.hash
        };
        if let Some((position, _)) = of_head.iter().find(names_it) {
            return Some(Some(*position));
        }
        let is_unnamed = |(_, batch): &Candidate<'_, R>| batch.facts.hash().is_none();
        let number = head.number.checked_sub(1).filter(|_| of_head.iter().any(is_unnamed));
        let Some(number) = number else { return Some(None) };
        let below = HeadBlock { number, hash: None, l1_origin: None };
        let block = self.node.block(head.number).await.ok()??;
        let below = self.rollup.below(&below, &self.node).await.ok()??;
        if Some(block.hash()) != head.hash {
            return None;
        }
        match self.compare(&of_head, &below, &block, &mut View::default()).await {
            Ok((position, _)) => Some(Some(position)),
            Err(Failed::Differs(_)) => Some(None),
            Err(Failed::Waits(_)) => None,
        }
    }

    /// Notes where the head's batch is seen while the head is unproven.
    pub(super) async fn look_for_head(&mut self, batches: &[(Position, BatchOf<R>)]) {
        let Some(head) = self.keeper.block().filter(|_| self.keeper.audit().unproven) else {
            return;
        };
        let batches: Vec<_> = batches.iter().map(|(at, batch)| (*at, batch)).collect();
        if let Some(Some(Position { height, .. })) = self.find_head(head, &batches).await {
            let found = self.audit.found;
            self.audit.found = Some(found.map_or(height, |found| found.min(height)));
        }
    }

    /// Takes the headers of blocks that were read, from a height on.
    pub(super) async fn take_headers(&mut self, from: u64, headers: Headers) -> Result<(), Stall> {
        if !self.is_audited() {
            return Ok(());
        }
        match headers {
            Headers::Unread => {}
            Headers::Proven { before, after } => {
                self.can_compare();
                if self.audit.ledger.take_proven(&before, &after).is_err()
                    && let Some(known) = self.audit.known
                {
                    self.doubt(known, About::Headers);
                    self.audit.is_due = true;
                    return self.may_confirm();
                }
            }
            Headers::Agreed(links) => self.take_agreed(from, &links).await?,
        }
        self.end_unproven().await
    }

    async fn take_agreed(&mut self, from: u64, links: &[Link]) -> Result<(), Stall> {
        if !self.audit.ledger.goes_on_at(from) {
            self.audit.ledger.break_off();
            if !self.begin_chain(from, links).await? {
                self.audit.ledger.lose(from);
                return Ok(());
            }
        }
        let Err(error) = self.audit.ledger.extend(links) else { return Ok(()) };
        if self.is_unserved() && self.audit.proofs == HotshotProofs::Payload {
            // Nothing will ever decide between these and those before.
            tracing::error!(%error, "what was read of HotShot contradicts itself");
            self.audit.ledger.break_off();
            self.audit.ledger.lose(from);
            return Ok(());
        }
        let error = disproven(error.reason(), error);
        Err(Stall::AnswerDisproven(error.to_string()))
    }

    /// Whether the chain is known that the headers from a height on follow.
    async fn begin_chain(&mut self, from: u64, links: &[Link]) -> Result<bool, Stall> {
        let Some(root) = links.first().and_then(|link| link.root) else { return Ok(false) };
        if self.audit.unbegun.is_some_and(|at| at.elapsed() < BEGIN_AGAIN) {
            return Ok(false);
        }
        let Some(source) = self.feed.as_ref().map(Feed::source) else { return Ok(false) };
        match source.chain_before(from, root).await {
            Ok(chain) => {
                self.audit.ledger.begin(chain);
                self.audit.unbegun = None;
                self.can_compare();
                Ok(true)
            }
            Err(error @ UpstreamError::Disproven { .. }) => {
                Err(Stall::AnswerDisproven(error.to_string()))
            }
            Err(error) => {
                self.audit.unbegun = Some(Instant::now());
                self.no_path(&error);
                Ok(false)
            }
        }
    }

    /// The light client contradicts what was read: nothing moves the head until that is decided.
    fn doubt(&mut self, sighting: Sighting, about: About) {
        if self.audit.doubt.is_none() {
            let (block, height) = (sighting.block, sighting.checkpoint.height);
            self.metrics.light_client_contradiction();
            self.audit.doubt = Some(Doubt { block, height, about });
        }
    }

    fn withdraw_doubt(&mut self, about: About) {
        if self.audit.doubt.is_some_and(|doubt| doubt.about == about) {
            self.audit.doubt = None;
            tracing::warn!("the light client contradicts it no longer");
        }
    }

    fn no_path(&mut self, error: &UpstreamError) {
        if is_unserved(error) {
            self.cannot_compare(Problem::Unserved(error.to_string()));
        } else if !matches!(error, UpstreamError::Disproven { .. }) {
            // It may be served in the next round.
            self.audit.is_due = true;
        }
    }

    const fn is_unserved(&self) -> bool {
        matches!(self.audit.problem, Some(Problem::Unserved(_)))
    }

    fn cannot_compare(&mut self, problem: Problem) {
        if self.audit.problem.as_ref() != Some(&problem) {
            let text = problem.text();
            tracing::error!(problem = text, "HotShot is not compared with the light client on L1");
            self.audit.problem = Some(problem);
        }
    }

    fn can_compare(&mut self) {
        if self.audit.problem.take().is_some() {
            tracing::info!("HotShot is compared with the light client on L1 again");
        }
    }
}
