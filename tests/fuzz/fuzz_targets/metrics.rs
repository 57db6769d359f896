#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("metrics"), |data: &[u8]| fuzz::metrics::run(data));
