//! What may be in the module that Envoy loads, and how the rest is cut off.

use anyhow::Result;
use thiserror::Error;
use walrus::{ExportItem, ImportKind, ModuleConfig};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The size budget of the module in bytes.
pub(crate) const MAX_BYTES: usize = 246 * 1024;

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

/// Host functions that the SDK imports for default methods of its traits, and that the filter does
/// not call; its native tests panic if it does.
const UNUSED_IMPORTS: &[&str] = &[
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
];

/// What Envoy calls, or looks up, in the module.
const EXPORTS: &[&str] = &[
    "proxy_abi_version_0_2_1",
    "_initialize",
    "malloc",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_delete",
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
    /// Something that the host does not provide, or that the module should not need.
    #[error("it imports `{0}`, which is not an allowed host function")]
    Import(String),
    /// An entry of the list of host functions is out of date.
    #[error("it does not import `{0}`, which the capability lists allow")]
    NoImport(&'static str),
    /// Something that Envoy needs.
    #[error("it does not export `{0}`")]
    NoExport(&'static str),
    /// Something that Envoy would call for nothing.
    #[error("it exports `{0}`, which does nothing")]
    Export(String),
}

/// Cuts off what the SDK puts into every module and this one does not need. Envoy enters the VM for
/// each callback that is exported. A host function that is never called need not be allowed to the
/// module: what takes its place is a trap.
///
/// # Errors
/// It is not a WebAssembly module.
pub(crate) fn trim(module: &[u8]) -> Result<Vec<u8>> {
    let mut module = ModuleConfig::new()
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(module)?;
    let is_kept = |export: &walrus::Export| match export.item {
        ExportItem::Function(_) => EXPORTS.contains(&export.name.as_str()),
        ExportItem::Memory(_) => export.name == MEMORY,
        _ => false,
    };
    let exports: Vec<_> = module.exports.iter().filter(|export| !is_kept(export)).collect();
    let exports: Vec<_> = exports.into_iter().map(walrus::Export::id).collect();
    for export in exports {
        module.exports.delete(export);
    }
    let unused = module
        .imports
        .iter()
        .filter(|import| import.module == HOST && UNUSED_IMPORTS.contains(&import.name.as_str()));
    let unused: Vec<_> = unused
        .filter_map(|import| match import.kind {
            ImportKind::Function(function) => Some(function),
            _ => None,
        })
        .collect();
    for function in unused {
        module.replace_imported_func(function, |(body, _)| {
            body.unreachable();
        })?;
    }
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
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
    let called = |name: &str, import: &String| *import == format!("{HOST}.{name}");
    let missing = |name: &&&'static str| !imports.iter().any(|import| called(name, import));
    faults.extend(IMPORTS.iter().filter(missing).map(|name| Fault::NoImport(name)));
    let allowed = |import: &String| IMPORTS.iter().any(|name| called(name, import));
    faults.extend(imports.iter().filter(|import| !allowed(import)).cloned().map(Fault::Import));

    let expected = EXPORTS.iter().map(|name| (*name, ExternalKind::Func));
    let expected: Vec<_> = expected.chain([(MEMORY, ExternalKind::Memory)]).collect();
    let missing = expected.iter().filter(|export| !exports.contains(export));
    faults.extend(missing.map(|(name, _)| Fault::NoExport(name)));
    let extra = exports.iter().filter(|export| !expected.contains(export));
    faults.extend(extra.map(|(name, _)| Fault::Export((*name).to_owned())));
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

    fn imports(names: &[&str]) -> String {
        names.iter().map(|name| format!(r#"(import "{HOST}" "{name}" (func))"#)).collect()
    }

    fn exports(names: &[&str]) -> String {
        names.iter().map(|name| format!(r#"(func (export "{name}"))"#)).collect()
    }

    fn without<'a>(names: &[&'a str], left_out: &str) -> Vec<&'a str> {
        names.iter().copied().filter(|name| *name != left_out).collect()
    }

    const SHARED: &str = r#"(memory (export "memory") 1)"#;

    fn module(imports: &str, rest: &str) -> Vec<u8> {
        wat::parse_str(format!("(module {imports} {rest})")).unwrap()
    }

    fn right(extra: &str) -> Vec<u8> {
        module(&imports(IMPORTS), &format!("{SHARED} {} {extra}", exports(EXPORTS)))
    }

    #[test]
    fn a_right_module_passes() {
        assert_eq!(check(&right("")), Ok(()));
    }

    #[test]
    fn the_shipped_configuration_allows_exactly_the_interface_of_the_module() {
        let shipped = include_str!("../../envoy/envoy.yaml");
        let capability = |line: &'static str| line.trim().strip_suffix(": {}");
        let allowed: BTreeSet<_> = shipped.lines().filter_map(capability).collect();
        let called = EXPORTS.iter().filter(|name| name.starts_with("proxy_on_"));
        assert_eq!(allowed, IMPORTS.iter().chain(called).copied().collect());
    }

    #[test]
    fn what_the_sdk_adds_is_cut_off() {
        let functions = [IMPORTS, UNUSED_IMPORTS].concat();
        let calls: String = (0..functions.len()).map(|index| format!("(call {index})")).collect();
        // As a method of a trait is called: by a table.
        let method =
            format!("(func $method {calls}) (table 1 funcref) (elem (i32.const 0) $method)");
        let global = r#"(global (export "__heap_base") i32 (i32.const 0))"#;
        let caller = r#"(func (export "proxy_on_tick") (call_indirect (i32.const 0)))"#;
        let exported = [&without(EXPORTS, "proxy_on_tick")[..], &["proxy_on_log", "main"]].concat();
        let rest = format!("{SHARED} {method} {global} {caller} {}", exports(&exported));
        let linked = module(&imports(&functions), &rest);
        assert_eq!(check(&linked).unwrap_err().len(), UNUSED_IMPORTS.len() + 3);
        assert_eq!(check(&trim(&linked).unwrap()), Ok(()));
        assert_eq!(trim(&linked).unwrap(), trim(&linked).unwrap());
        assert!(trim(b"\0asm").is_err());
    }

    #[test]
    fn every_import_and_export_of_the_lists_is_needed() {
        for name in IMPORTS {
            let rest = format!("{SHARED} {}", exports(EXPORTS));
            let without = module(&imports(&without(IMPORTS, name)), &rest);
            assert_eq!(check(&without), Err(vec![Fault::NoImport(name)]));
        }
        for name in EXPORTS {
            let rest = format!("{SHARED} {}", exports(&without(EXPORTS, name)));
            let without = module(&imports(IMPORTS), &rest);
            assert_eq!(check(&without), Err(vec![Fault::NoExport(name)]));
        }
        let without = module(&imports(IMPORTS), &exports(EXPORTS));
        assert_eq!(check(&without), Err(vec![Fault::NoExport(MEMORY)]));
    }

    #[test]
    fn imports_and_exports_outside_the_lists_are_refused() {
        let more = r#"(import "env" "proxy_grpc_call" (func)) (import "env" "__linear" (global i32))
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
        let rest = format!("{SHARED} {}", exports(EXPORTS));
        assert_eq!(check(&module(&format!("{}{more}", imports(IMPORTS)), &rest)), Err(faults));
        let faults = vec![Fault::Export("proxy_on_log".to_owned())];
        assert_eq!(check(&right(&exports(&["proxy_on_log"]))), Err(faults));
    }

    #[test]
    fn an_export_of_another_kind_does_not_count() {
        let global = r#"(global (export "proxy_on_tick") i32 (i32.const 0))"#;
        let rest = format!("{SHARED} {} {global}", exports(&without(EXPORTS, "proxy_on_tick")));
        let faults =
            vec![Fault::NoExport("proxy_on_tick"), Fault::Export("proxy_on_tick".to_owned())];
        assert_eq!(check(&module(&imports(IMPORTS), &rest)), Err(faults));
    }

    #[test]
    fn a_module_above_the_budget_is_refused() {
        let small = right("").len();
        let data = |bytes: usize| format!(r#"(@custom "padding" "{}")"#, "x".repeat(bytes));
        let overhead = right(&data(100_000)).len() - small - 100_000;
        let fitting = MAX_BYTES - small - overhead;
        assert_eq!(check(&right(&data(fitting))), Ok(()));
        assert_eq!(check(&right(&data(fitting + 1))), Err(vec![Fault::TooLarge(MAX_BYTES + 1)]));
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh", &right("")[..60]] {
            let faults = check(bytes).unwrap_err();
            assert!(matches!(faults[..], [Fault::Malformed(_)]), "{faults:?}");
        }
    }
}
