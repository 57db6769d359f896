#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("client_config"), |data: &[u8]| fuzz::client_config::run(data));
