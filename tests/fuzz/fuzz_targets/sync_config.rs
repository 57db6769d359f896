#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("sync_config"), |data: &[u8]| fuzz::sync_config::run(data));
