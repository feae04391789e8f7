//! `rewrite`: what the filter would do with a body.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use clap::Args;
use finality_core::{
    jsonrpc,
    refusal::Refusal,
    rewrite::{DEFAULT_MAX_BODY_BYTES, Inspection, Rewriter, Rules, Scope},
};

use super::{
    exit::{self, Failure},
    numbers::whole_number,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Tag to replace; may be repeated
    #[arg(long, value_name = "TAG", required = true)]
    tag: Vec<String>,
    /// Block number that replaces the tags
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = whole_number::<u64>)]
    number: u64,
    /// Where tags are replaced: params or block-parameters
    #[arg(long, value_name = "SCOPE", default_value_t)]
    scope: Scope,
    /// Maximum size of the body
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_BODY_BYTES)]
    #[arg(allow_negative_numbers = true, value_parser = whole_number::<usize>)]
    max_body_bytes: usize,
}

pub fn run(
    arguments: &Arguments,
    input: impl Read,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let rules = Rules { tags: arguments.tag.clone(), scope: arguments.scope, ..Rules::default() };
    let rewriter = Rewriter::new(rules).map_err(Failure::usage)?;
    let limit = arguments.max_body_bytes;
    let mut body = Vec::new();
    input.take((limit as u64).saturating_add(1)).read_to_end(&mut body)?;
    let (bytes, code) = if body.len() > limit {
        (jsonrpc::error_without_id(&Refusal::BodyTooLarge { limit }), exit::REQUEST_REFUSED.into())
    } else {
        match rewriter.inspect(&body) {
            Inspection::Untouched => (body, ExitCode::SUCCESS),
            Inspection::Tagged(tagged) => {
                (tagged.splice(&body, arguments.number), ExitCode::SUCCESS)
            }
            Inspection::Refused(denied) => (denied.refuse(&body), exit::REQUEST_REFUSED.into()),
        }
    };
    out.write_all(&bytes)?;
    out.flush()?;
    Ok(code)
}
