#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("session"), |data: &[u8]| fuzz::session::run(data));
