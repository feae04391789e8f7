;; A module that holds each request, reads its headers and its body, and does nothing with them: what the calls
;; between Envoy and a module cost any filter that must see both. What cannot be read is a trap, so that requests fail.
(module
  (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes"
    (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "_initialize"))
  ;; All that is read goes to the same place.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_delete") (param i32))
  ;; Both are kept (1) until the body has ended.
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $headers (i32.const 0) (i32.const 0) (i32.const 4)) (then unreachable))
    (i32.eqz (local.get 2)))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (if (local.get 2)
      (then
        (if (call $buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4))
          (then unreachable))))
    (i32.eqz (local.get 2)))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0)))
