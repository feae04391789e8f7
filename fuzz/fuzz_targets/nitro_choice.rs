#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| finality_fuzz::nitro_choice(data));
