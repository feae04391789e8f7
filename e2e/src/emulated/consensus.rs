//! The op-node RPC of the full node.

use alloy_primitives::B256;
use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::state::{Context, Fault, fail};
use crate::{
    block::{self, BLOCK_TIME, Block, CHAIN_ID},
    l1::{self, DEPOSIT_CONTRACT, L1Block, SYSTEM_CONFIG},
    l1_info,
    signer::Signer,
};

pub(super) async fn answer(State(context): State<Context>, body: Bytes) -> Response {
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = call["method"].as_str().unwrap_or_default();
    let fault = {
        let mut settings = context.lock();
        settings.sync_status_requests += u64::from(method == "optimism_syncStatus");
        settings.consensus_fault
    };
    let answer = match (method, fault) {
        (_, Some(fault)) if fault != Fault::NotReady && fault != Fault::NoL1 => {
            return fail(fault).await;
        }
        ("optimism_rollupConfig", _) => Ok(rollup_config(&context)),
        ("optimism_syncStatus", fault) => Ok(sync_status(&context, fault).await),
        ("optimism_safeHeadAtL1Block", _) => safe_head(&context, &call["params"][0]).await,
        _ => Err((-32601, format!("the method {method} does not exist/is not available"))),
    };
    let id = &call["id"];
    axum::Json(match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err((code, message)) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
    })
    .into_response()
}

fn rollup_config(context: &Context) -> Value {
    let origin = context.genesis_origin;
    json!({
        "genesis": {
            "l1": {"hash": origin.hash, "number": origin.number},
            "l2": {"hash": context.node.genesis_hash(), "number": 0},
            "l2_time": context.node.genesis_time(),
            "system_config": {
                "batcherAddr": Signer::batcher().address(),
                "overhead": B256::ZERO, "scalar": B256::ZERO, "gasLimit": 30_000_000,
                "eip1559Params": "0x0000000000000000", "operatorFeeParams": B256::ZERO,
                "minBaseFee": 0, "daFootprintGasScalar": 0,
            },
        },
        "block_time": BLOCK_TIME,
        "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
        "l1_chain_id": l1::CHAIN_ID, "l2_chain_id": CHAIN_ID,
        "regolith_time": 0, "canyon_time": 0, "delta_time": 0, "ecotone_time": 0, "fjord_time": 0,
        "granite_time": 0, "holocene_time": 0, "isthmus_time": 0, "jovian_time": 0,
        "batch_inbox_address": "0x00289c189bee4e70334629f04cd5ed602b6600eb",
        "deposit_contract_address": DEPOSIT_CONTRACT,
        "l1_system_config_address": SYSTEM_CONFIG,
        "chain_op_config": {
            "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250,
        },
        // What Espresso's op-node adds.
        "espresso_enforcement_time": 0,
        "batch_authenticator_address": context.l1.batch_authenticator(),
    })
}

async fn sync_status(context: &Context, fault: Option<Fault>) -> Value {
    let (finalized, safe, el_synced) = {
        let settings = context.lock();
        let finalized = settings.consensus_finalized.or(settings.finalized);
        (finalized, settings.safe, settings.el_synced)
    };
    let chain = context.node.chain().await;
    let tip = Some(chain.len() as u64);
    let reference = |number: Option<u64>| match number {
        _ if fault == Some(Fault::NotReady) => zero_l2(),
        Some(0) => genesis(context),
        Some(number) if number <= chain.len() as u64 => l2_reference(block::block(&chain, number)),
        _ => zero_l2(),
    };
    let (safe, finalized) = match el_synced {
        true => (reference(tip), reference(tip)),
        false => (reference(safe), reference(finalized)),
    };
    let l1 = async |block| match fault {
        Some(_) => zero_l1(),
        None => l1_reference(&context.l1.tagged(block).await),
    };
    let (head, safe_l1, final_l1) = (l1("latest").await, l1("safe").await, l1("finalized").await);
    json!({
        "current_l1": head, "current_l1_finalized": final_l1,
        "head_l1": head, "safe_l1": safe_l1, "finalized_l1": final_l1,
        "unsafe_l2": reference(tip), "cross_unsafe_l2": reference(tip),
        "safe_l2": safe, "local_safe_l2": safe, "pending_safe_l2": safe,
        "finalized_l2": finalized,
    })
}

/// What the safe-head database has at an L1 block: the block that L1 has really finalized, as if
/// its batch were in that L1 block, or in L1's final one if that is lower.
async fn safe_head(context: &Context, at: &Value) -> Result<Value, (i64, String)> {
    let at = at.as_str().unwrap_or_default();
    if !context.lock().safe_head_database {
        let why = "safe head database not enabled";
        return Err((-32000, format!("failed to get safe head at l1 block {at}: {why}")));
    }
    let not_found = || (-32000, "not found".to_owned());
    let safe = context.lock().highest_finalized;
    let finalized = context.l1.finalized().await;
    let chain = context.node.chain().await;
    let digits = at.strip_prefix("0x").unwrap_or_default();
    let at = u64::from_str_radix(digits, 16).map_err(|error| (-32602, error.to_string()))?;
    if safe == 0 || safe > chain.len() as u64 {
        return Err(not_found());
    }
    let l1 = if at < finalized.number { context.l1.block(at).await } else { finalized };
    Ok(json!({
        "l1Block": {"hash": l1.hash, "number": l1.number},
        "safeHead": {"hash": block::block(&chain, safe).hash, "number": safe},
    }))
}

fn genesis(context: &Context) -> Value {
    let origin = context.genesis_origin;
    json!({
        "hash": context.node.genesis_hash(), "number": 0, "parentHash": B256::ZERO,
        "timestamp": context.node.genesis_time(),
        "l1origin": {"hash": origin.hash, "number": origin.number}, "sequenceNumber": 0,
    })
}

fn l2_reference(block: &Block) -> Value {
    let content = &block.batch.content;
    json!({
        "hash": block.hash, "number": block.number, "parentHash": block.parent_hash,
        "timestamp": content.timestamp,
        "l1origin": {"hash": content.epoch_hash, "number": content.epoch_number},
        "sequenceNumber": l1_info::sequence_number(block.l1_info()),
    })
}

fn l1_reference(block: &L1Block) -> Value {
    json!({
        "hash": block.hash, "number": block.number, "parentHash": block.parent_hash,
        "timestamp": block.timestamp,
    })
}

fn zero_l2() -> Value {
    json!({
        "hash": B256::ZERO, "number": 0, "parentHash": B256::ZERO, "timestamp": 0,
        "l1origin": {"hash": B256::ZERO, "number": 0}, "sequenceNumber": 0,
    })
}

fn zero_l1() -> Value {
    json!({"hash": B256::ZERO, "number": 0, "parentHash": B256::ZERO, "timestamp": 0})
}
