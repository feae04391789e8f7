//! Whether the node still has the head's block.

use finality_core::head::Status;

use super::{FeedSource, L1Source, NodeSource, Stall, Stop, Verifier};
use crate::{head::HeadBlock, node::Survey, rollup::Rollup, upstream::UpstreamError};

impl<R: Rollup, N: NodeSource<R::Block>, L: L1Source, F: FeedSource> Verifier<R, N, L, F> {
    /// Asks the node which chain it is, and about the head, whenever that is due. Nothing else is
    /// needed: a head that the node has left is not served while other dependencies are down.
    /// Returns what is wrong with the head, which blocks confirmations.
    pub(super) async fn ask_node(&mut self) -> Result<Result<(), Stall>, Stop> {
        if !self.pace.survey_is_due() {
            return Ok(self.checked.clone());
        }
        self.problem = None;
        let chain_id = self.keeper.identity().map(|identity| identity.chain_id);
        let head = self.keeper.head();
        let survey = self.node.survey(chain_id, head).await;
        if self.chain.is_none() {
            let unknown = |error: &UpstreamError| Stall::ChainUnknown(error.to_string());
            let survey = survey.as_ref().map_err(unknown)?;
            self.keeper.bind_chain_id(survey.chain_id).map_err(Stop::Fatal)?;
            self.show_head();
        }
        self.pace.surveyed();
        self.checked = match survey {
            Ok(survey) => self.check_head(head, survey).await,
            Err(error) => Err(unavailable(error)),
        };
        Ok(self.checked.clone())
    }

    /// Sets the head's status by what the node has there.
    async fn check_head(&mut self, head: Option<HeadBlock>, survey: Survey) -> Result<(), Stall> {
        let Survey { chain_id, latest, at_head: found, contradiction } = survey;
        self.node_latest = Some(latest);
        let Some(HeadBlock { number, hash, .. }) = head else { return Ok(()) };
        let latest = if latest < number { self.read_latest().await? } else { latest };
        let was_above = std::mem::replace(&mut self.head_above_latest, latest < number);
        self.diverged_elsewhere =
            contradiction.is_some() && found.is_none_or(|found| Some(found) == hash);
        let chain = self.chain.as_ref().map(|chain| chain.chain_id);
        let (status, problem) = match (found, hash) {
            _ if chain.is_some_and(|chain| chain != chain_id) => {
                let problem = format!("the node is of chain {chain_id} now (node_execution_rpc)");
                (Status::Diverged, Some(Stall::ConfigMismatch(problem)))
            }
            (_, Some(confirmed)) if let Some(node) = contradiction => {
                (Status::Diverged, Some(Stall::Diverged { number, confirmed, node }))
            }
            (Some(_), _) if latest >= number => (Status::Ok, None),
            // Nodes behind a load balancer differ by a block now and then.
            (Some(_), _) if !was_above => {
                return Err(Stall::NodeMissingBlock { number: number.saturating_add(1) });
            }
            _ if latest < number => {
                (Status::NodeBehind, Some(Stall::NodeBehind { number, latest }))
            }
            _ => (Status::Pruned, None),
        };
        if status != self.keeper.status() {
            // The round ends with the reason, which has a line of its own.
            tracing::info!(%status, number, "head status");
        }
        self.keeper.observe_status(head, status);
        self.problem.clone_from(&problem);
        self.show_head();
        match problem {
            // Of a head that others have published: verification goes on towards it.
            Some(Stall::NodeBehind { .. } | Stall::Diverged { .. })
                if !self.keeper.is_verified() =>
            {
                Ok(())
            }
            problem => problem.map_or(Ok(()), Err),
        }
    }

    /// Whether a block that the node has shown is at or below its latest one, which is read again,
    /// after the block. After an unclean stop, geth still has blocks above its latest one, without
    /// their state and not on its chain.
    pub(super) async fn covers(&mut self, number: u64) -> Result<bool, Stall> {
        Ok(self.read_latest().await? >= number)
    }

    async fn read_latest(&mut self) -> Result<u64, Stall> {
        let latest = self.node.latest().await.map_err(unavailable)?;
        self.node_latest = Some(latest);
        Ok(latest)
    }

    /// As [`Self::covers`], by a latest block that was read with the block if there is one.
    pub(super) async fn covers_after(
        &mut self,
        number: u64,
        latest: Option<u64>,
    ) -> Result<bool, Stall> {
        match latest {
            Some(latest) => Ok(latest >= number),
            None => self.covers(number).await,
        }
    }
}

fn unavailable(error: UpstreamError) -> Stall {
    Stall::NodeUnavailable(error.to_string())
}
