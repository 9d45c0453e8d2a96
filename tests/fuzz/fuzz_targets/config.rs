#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ambidex_fuzz::settings::check(input));
