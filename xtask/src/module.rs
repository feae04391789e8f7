//! What may be in the module that Envoy loads.

use thiserror::Error;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The size budget of the module in bytes.
pub(crate) const MAX_BYTES: usize = 200 * 1024;

/// The only module that Envoy is asked for.
const HOST: &str = "env";

/// Host functions of proxy-wasm ABI 0.2.1 that the module may call. One more is a decision: the
/// same list is what an operator must allow who restricts the capabilities of the module.
const IMPORTS: &[&str] = &[
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// What Envoy calls, or looks up, in the module. One of each group must be there.
const EXPORTS: &[&[&str]] = &[
    &["proxy_abi_version_0_2_1"],
    &["_initialize", "_start"],
    &["malloc", "proxy_on_memory_allocate"],
    &["proxy_on_context_create"],
    &["proxy_on_vm_start"],
    &["proxy_on_configure"],
    &["proxy_on_tick"],
    &["proxy_on_http_call_response"],
    &["proxy_on_request_headers"],
    &["proxy_on_request_body"],
    &["proxy_on_request_trailers"],
    &["proxy_on_response_headers"],
    &["proxy_on_delete"],
];

/// The memory that host and module share.
const MEMORY: &str = "memory";

/// Why a module must not be shipped.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not WebAssembly, or cut off.
    #[error("it is not a WebAssembly module: {0}")]
    Malformed(String),
    /// Above the budget.
    #[error("it has {0} bytes; the budget is {MAX_BYTES}")]
    TooLarge(usize),
    /// Something that the host does not give, or that the module should not need.
    #[error("it imports `{0}`, which is not an allowed host function")]
    Import(String),
    /// Something that Envoy needs.
    #[error("it does not export {0}")]
    Export(String),
}

/// Checks the module.
///
/// # Errors
/// Every fault that was found; a malformed module has just that one.
pub(crate) fn check(module: &[u8]) -> Result<(), Vec<Fault>> {
    let (imports, exports) = interface(module).map_err(|error| vec![error])?;
    let mut faults = Vec::new();
    if module.len() > MAX_BYTES {
        faults.push(Fault::TooLarge(module.len()));
    }
    let allowed = |import: &String| IMPORTS.iter().any(|name| *import == format!("{HOST}.{name}"));
    faults.extend(imports.into_iter().filter(|import| !allowed(import)).map(Fault::Import));
    let missing =
        |names: &&&[&str]| !names.iter().any(|name| exports.contains(&(*name, ExternalKind::Func)));
    faults.extend(EXPORTS.iter().filter(missing).map(|names| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        Fault::Export(names.join(" or "))
    }));
    if !exports.contains(&(MEMORY, ExternalKind::Memory)) {
        faults.push(Fault::Export(format!("`{MEMORY}`")));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

type Interface<'a> = (Vec<String>, Vec<(&'a str, ExternalKind)>);

fn interface(module: &[u8]) -> Result<Interface<'_>, Fault> {
    let malformed =
        |error: wasmparser::BinaryReaderError| Fault::Malformed(error.message().to_owned());
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(malformed)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(malformed)?;
                    let kind = match import.ty {
                        TypeRef::Func(_) => "",
                        _ => " (not a function)",
                    };
                    imports.push(format!("{}.{}{kind}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(malformed)?;
                    exports.push((export.name, export.kind));
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn module(extra: &str, left_out: &[&str]) -> Vec<u8> {
        let names = EXPORTS.iter().map(|names| names[0]).filter(|name| !left_out.contains(name));
        let functions: String = names.map(|name| format!(r#"(func (export "{name}"))"#)).collect();
        let memory =
            if left_out.contains(&MEMORY) { "" } else { r#"(memory (export "memory") 1)"# };
        wat::parse_str(format!("(module {extra} {memory} {functions})")).unwrap()
    }

    #[test]
    fn a_right_module_passes() {
        let import = r#"(import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))"#;
        assert_eq!(check(&module(import, &[])), Ok(()));
    }

    #[test]
    fn the_shipped_configuration_allows_exactly_the_interface_of_the_module() {
        let shipped = include_str!("../../envoy/envoy.yaml");
        let capability = |line: &'static str| line.trim().strip_suffix(": {}");
        let allowed: BTreeSet<_> = shipped.lines().filter_map(capability).collect();
        let called = EXPORTS.iter().flat_map(|names| names.iter());
        let called = called.filter(|name| name.starts_with("proxy_on_"));
        assert_eq!(allowed, IMPORTS.iter().chain(called).copied().collect());
    }

    #[test]
    fn imports_outside_the_list_are_refused() {
        let imports = r#"(import "env" "proxy_grpc_call" (func)) (import "env" "__linear" (global i32))
            (import "env" "proxy_log" (global i32))
            (import "wasi_snapshot_preview1" "fd_write" (func)) (import "other" "proxy_log" (func))"#;
        let names = [
            "env.proxy_grpc_call",
            "env.__linear (not a function)",
            "env.proxy_log (not a function)",
            "wasi_snapshot_preview1.fd_write",
            "other.proxy_log",
        ];
        let faults = Vec::from(names.map(|name| Fault::Import(name.to_owned())));
        assert_eq!(check(&module(imports, &[])), Err(faults));
    }

    #[test]
    fn every_export_is_needed() {
        for names in EXPORTS {
            let Err(faults) = check(&module("", &[names[0]])) else {
                panic!("{names:?} may be left out")
            };
            assert!(
                matches!(&faults[..], [Fault::Export(text)] if text.contains(names[0])),
                "{faults:?}"
            );
        }
        assert_eq!(check(&module("", &[MEMORY])), Err(vec![Fault::Export("`memory`".into())]));
    }

    #[test]
    fn one_name_of_a_group_is_enough() {
        let other = r#"(func (export "_start")) (func (export "proxy_on_memory_allocate"))"#;
        assert_eq!(check(&module(other, &["_initialize", "malloc"])), Ok(()));
    }

    #[test]
    fn an_export_of_another_kind_does_not_count() {
        let global = r#"(global (export "proxy_on_tick") i32 (i32.const 0))"#;
        let faults = check(&module(global, &["proxy_on_tick"]));
        assert_eq!(faults, Err(vec![Fault::Export("`proxy_on_tick`".into())]));
    }

    #[test]
    fn a_module_above_the_budget_is_refused() {
        let small = module("", &[]).len();
        let data = |bytes: usize| format!(r#"(@custom "padding" "{}")"#, "x".repeat(bytes));
        let overhead = module(&data(100_000), &[]).len() - small - 100_000;
        let fitting = MAX_BYTES - small - overhead;
        assert_eq!(check(&module(&data(fitting), &[])), Ok(()));
        assert_eq!(
            check(&module(&data(fitting + 1), &[])),
            Err(vec![Fault::TooLarge(MAX_BYTES + 1)])
        );
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh", &module("", &[])[..60]] {
            let faults = check(bytes).unwrap_err();
            assert!(matches!(faults[..], [Fault::Malformed(_)]), "{faults:?}");
        }
    }
}
