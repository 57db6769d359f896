#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("message"), |data: &[u8]| fuzz::message::run(data));
