#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("listener"), |data: &[u8]| fuzz::listener::run(data));
