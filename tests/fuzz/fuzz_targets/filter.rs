#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("filter"), |data: &[u8]| fuzz::filter::run(data));
